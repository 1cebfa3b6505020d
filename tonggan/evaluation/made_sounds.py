"""What evaluations of sounds have in common: the training rows that floors come from, what is to be known first, and the files of what was made."""

from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import torch

from tonggan.data.pack import Pack
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.distances import FRECHET_SAMPLES
from tonggan.evaluation.drawing import Chosen, Sample
from tonggan.evaluation.findings import frechet_warning
from tonggan.files import replacing


def training_rows(pack: Pack, reference: str) -> np.ndarray:
    """Return the rows of the training split; none where there is no such split."""
    return pack.indices(reference) if reference in pack.facts["splits"] else np.empty(0, dtype=np.int64)


def other_rows(training: np.ndarray, count: int) -> np.ndarray:
    """Return `count` random training rows, always the same; where there are fewer, some of them again."""
    return np.resize(np.random.default_rng(1).permutation(training), count)


def sound_warnings(training: np.ndarray, count: int, asked: Asked, *, floors: str) -> list[str]:
    """Return what a reader must know before believing figures of `count` sounds; `floors` names the columns that need training rows."""
    found = [frechet_warning(count, what="sounds")] if count < FRECHET_SAMPLES else []
    if not len(training):
        found.append(f"There is no split '{asked.reference}': {floors} are left out.")
    elif asked.reference == asked.split:
        found.append(f"The reference '{asked.reference}' is the split itself: {floors} say nothing.")
    return found


def save_sounds(out: Path, chosen: Chosen, made: torch.Tensor, sample_rate_hz: int) -> None:
    """Write the waveforms (rows, samples) that were made for rows as WAV at their `sound_path`s below `out`."""
    for sample, waveform in zip(chosen.samples, made, strict=True):
        with replacing(out / sound_path(sample)) as beside:
            soundfile.write(beside, waveform.numpy(), sample_rate_hz, format="WAV")


def sound_path(sample: Sample) -> PurePosixPath:
    """Return where the sound of a row lies below the folder of an evaluation."""
    return PurePosixPath("sounds", f"{sample.index:06d}-{PurePosixPath(sample.file_name).stem}.wav")
