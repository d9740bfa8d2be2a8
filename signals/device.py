"""Where and in which numbers a model computes, and whether an error says that memory ran out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from data.errors import InputError
from signals.models import ModelCard
from signals.scorer import DTYPES, Compute

if TYPE_CHECKING:
    import torch

_NO_MEMORY: Final = ("out of memory", "not enough memory", "can't allocate memory", "failed to allocate")


def pick_device(wanted: str) -> torch.device:
    """The device to compute on; see `signals.scorer.Compute`.

    Raises
    ------
    InputError
        No such device, or not on this machine.
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        remedy = "One of auto, cpu, cuda, cuda:1 …"
        raise InputError("no such device", key="device", value=wanted, remedy=remedy)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= found:
        remedy = f"{found} CUDA devices are there; use auto or cpu"
        raise InputError("not on this machine", key="device", value=wanted, remedy=remedy)
    return device


def settled_dtype(card: ModelCard, compute: Compute) -> str:
    """The number format that will be computed in: what was asked for, or what ``auto`` means on this machine.

    Raises
    ------
    InputError
        One that the device would only emulate: slower than fp32 and less exact.
    """
    wanted = compute.dtype
    if wanted not in DTYPES:
        raise InputError("no such number format", key="dtype", value=wanted, remedy=f"One of {', '.join(DTYPES)}")
    if card.kind == "lexicon":
        return "fp32"
    if compute.engine == "onnx":
        if wanted != "auto":
            remedy = "Leave --dtype out, or use --engine torch"
            raise InputError("the engine onnx computes in int8", key="dtype", value=wanted, remedy=remedy)
        return "int8"
    if wanted == "fp32":
        return "fp32"
    device = pick_device(compute.device)
    on_gpu = device.type == "cuda"
    if wanted == "auto":
        return "bf16" if _has_bf16(on_gpu) else "fp16" if on_gpu else "fp32"
    if wanted == "bf16" and not _has_bf16(on_gpu):
        raise InputError("this processor doesn't compute in bf16", key="dtype", value=wanted, remedy="Use fp32")
    if wanted == "fp16" and not on_gpu:
        raise InputError("a CPU doesn't compute in fp16", key="dtype", value=wanted, remedy="Use bf16 or fp32")
    return wanted


def torch_dtype(name: str) -> torch.dtype:
    """Torch's own name of a number format."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name, torch.float32)


def _has_bf16(on_gpu: bool) -> bool:
    if on_gpu:
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return has_bf16_instructions()


def has_bf16_instructions() -> bool:
    """Whether this processor computes in bf16, by the flags that Linux lists."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            flags = next((line for line in stream if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the GPU or on the CPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(said in text for said in _NO_MEMORY)
