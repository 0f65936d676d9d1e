"""Where and in which number format to compute."""

import pytest
import torch

from workflow_scripts.speech_lm import device as module
from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_prefers_cuda_then_mps_then_cpu(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == chosen


def test_a_named_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda:1' is not available"):
        resolve_device("cuda:1")


@pytest.mark.parametrize(
    ("flags", "dtype"), [({"amx_bf16"}, torch.bfloat16), ({"bf16"}, torch.bfloat16), ({"avx2"}, torch.float32)]
)
def test_auto_takes_bfloat16_where_the_cpu_multiplies_it(monkeypatch, flags, dtype):
    monkeypatch.setattr(module, "_cpu_flags", lambda: flags)
    assert resolve_dtype("auto", CPU) == dtype


def test_dtypes_by_name(monkeypatch):
    assert resolve_dtype("float32", CPU) == torch.float32
    assert resolve_dtype(torch.float16, CPU) == torch.float16
    with pytest.raises(ValueError, match="'int8' is unknown"):
        resolve_dtype("int8", CPU)
