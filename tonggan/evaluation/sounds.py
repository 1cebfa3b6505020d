"""Judging a model that gives clips their sound: windows of a split are heard, measured against what is true of them, and floors set beside."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from tonggan.data.pack import Pack
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card, Column, NetFacts
from tonggan.evaluation.curves import training_sections
from tonggan.evaluation.drawing import Chosen
from tonggan.evaluation.folder import check_folder, remove_earlier, save_evaluation
from tonggan.evaluation.gallery import Heard, picked
from tonggan.evaluation.hearing import Judge, Judgement, Truth, Windows, class_means, f1, nearest_windows
from tonggan.evaluation.made_sounds import other_rows, save_sounds, sound_path, sound_warnings, training_rows
from tonggan.evaluation.new_card import new_card
from tonggan.evaluation.report import sound_sections
from tonggan.evaluation.sound_embedding import embedding_facts
from tonggan.evaluation.sound_features import statistics_facts
from tonggan.evaluation.unfinished import Unfinished
from tonggan.modalities.spectrogram import Mel
from tonggan.modalities.timeline import timeline
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

SHOWN = 12
"""Clips that a report shows as they come; the worst and the best stand beside."""
HOW = "Key frames; the true sound above, what was made below, true onsets as lines."
EXTREMES = "Clips whose onsets agree least with the true ones.", "Clips whose onsets agree best."
Floors = dict[str, tuple[str, torch.Tensor]]
"""Name of a column -> what it is, and its waveforms (rows, samples)."""


def evaluate_sounds(model: Tonggan, asked: Asked, *, batch_size: int = 16, truth: Truth = "sound", tolerance_seconds: float = 0.05) -> Card:
    """Give the clips of a split their sound, and write card.json, card.md, rows.jsonl, report.html and sounds/ into `asked.out`.

    `truth` are the seconds of the rows' tag `events`, or the onsets of the true sounds. Beside the model stand `_floors`.
    Raises `UserError` for a pack without clips, an unknown split, a limit below two, and events that are not there.
    """
    pack, out = asked.pack, asked.out
    pack.require("video", arrow="video->audio")
    check_folder(out)
    chosen = asked.rows(None, captioned=False)
    rows = np.asarray([sample.index for sample in chosen.samples])
    real, training = Windows.of(pack, rows), training_rows(pack, asked.reference)
    judge = Judge(pack, chosen, real, truth=truth, tolerance_seconds=tolerance_seconds, reference=asked.reference)
    seeds = [sample.seed for sample in chosen.samples]
    kept = asked.kept(model.weights_hash, model.settings("audio"))
    heard = partial(_heard, model, seeds=seeds, batch_size=batch_size, kept=kept, progress=asked.progress)
    made, seconds = heard(real.frames, rows, what="sounding")
    others, _ = heard(real.frames.roll(1, 0), np.roll(rows, 1), what="shuffled frames")
    judged, rate = judge(made), pack.framing.sample_rate_hz
    card = new_card(
        model,
        asked,
        arrow="video->audio",
        settings=model.settings("audio"),
        chosen=chosen,
        seconds=seconds,
        batch_size=batch_size,
        figures=judged.figures,
        columns=[Column(name, note, judge(waveforms).figures) for name, (note, waveforms) in _floors(pack, rows, real, others, training).items()],
        features=_detector(truth, tolerance_seconds, rate),
        nets=[statistics_facts(rate), *([embedding_facts(rate)] if len(training) else [])],
        warnings=sound_warnings(training, len(chosen.samples), asked, floors="the nearest training clip and the floor of real clips"),
    )
    remove_earlier(out)
    save_sounds(out, chosen, made, rate)
    shown = sound_sections(_shown(chosen, judge, judged, made), how=HOW, what=EXTREMES) + training_sections(asked.journal)
    save_evaluation(out, card, rows=_rows(chosen, judge, judged), shown=shown)
    return card


def _detector(truth: Truth, tolerance_seconds: float, rate: int) -> NetFacts:
    """Return what onsets are found by: two cards of other truths or tolerances do not compare."""
    return NetFacts(f"onsets by spectral flux, {truth} within {tolerance_seconds * 1000:g} ms", "", rate, Mel().bands, unit="Hz")


def _heard(
    model: Tonggan,
    frames: torch.Tensor,
    rows: np.ndarray,
    *,
    seeds: Sequence[int],
    batch_size: int,
    what: str,
    kept: Unfinished,
    progress: Show | None,
) -> tuple[torch.Tensor, float]:
    """Return the sounds (rows, samples) of the frames of `rows`, and the wall seconds that they took."""

    def heard(part: slice) -> list[np.ndarray]:
        sounds = model.model.generate(frames[part], source="video", target="audio", seeds=list(seeds[part]), settings=model.overrides)
        return list(sounds.float().cpu().numpy())

    asked = list(zip(rows.tolist(), seeds, strict=True))
    made, seconds = kept.outputs(asked, heard, batch_size=batch_size, what=what, progress=progress)
    return torch.from_numpy(np.stack(made)), seconds


def _floors(pack: Pack, rows: np.ndarray, real: Windows, shuffled: torch.Tensor, training: np.ndarray) -> Floors:
    """Return what the model is read beside: the true sounds (a ceiling), those of training clips and their means, its own for other frames, and silence."""
    found: Floors = {"true sound": ("what the detector of onsets makes of it", real.waveforms)}
    if len(training):
        found["nearest training clip"] = "its sound, by its frames", nearest_windows(pack, real, training).waveforms
        found["class mean"] = "the mean spectrum of training clips of the same kind", class_means(pack, rows, training)
    found["shuffled frames"] = "the model's sound for another row's frames", shuffled
    if len(training):
        others = Windows.of(pack, other_rows(training, len(real.waveforms))).waveforms
        found["other real clips"] = "sounds of random training clips: the floor of distances, chance for onsets", others
    return found | {"silence": ("nothing is heard", torch.zeros_like(real.waveforms))}


def _shown(chosen: Chosen, judge: Judge, judged: Judgement, made: torch.Tensor) -> list[Heard]:
    """Return the clips that a report shows: the first, the worst and the best."""
    scores = [f1(each) for each in judged.agreements]
    rate, real = judge.framing.sample_rate_hz, judge.real

    def heard(i: int) -> Heard:
        sounds = real.waveforms[i].numpy(), made[i].numpy()
        drawn = timeline(list(real.frames[i, ::8].numpy()), list(sounds), rate, events=judge.true[i].tolist())
        return Heard(
            chosen.samples[i].caption or chosen.samples[i].file_name,
            drawn,
            sounds[1],
            sounds[0],
            rate,
            scores[i],
            f"F1 of the onsets {100 * scores[i]:.0f} %",
        )

    return [heard(i) for i in picked(scores, first=SHOWN, extremes=SHOWN // 3)]


def _rows(chosen: Chosen, judge: Judge, judged: Judgement) -> Iterator[dict[str, Any]]:
    """Yield what is known of each clip; onsets are seconds within the window."""
    for sample, true, found, figures in zip(chosen.samples, judge.true, judged.found, judged.by_row(), strict=True):
        heard = {"true": np.round(true, 4).tolist(), "found": np.round(found, 4).tolist()}
        yield {"file_name": sample.file_name, "sound": str(sound_path(sample)), "seed": sample.seed} | heard | {"figures": figures}
