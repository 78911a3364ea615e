"""The device that a network computes on: how it is chosen, and how arrays get there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...errors import TutelageError

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
"""What `--device` takes; `auto` is the accelerator of this machine if there is one, else its processor."""


def choose_device(name: str) -> torch.device:
    """Return a device by its name; raises TutelageError for one that is not there."""
    if name not in DEVICES:
        raise TutelageError(f"expected a device of {', '.join(DEVICES)}, got {name!r}")
    if name == "cpu":
        return torch.device("cpu")
    present = [kind for kind in DEVICES[2:] if _is_present(kind)]
    if name == "auto":
        return torch.device(present[0] if present else "cpu")
    if name not in present:
        others = ", ".join(["cpu", *present])
        raise TutelageError(
            f"expected a device that is here ({others}), got {name!r}: torch {torch.__version__} finds none; "
            "use --device auto, or install a torch that supports it"
        )
    return torch.device(name)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; on the processor it shares the array's memory.

    Copies to CUDA go through pinned memory and are not waited for.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of an accelerator; None where its driver does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return None


def _is_present(kind: str) -> bool:
    if kind == "mps":
        return bool(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)
    return module is not None and bool(module.is_available())
