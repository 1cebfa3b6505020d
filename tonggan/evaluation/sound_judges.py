"""The judges of sound that learn from real clips before they judge: is it in time with the frames, and can the materials be told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tonggan.data.pack import Pack
from tonggan.evaluation.card import Figure
from tonggan.evaluation.in_time import synchrony_judge
from tonggan.evaluation.materials import material_judge


def sound_judges(
    pack: Pack, *, reference: str, frames: Tensor, tags: Sequence[Mapping[str, Any]], begins: np.ndarray, edge_seconds: float
) -> list[Callable[[Tensor], Figure]]:
    """Return what judges waveforms (rows, samples) of windows with these frames, tags and beginnings; nothing where there is no split `reference`."""
    if reference not in pack.facts["splits"]:
        return []
    materials = material_judge(pack, reference=reference, tags=tags, begins=begins, edge_seconds=edge_seconds)
    return [synchrony_judge(pack, reference=reference, frames=frames), *([] if materials is None else [materials])]
