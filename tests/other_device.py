"""A second device on a machine that has none: tensors say that they are on it, are computed by the CPU, and refuse to meet tensors of the CPU.

What passes here names its device everywhere, which is what may go wrong between a CPU and a GPU. The device is called "meta", the one that PyTorch has
in every build and differentiates in the calling thread.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.optim import optimizer
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "meta"
CROSSES = ("_to_copy", "copy_")
"""What leads from one device to another."""
PLACES = ("index", "index_put", "index_put_", "_unsafe_index")
"""What takes places that are on the CPU, as a GPU does."""


class Elsewhere(Tensor):
    """A tensor on the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=NAME, requires_grad=False
        )
        made.held = held.resolve_conj().resolve_neg()  # the bits of a view that is lazily conjugated are not carried over
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Device(TorchDispatchMode):
    """Makes what is asked for on the other device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _named(kwargs) or any(isinstance(each, Elsewhere) for each in tree_leaves((args, kwargs))):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


def _named(kwargs: dict[str, Any]) -> bool:
    return kwargs.get("device") is not None and torch.device(kwargs["device"]).type == NAME


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on what is held, and say of what comes out where it is."""
    name = func.overloadpacket.__name__
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = [each for each in tensors if isinstance(each, Elsewhere)]
    _refuse_strangers(name, args, tensors)
    held, options = tree_map(lambda each: each.held if isinstance(each, Elsewhere) else each, (args, kwargs))
    made = func(*held, **(options | {"device": "cpu"} if _named(kwargs) else options))
    if torch.Tag.inplace_view in func.tags:  # what a tensor says of its own shape has to follow
        with no_dispatch():
            func(*args, **kwargs)
    stays = isinstance(args[0], Elsewhere) if name == "copy_" else kwargs.get("device") is None and bool(there)
    if not stays and not _named(kwargs):
        return made
    known = {id(each.held): each for each in there}  # what was changed in place is the tensor that it was
    return tree_map(lambda each: (known[id(each)] if id(each) in known else Elsewhere(each)) if isinstance(each, Tensor) else each, made)


def _refuse_strangers(name: str, args: Any, tensors: list[Tensor]) -> None:
    """Raise `RuntimeError` as a GPU does for tensors of two devices. A single number may be on the CPU, but not the count that a fused optimizer reads."""
    strangers = [each for each in tensors if not isinstance(each, Elsewhere) and (each.ndim or name.startswith("_fused"))]
    if not strangers or len(strangers) == len(tensors) or name in CROSSES or (name in PLACES and isinstance(args[0], Elsewhere)):
        return
    raise RuntimeError(f"{name}: tensors of two devices, one of shape {tuple(strangers[0].shape)} is on the CPU")


@contextmanager
def other_device() -> Iterator[str]:
    """Yield the name of the other device, which is there within: in float32, and with the fused optimizers that a GPU has."""
    fused, autocast = optimizer._get_fused_kernels_supported_devices, torch.autocast  # type: ignore[attr-defined]

    def nothing_cast(device: str, **how: Any) -> AbstractContextManager:
        assert not how.get("enabled", True) or device != NAME
        return nullcontext() if device == NAME else autocast(device, **how)

    with _Device(), patch.object(optimizer, fused.__name__, lambda: [*fused(), NAME]), patch.object(torch, "autocast", nothing_cast):
        yield NAME
