"""Number formats that oneDNN packs on this machine."""

import pytest
import torch

BFLOAT16 = pytest.param(
    torch.bfloat16,
    marks=pytest.mark.skipif(
        torch.backends.cpu.get_cpu_capability() == "AVX2", reason="bfloat16 is packed with AVX-512 only"
    ),
)
PACKED_DTYPES = [torch.float32, BFLOAT16]
