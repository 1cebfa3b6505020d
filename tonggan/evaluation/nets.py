"""Which feature networks an evaluation measures with besides EfficientNet-Lite0, by what a user names."""

from collections.abc import Sequence
from pathlib import Path

from tonggan.errors import UserError
from tonggan.evaluation.features import FeatureExtractor
from tonggan.evaluation.inception import InceptionNet
from tonggan.evaluation.vision import VisionNet


def load_nets(named: Sequence[str], *, download: bool = False) -> list[FeatureExtractor]:
    """Return the networks for `inception`, `inception=FILE`, and folders or hub ids of vision transformers.

    Raises `UserError` for a network that cannot be had, or is named twice.
    """
    found: list[FeatureExtractor] = []
    for name in named:
        kind, separator, path = name.partition("=")
        if kind == "inception":
            net: FeatureExtractor = InceptionNet.load(Path(path) if separator else None, download=download)
        elif name.endswith((".pth", ".pt")):
            raise UserError(f"'{name}' is a weight file: of which network? Write inception={name}, or name a folder.")
        else:
            net = VisionNet.load(name, download=download)
        if net.name in {each.name for each in found}:
            raise UserError(f"the feature network '{net.name}' is named twice.")
        found.append(net)
    return found
