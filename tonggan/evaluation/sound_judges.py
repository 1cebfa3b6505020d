"""The judges of sound that learn from real clips before they judge: is it in time, can the materials be told, is it of the same kind as real sound."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tonggan.data.pack import Pack
from tonggan.evaluation.card import Figure
from tonggan.evaluation.in_time import synchrony_judge
from tonggan.evaluation.materials import material_judge
from tonggan.evaluation.sound_embedding import embedding_judge


def sound_judges(
    pack: Pack, *, reference: str, frames: Tensor, real: Tensor, tags: Sequence[Mapping[str, Any]], begins: np.ndarray, edge_seconds: float
) -> list[Callable[[Tensor], Figure]]:
    """Return what judges waveforms (rows, samples) of windows with these frames, `real` sounds, tags and beginnings; nothing without a split `reference`."""
    if reference not in pack.facts["splits"]:
        return []
    materials = material_judge(pack, reference=reference, tags=tags, begins=begins, edge_seconds=edge_seconds)
    judges = [synchrony_judge(pack, reference=reference, frames=frames), embedding_judge(pack, reference=reference, real=real)]
    return judges if materials is None else [*judges, materials]
