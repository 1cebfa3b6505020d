"""Whether the windows of a long clip are heard to meet: python benchmarks/seams.py [--model foley-fast] [--clips 160]

Foley scenes longer than a window are made (`tonggan data synth foley`, but of 8 s) and given their sound by `tonggan sound`. Where one window goes over into the
next, and the true sound lasts (it is loud on both sides, and no event is near), the change of the log-mel spectrum is measured: mean over the bands of the
distance between what is 8 to 32 ms before the place and what is as far behind it. Beside it stand the true sound, and what the model makes of the same moment in
the middle of one window. The onsets of all events, and of those within 0.4 s of a seam, tell whether moving over costs a blow.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import typer

from tonggan.data.synthesis.foley import FRAMING, write_clip
from tonggan.data.synthesis.scene import Scene
from tonggan.decoders.audio_flow import AudioFlow
from tonggan.errors import UserError
from tonggan.evaluation.synchrony import agree
from tonggan.modalities.audio import open_sound
from tonggan.modalities.onsets import onsets
from tonggan.modalities.spectrogram import Mel, log_mel
from tonggan.modalities.video import Clip, frames_at_rate
from tonggan.pipeline import Tonggan
from tonggan.progress import progress_bars
from tonggan.sound_windows import GoesOn, first_sample, held_samples, windows
from tonggan.sounding import Request, sound_clip

SECONDS = 8.0
LOUD = 3e-3
"""Root mean square that counts as sounding."""
ALONE_SECONDS = 0.15
NEAR_SECONDS = 0.4
TOLERANCE_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """One scene: the seconds of its events, of what is heard of them and of its seams; and the changes at those seams at which the true sound lasts.

    A change is (of the true sound, of what is made of the moment within a window, at the seam).
    """

    true: list[float]
    heard: list[float]
    seams: list[float]
    changes: list[tuple[float, float, float]]


def change(sound: np.ndarray, second: float, mel: Mel) -> float:
    """Return by how much the log-mel spectrum of a waveform changes at a second."""
    levels = log_mel(torch.from_numpy(sound)[None], mel)[0].numpy()
    place = round(second * mel.frames_per_second)
    return float(np.abs(levels[:, place - 4 : place - 1].mean(1) - levels[:, place + 1 : place + 4].mean(1)).mean())


def seconds_of_seams(model: Tonggan, clip: Path) -> list[float]:
    """Return the seconds at which one window goes over into the next."""
    framing, decoder, seams, end = model.framing, cast(GoesOn, model.model.decoders["audio"]), list[float](), 0
    for first, frames in windows(frames_at_rate(clip, framing), framing):
        begin = first_sample(first, framing)
        if end:
            seams.append((begin + held_samples(end - begin, framing, decoder)) / framing.sample_rate_hz)
        end = first_sample(first + len(frames), framing)
    return seams


def lasts(scene: Scene, true: np.ndarray, second: float, rate: int) -> bool:
    """Return whether the true sound is loud on both sides of a second, and nothing happens near it."""
    sides = (true[int((second + shift) * rate) :][: rate // 20] for shift in (-0.07, 0.02))
    quiet = all(abs(event.second - second) >= ALONE_SECONDS for event in scene.events)
    return quiet and all(len(side) and np.sqrt((side**2).mean()) > LOUD for side in sides)


def measured(model: Tonggan, clip: Path, scene: Scene, *, mel: Mel) -> Measured:
    """Give a clip its sound and measure it."""
    rate = model.framing.sample_rate_hz
    true = open_sound(clip, sample_rate_hz=rate).mono()
    (path,) = sound_clip(model, clip, clip.with_suffix(".wav"), n=1, request=Request(), warn=lambda line: None)
    made = open_sound(path).mono()
    seams, changes = seconds_of_seams(model, clip), []
    for second in (each for each in seams if lasts(scene, true, each, rate)):
        alone, at = within_a_window(model, clip, second)
        changes.append((change(true, second, mel), change(alone, at, mel), change(made, second, mel)))
    return Measured(sorted(event.second for event in scene.events), onsets(made, rate).tolist(), seams, changes)


def within_a_window(model: Tonggan, clip: Path, second: float) -> tuple[np.ndarray, float]:
    """Return what is made of the window around a second, and the second of it that this one is."""
    framing = model.framing
    rate = framing.frames_per_second
    first = int((second - framing.clip_seconds / 2) * rate)
    shown = np.stack(list(frames_at_rate(clip, framing)))[first : first + framing.frames]
    made = model.generate(Clip(shown, np.arange(len(shown)) / rate), to="audio")[0].mono()
    return made, second - first / rate


def f1(found: Sequence[Measured], *, near: bool) -> float:
    """Return the F1 of the onsets of what was made against the true events, all of them or those near a seam."""
    matched = both = 0
    for each in found:
        true, heard = (
            [one for one in row if not near or any(abs(one - seam) < NEAR_SECONDS for seam in each.seams)] for row in (each.true, each.heard)
        )
        counts = agree(true, heard, tolerance_seconds=TOLERANCE_SECONDS)
        matched, both = matched + len(counts.late), both + counts.true + counts.found
    return 2 * matched / max(both, 1)


def main(
    model: str = "foley-fast",
    clips: Annotated[int, typer.Option(min=1)] = 160,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes; what ships learned from those of 0.")] = 78,
) -> None:
    """Measure and print a table."""
    ours = Tonggan.from_pretrained(model)
    mel = cast(AudioFlow, ours.model.decoders["audio"]).config.mel
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder, progress_bars() as show:
        for number in range(clips):
            clip = Path(folder) / f"{number:05d}.mp4"
            scene = write_clip(clip, np.random.default_rng([seed, number]), framing=replace(FRAMING, clip_seconds=SECONDS))
            found.append(measured(ours, clip, scene, mel=mel))
            show("sounding", number + 1, clips)
    changes = [one for each in found for one in each.changes]
    if not changes:
        raise UserError(f"no sound of these {clips} scenes lasts over a seam. Take more with --clips.")
    print(f"{clips} scenes of {SECONDS:g} s, {len(changes)} seams at which the true sound lasts; {model} {ours.weights_hash[:10]}")
    print("| | mean change | median | a tenth is above |\n|---|---|---|---|")
    for name, values in zip(("the true sound", "the same moment within a window", "at the seam"), zip(*changes, strict=True), strict=True):
        print(f"| {name} | {np.mean(values):.3f} | {np.median(values):.3f} | {np.quantile(values, 0.9):.3f} |")
    print(f"onset F1 {f1(found, near=False):.3f}, within {NEAR_SECONDS:g} s of a seam {f1(found, near=True):.3f}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"seams: {error}") from error
