"""A toy accelerator: tensors of a device of their own, whose numbers the processor keeps and computes.

An operation that mixes them with tensors of the processor fails, as on a real accelerator. So a test shows
that every tensor is where it has to be, and that the numbers are those of the processor.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

NAME = "toy"


@lru_cache(maxsize=1)
def toy_device() -> torch.device:
    """Register the device with torch, once a process."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("_", "IMPL")  # fallback of every operation
    library.fallback(_compute, "PrivateUse1")
    _LIBRARIES.append(library)
    aten = torch.library.Library("aten", "IMPL")
    for name, factory in {"empty.memory_format": torch.empty, "empty_strided": torch.empty_strided}.items():
        aten.impl(name, _factory(factory), "PrivateUse1")
    _LIBRARIES.append(aten)
    return torch.device(NAME, 0)


_LIBRARIES: list[torch.library.Library] = []


class ToyTensor(Tensor):
    """A tensor of the toy device; `data_` is what the processor keeps of it."""

    data_: Tensor

    @staticmethod
    def __new__(cls, data: Tensor) -> ToyTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            data.size(),
            data.stride(),
            data.storage_offset(),
            dtype=data.dtype,
            device=torch.device(NAME, 0),
        )
        made.data_ = data
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        return _run(function, arguments, keywords or {})


def _run(function: Any, arguments: Any, keywords: dict[str, Any]) -> Any:
    if function is torch.ops.aten._to_copy.default:
        return _copy(*arguments, **keywords)
    if function is torch.ops.aten.copy_.default:
        target, source = arguments[:2]
        _inside(target).copy_(_inside(source))
        return target
    flat = pytree.tree_leaves((arguments, keywords))
    strangers = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, ToyTensor) and x.ndim]
    if strangers:
        raise RuntimeError(f"{function}: expected all tensors on {NAME}, got one of the processor")
    if "device" in keywords:
        keywords["device"] = torch.device("cpu") if keywords["device"] is not None else None
    inside_arguments, inside_keywords = pytree.tree_map_only(ToyTensor, _inside, (arguments, keywords))
    result = function(*inside_arguments, **inside_keywords)
    given = {
        id(x.data_): x for x in flat if isinstance(x, ToyTensor)
    }  # what works in place returns its input
    return pytree.tree_map_only(Tensor, lambda x: given[id(x)] if id(x) in given else ToyTensor(x), result)


def _copy(source: Tensor, *, device: Any = None, **keywords: Any) -> Tensor:
    keywords.pop("non_blocking", None)
    keywords.pop("pin_memory", None)
    copied = torch.ops.aten._to_copy.default(_inside(source), device=torch.device("cpu"), **keywords)
    goes = source.device if device is None else torch.device(device)
    return ToyTensor(copied) if goes.type == NAME else copied


def _inside(x: Tensor) -> Tensor:
    return x.data_ if isinstance(x, ToyTensor) else x


def _factory(function: Any) -> Any:
    def made(*arguments: Any, **keywords: Any) -> Tensor:
        keywords["device"] = "cpu"
        keywords.pop("pin_memory", None)
        return ToyTensor(function(*arguments, **keywords))

    return made


def _compute(function: Any, *arguments: Any, **keywords: Any) -> Any:
    return _run(function, arguments, dict(keywords))
