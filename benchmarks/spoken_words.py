"""Words to speech and back, judged from outside: python benchmarks/spoken_words.py [MODEL] --data DIGITS

Of every row of a test split the caption becomes a sound and the true sound a caption. Two linear classifiers that learn from the training rows' true sounds
alone, one of words and one of voices (spectra of eight parts of what is heard, convex: the same weights everywhere), name what was made; beside it stand the
true sounds (a ceiling) and the sounds made for other rows' captions (chance). The kernel distance is on the embedding of sounds that learns from the training
rows (evaluation/sound_embedding.py), its floor that of training sounds.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from tonggan.data.loader import batch_of, first_caption
from tonggan.data.pack import Pack, ensure_pack
from tonggan.errors import UserError
from tonggan.evaluation.intervals import Interval, share_interval
from tonggan.evaluation.materials import SpectraClassifier
from tonggan.evaluation.sentences import has_label
from tonggan.evaluation.sound_embedding import embedding_judge
from tonggan.modalities.audio import Sound
from tonggan.modalities.spectrogram import Mel, log_mel
from tonggan.pipeline import Tonggan

PARTS = 8
QUIET = 4.0
"""What lies so many nepers below the loudest frame is not part of the word."""
BATCH = 50


def main(
    model: Annotated[str, typer.Argument(help="A model with text->audio, audio->text or both.")] = "spoken-digits",
    data: Annotated[Path, typer.Option(help="Sounds with captions; tags `label` and `speaker`.")] = Path("../shared/data/spoken_digits"),
    split: str = "test",
    reference: str = "train",
    limit: Annotated[int | None, typer.Option(min=2, help="Only so many rows.")] = None,
    cache: Path = Path("runs/packs"),
) -> None:
    """Measure and print two tables."""
    ours = Tonggan.from_pretrained(model, device="cpu")
    pack = ensure_pack(data, framing=ours.framing, cache=cache)
    rows, rate = pack.indices(split)[:limit], pack.framing.sample_rate_hz
    truths = heard(pack, rows)
    captions = [str(first_caption(pack.row(int(row)), "en", ours.recipe.data.loader_target_phrasings())) for row in rows]
    arrows = ours.recipe.objectives.arrows
    print(f"{len(rows)} rows of '{split}'; {model} {ours.weights_hash[:10]}")
    if "text->audio" in arrows:
        made = torch.from_numpy(np.concatenate([each.samples for each in _spoken(ours, captions)]))
        training = pack.indices(reference)
        others = heard(pack, np.random.default_rng(1).permutation(training)[: len(rows)])
        namers = [_namer(pack, training, rows, tag) for tag in ("label", "speaker")]
        distance = embedding_judge(pack, reference=reference, real=truths)
        print("| text->audio | word named % | voice named % | kernel distance x10⁻³ |\n|---|---|---|---|")
        for name, sounds in (
            (model, made),
            ("the true sounds", truths),
            ("made for another row's caption", made[np.random.default_rng(2).permutation(len(made))]),
            ("training sounds", others),
        ):
            shares = [_told(share_interval(namer(sounds))) for namer in namers]
            print(f"| {name} | {shares[0]} | {shares[1]} | {1000 * distance(sounds).value:.0f} |")
    if "audio->text" in arrows:
        sounds = [Sound(waveform.numpy()[None], rate) for waveform in truths]
        said = [sentence for start in range(0, len(sounds), BATCH) for sentence in ours.generate(sounds[start : start + BATCH], to="text")]
        exact = [float(one == other) for one, other in zip(said, captions, strict=True)]
        words = [float(has_label(str(one), other.partition(",")[0])) for one, other in zip(said, captions, strict=True)]
        print("| audio->text | exact word % | exact sentence % |\n|---|---|---|")
        print(f"| {model} | {_told(share_interval(words))} | {_told(share_interval(exact))} |")


def _told(share: Interval) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def heard(pack: Pack, rows: np.ndarray) -> torch.Tensor:
    """Return the true sounds of rows, from their beginning: (rows, samples)."""
    return batch_of(pack, rows, [""] * len(rows)).inputs["audio"]


def _spoken(model: Tonggan, captions: Sequence[str]) -> list[Sound]:
    """Return a sound a caption, that of row i from seed i."""
    starts = range(0, len(captions), BATCH)
    return [sound for start in starts for sound in model.generate(list(captions[start : start + BATCH]), to="audio", seed=start)]


def _namer(pack: Pack, training: np.ndarray, rows: np.ndarray, tag: str) -> Callable[[torch.Tensor], list[float]]:
    """Return what says of each waveform whether the classifier, learned from the training rows, names what its row's tag says."""
    mel = Mel(sample_rate_hz=pack.framing.sample_rate_hz)
    values = np.stack([parts(each, mel) for each in heard(pack, training)])
    classifier = SpectraClassifier.fit(values, [str(pack.row(int(row)).tags[tag]) for row in training])
    wanted = [str(pack.row(int(row)).tags[tag]) for row in rows]

    def right(sounds: torch.Tensor) -> list[float]:
        named = classifier.names_of(np.stack([parts(each, mel) for each in sounds]))
        return [float(one == other) for one, other in zip(named, wanted, strict=True)]

    return right


def parts(waveform: torch.Tensor, mel: Mel) -> np.ndarray:
    """Return the mean spectra of `PARTS` equal parts of what is heard in a waveform (samples,), less its mean level, and its length in seconds."""
    levels = log_mel(waveform, mel).numpy()
    loudness = levels.max(0)
    audible = np.flatnonzero(loudness > loudness.max() - QUIET)
    word = levels[:, audible[0] : audible[-1] + 1]
    places = np.linspace(0, word.shape[1], PARTS + 1)
    spectra = [word[:, int(begin) : max(int(begin) + 1, round(end))].mean(1) for begin, end in pairwise(places)]
    together = np.concatenate(spectra)
    return np.append(together - together.mean(), word.shape[1] / mel.frames_per_second)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"spoken_words: {error}") from error
