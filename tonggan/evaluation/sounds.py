"""Judging a model that gives clips their sound: windows of a split are heard, their onsets compared with the true ones, and floors set beside."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import soundfile
import torch

from tonggan.data.loader import batch_of
from tonggan.data.pack import Pack
from tonggan.errors import UserError
from tonggan.evaluation.card import FIGURES, Card, Column, DataFacts, Figure, ModelFacts, NetFacts, SpeedFacts
from tonggan.evaluation.curves import training_sections
from tonggan.evaluation.drawing import Chosen, Sample
from tonggan.evaluation.evaluate import check_folder, remove_earlier
from tonggan.evaluation.gallery import Heard
from tonggan.evaluation.intervals import mean_interval
from tonggan.evaluation.machine import machine_facts, versions
from tonggan.evaluation.report import sound_sections, write_report
from tonggan.evaluation.sound_features import sound_distances
from tonggan.evaluation.sound_judges import sound_judges
from tonggan.evaluation.synchrony import Agreement, agree, synchrony_figures
from tonggan.files import replacing
from tonggan.modalities.onsets import onsets
from tonggan.modalities.spectrogram import Mel, log_mel
from tonggan.modalities.timeline import timeline
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

Truth = Literal["events", "sound"]
MIDDLE = 0.5
"""Where in a longer clip the window that is heard begins: 0 is the beginning, 1 the last whole window."""
EDGE_SECONDS = 0.1
"""Onsets so near to the ends of a window count neither way: what is cut off there cannot be seen."""
SHOWN = 12
COARSE = 8
"""Pixels a side, of frames as they are compared for the nearest training clip."""


@dataclass(frozen=True)
class Windows:
    """What is heard and seen of some rows: uint8 (rows, frames, 3, size, size), float32 (rows, samples), and the second at which each window begins."""

    frames: torch.Tensor
    waveforms: torch.Tensor
    begins: np.ndarray


def evaluate_sounds(
    model: Tonggan,
    *,
    pack: Pack,
    split: str,
    out: Path,
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 16,
    truth: Truth = "sound",
    tolerance_seconds: float = 0.05,
    reference: str = "train",
    journal: Path | None = None,
    progress: Show | None = None,
) -> Card:
    """Give the clips of a split their sound, and write card.json, rows.jsonl, report.html and sounds/ into `out`.

    `truth` are the seconds of the rows' tag `events`, or the onsets of the true sounds. Beside the model stand the true sounds (a ceiling: what the
    detector of onsets makes of them), the sound of the nearest training clip by its frames, the model's own for another row's frames,
    sounds of random training clips, and silence.
    Raises `UserError` for a pack without clips, an unknown split, and events that are not there.
    """
    if pack.modality != "video":
        raise UserError(f"{pack.path} is a pack of {pack.modality}: video->audio needs clips with sound.")
    check_folder(out)
    chosen = _choose(pack, split, seed=seed, limit=limit)
    rows = np.asarray([sample.index for sample in chosen.samples])
    real = _windows(pack, rows)
    wanted = _true_onsets(chosen, real, pack, truth)
    seeds = [sample.seed for sample in chosen.samples]
    began = time.perf_counter()
    made = _heard(model, real.frames, seeds, batch_size=batch_size, what="sounding", progress=progress)
    seconds = time.perf_counter() - began
    shuffled = _heard(model, real.frames.roll(1, 0), seeds, batch_size=batch_size, what="shuffled frames", progress=progress)
    others = {
        "true sound": ("what the detector of onsets makes of it", real.waveforms),
        "nearest training clip": ("its sound, by its frames", _nearest(pack, real, reference)),
        "shuffled frames": ("the model's sound for another row's frames", shuffled),
        "other real clips": ("sounds of random training clips: the floor of distances, chance for onsets", _others(pack, len(rows), reference)),
        "silence": ("nothing is heard", torch.zeros_like(real.waveforms)),
    }
    rate = pack.framing.sample_rate_hz
    tags = [sample.tags for sample in chosen.samples]
    judges = sound_judges(pack, reference=reference, frames=real.frames, tags=tags, begins=real.begins, edge_seconds=EDGE_SECONDS)

    def figures(waveforms: torch.Tensor) -> tuple[Figure, ...]:
        agreements, distances = compared(waveforms)
        mel = mean_interval(distances)
        near = sound_distances(waveforms, real.waveforms, sample_rate_hz=rate)
        return (
            *synchrony_figures(agreements),
            Figure("mel_distance", mel.value, mel.low, mel.high, len(rows)),
            *near,
            *(judge(waveforms) for judge in judges),
        )

    def compared(waveforms: torch.Tensor) -> tuple[list[Agreement], np.ndarray]:
        found = [_inside(onsets(waveform.numpy(), rate), pack) for waveform in waveforms]
        agreements = [agree(list(a), list(b), tolerance_seconds=tolerance_seconds) for a, b in zip(wanted, found, strict=True)]
        distance = (log_mel(waveforms, Mel(sample_rate_hz=rate)) - log_mel(real.waveforms, Mel(sample_rate_hz=rate))).abs()
        return agreements, distance.flatten(1).mean(1).double().numpy()

    card = Card(
        arrow="video->audio",
        model=ModelFacts(model.name, model.weights_hash, model.settings("audio")),
        data=DataFacts(pack.content_hash, split, "", len(rows), chosen.split_rows, chosen.hash(), pack.size),
        features=NetFacts(f"onsets by spectral flux, {truth} within {tolerance_seconds * 1000:g} ms", "", rate, Mel().bands),
        first_seed=seed,
        figures=figures(made),
        columns=tuple(Column(name, note, figures(waveforms)) for name, (note, waveforms) in others.items()),
        beside=(),
        groups=(),
        speed=SpeedFacts(seconds, len(rows) / seconds, batch_size),
        machine=machine_facts(),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=(),
        definitions={name: kind.meaning for name, kind in FIGURES.items()},
    )
    remove_earlier(out)
    agreements, distances = compared(made)
    scores = [_f1(each) for each in agreements]
    _save(out, chosen, made, wanted, pack, by_row=_by_row(agreements, distances))
    order = sorted(range(len(rows)), key=scores.__getitem__)
    picked = sorted({*range(min(SHOWN, len(rows))), *order[: SHOWN // 3], *order[-SHOWN // 3 :]})

    def heard(i: int) -> Heard:
        sounds = real.waveforms[i].numpy(), made[i].numpy()
        drawn = timeline(list(real.frames[i, ::8].numpy()), list(sounds), rate, events=wanted[i].tolist())
        return Heard(chosen.samples[i].caption or chosen.samples[i].file_name, drawn, sounds[1], sounds[0], rate, scores[i])

    write_report(out / "report.html", card=card, shown=[*sound_sections([heard(i) for i in picked]), *training_sections(journal)])
    card.save(out / "card.json")
    return card


def _by_row(agreements: Sequence[Agreement], distances: np.ndarray) -> list[dict[str, Any]]:
    """Return the figures of each clip; of a ratio of sums its two parts."""
    return [
        {"onset_f1": [2 * len(each.late), each.true + each.found], "onset_count_error": [abs(each.true - each.found), each.true], "mel_distance": mel}
        for each, mel in zip(agreements, np.round(distances, 6).tolist(), strict=True)
    ]


def _others(pack: Pack, count: int, reference: str) -> torch.Tensor:
    """Return the sounds of random training clips, as many as are judged; where there are fewer, some of them again."""
    rows = np.random.default_rng(1).permutation(pack.indices(reference))
    return _windows(pack, np.resize(rows, count)).waveforms


def _f1(agreement: Agreement) -> float:
    whole = agreement.true + agreement.found
    return 2 * len(agreement.late) / whole if whole else 1.0


def _choose(pack: Pack, split: str, *, seed: int, limit: int | None) -> Chosen:
    """Return the rows of a split in a fixed random order, the first `limit` of them; sample i has the seed `seed` + i."""
    indices = pack.indices(split)
    order = np.random.default_rng(0).permutation(indices)[:limit]
    samples = []
    for number, index in enumerate(order):
        row = pack.row(int(index))
        caption = next((texts[0] for texts in row.captions.values()), "")
        samples.append(Sample(int(index), row.file_name, caption, seed + number, row.tags))
    return Chosen(tuple(samples), len(indices), 0)


def _windows(pack: Pack, rows: np.ndarray) -> Windows:
    batch = batch_of(pack, rows, [""] * len(rows), places=np.full(len(rows), MIDDLE))
    lengths = np.asarray([len(pack.items("frames", int(row))) for row in rows])
    spare = np.clip(lengths - pack.framing.frames, 0, None)
    begins = np.minimum((MIDDLE * (spare + 1)).astype(int), spare) / pack.framing.frames_per_second
    return Windows(batch.inputs["video"], batch.inputs["audio"], begins)


def _inside(seconds: np.ndarray, pack: Pack) -> np.ndarray:
    return seconds[(seconds > EDGE_SECONDS) & (seconds < pack.framing.clip_seconds - EDGE_SECONDS)]


def _true_onsets(chosen: Chosen, real: Windows, pack: Pack, truth: Truth) -> list[np.ndarray]:
    if truth == "sound":
        return [_inside(onsets(waveform.numpy(), pack.framing.sample_rate_hz), pack) for waveform in real.waveforms]
    if not all("events" in sample.tags for sample in chosen.samples):
        raise UserError(f"{pack.path}: not every row has events; use --truth sound.")
    found = [np.unique([event[0] for event in sample.tags["events"]]) for sample in chosen.samples]
    return [_inside(seconds - begin, pack) for seconds, begin in zip(found, real.begins, strict=True)]


def _heard(model: Tonggan, frames: torch.Tensor, seeds: Sequence[int], *, batch_size: int, what: str, progress: Show | None) -> torch.Tensor:
    made: list[torch.Tensor] = []
    for start in range(0, len(frames), batch_size):
        part = slice(start, start + batch_size)
        made.append(model.model.generate(frames[part], source="video", target="audio", seeds=list(seeds[part]), settings=model.overrides).float())
        if progress:
            progress(what, min(start + batch_size, len(frames)), len(frames))
    return torch.cat(made)


def _nearest(pack: Pack, real: Windows, reference: str) -> torch.Tensor:
    """Return for each window the sound of the training window whose frames are nearest: in rest and in movement, coarsely."""
    rows = pack.indices(reference)
    known = np.concatenate([_coarse(_windows(pack, rows[i : i + 64]).frames) for i in range(0, len(rows), 64)])
    asked = _coarse(real.frames)
    distances = (asked**2).sum(1)[:, None] - 2 * asked @ known.T + (known**2).sum(1)
    return _windows(pack, rows[distances.argmin(1)]).waveforms


def _coarse(frames: torch.Tensor) -> np.ndarray:
    small = torch.nn.functional.adaptive_avg_pool2d(frames.flatten(0, 1).float() / 255, COARSE).unflatten(0, frames.shape[:2])
    moved = small.diff(dim=1)
    whole = torch.cat([small[:, ::4].flatten(1), 4 * moved.flatten(1)], dim=1)
    return (whole - whole.mean(1, keepdim=True)).numpy()


def _save(out: Path, chosen: Chosen, made: torch.Tensor, wanted: Sequence[np.ndarray], pack: Pack, *, by_row: Sequence[dict[str, Any]]) -> None:
    rate = pack.framing.sample_rate_hz
    for sample, waveform in zip(chosen.samples, made, strict=True):
        with replacing(out / _sound_path(sample)) as beside:
            soundfile.write(beside, waveform.numpy(), rate, format="WAV")
    rows = (row | {"figures": figures} for row, figures in zip(_rows(chosen, made, wanted, rate), by_row, strict=True))
    with replacing(out / "rows.jsonl") as beside:
        beside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _sound_path(sample: Sample) -> PurePosixPath:
    return PurePosixPath("sounds", f"{sample.index:06d}-{PurePosixPath(sample.file_name).stem}.wav")


def _rows(chosen: Chosen, made: torch.Tensor, wanted: Sequence[np.ndarray], rate: int) -> Iterator[dict[str, Any]]:
    for sample, waveform, true in zip(chosen.samples, made, wanted, strict=True):
        found = onsets(waveform.numpy(), rate)
        heard = {"true": np.round(true, 4).tolist(), "found": np.round(found, 4).tolist()}
        yield {"file_name": sample.file_name, "sound": str(_sound_path(sample)), "seed": sample.seed} | heard
