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
CROSSES = ("_to_copy", "copy_", "_copy_from", "to")


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
    leaves = tree_leaves((args, kwargs))
    tensors = [each for each in leaves if isinstance(each, Tensor)]
    name = func.overloadpacket.__name__
    # A single number may be on the CPU, but not the count of steps that a fused optimizer reads where it computes.
    strangers = [each for each in tensors if not isinstance(each, Elsewhere) and (each.ndim or name.startswith("_fused"))]
    crossing = name in CROSSES
    indexing = name in ("index", "index_put_", "index_put", "_unsafe_index")  # places may be on the CPU, as for a GPU
    if strangers and len(strangers) < len(tensors) and not crossing and not (indexing and isinstance(args[0], Elsewhere)):
        raise RuntimeError(f"{func}: tensors of two devices, one of shape {tuple(strangers[0].shape)} is on the CPU")
    there = _named(kwargs) or (kwargs.get("device") is None and any(isinstance(each, Elsewhere) for each in tensors))
    if name == "copy_":
        there = isinstance(args[0], Elsewhere)
    plain = tree_map(lambda each: each.held if isinstance(each, Elsewhere) else each, (args, dict(kwargs)))
    if _named(kwargs):
        plain[1]["device"] = "cpu"
    made = func(*plain[0], **plain[1])
    if torch.Tag.inplace_view in func.tags:  # what the tensor says of its own shape has to follow
        with no_dispatch():
            func(*args, **kwargs)
    originals = {id(each.held): each for each in tensors if isinstance(each, Elsewhere)}

    def back(each: Any) -> Any:
        if not isinstance(each, Tensor) or not there:
            return each
        return originals[id(each)] if id(each) in originals else Elsewhere(each)

    return tree_map(back, made)


@contextmanager
def other_device() -> Iterator[str]:
    """Yield the name of the other device, which is there within: in float32, and with the fused optimizers that a GPU has."""
    fused, autocast = optimizer._get_fused_kernels_supported_devices, torch.autocast  # type: ignore[attr-defined]

    def nothing_cast(device: str, **how: Any) -> AbstractContextManager:
        assert not how.get("enabled", True) or device != NAME
        return nullcontext() if device == NAME else autocast(device, **how)

    with _Device(), patch.object(optimizer, fused.__name__, lambda: [*fused(), NAME]), patch.object(torch, "autocast", nothing_cast):
        yield NAME
