"""Which device and number format to compute in."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """`auto`: cuda, then mps, then cpu. Raises ValueError if a named device is not there."""
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    chosen = torch.device(device)
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(chosen.type, False):
        raise ValueError(f"device {device!r} is not available here; set it to 'auto' or 'cpu'")
    return chosen


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where the hardware multiplies it natively, else float32."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is unknown; choose one of auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def multiplies_bfloat16(device: torch.device) -> bool:
    """True if `device` has bfloat16 multiply instructions (emulation does not count: it is slower than float32)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})
    return False


def _cpu_flags() -> set[str]:
    """Instruction-set flags of this CPU; an empty set where the system does not tell."""
    if platform.machine().lower() in {"x86_64", "amd64"}:
        cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        flags = {name for name in ("avx512_bf16", "amx_bf16") if cpu.get(name)}
        if flags:
            return flags
    # Linux lists the flags per core: "flags" on x86, "Features" on Arm (where the instruction is called bf16).
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return set()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return set(value.split())
    return set()
