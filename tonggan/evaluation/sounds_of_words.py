"""Judging a model that makes sounds of words: captions of a split are heard, named by classifiers of real sounds, and floors set beside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tonggan.data.loader import Phrasings, all_phrasings
from tonggan.data.pack import Pack
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card, Column, Figure, NetFacts
from tonggan.evaluation.curves import training_sections
from tonggan.evaluation.drawing import Chosen
from tonggan.evaluation.folder import check_folder, remove_earlier, save_evaluation
from tonggan.evaluation.gallery import Heard, picked
from tonggan.evaluation.intervals import Numbers, share_interval
from tonggan.evaluation.made_sounds import other_rows, save_sounds, sound_path, sound_warnings, training_rows
from tonggan.evaluation.naming import HEARD_IN, PARTS, Namer, beginnings, namers
from tonggan.evaluation.new_card import new_card
from tonggan.evaluation.report import sound_sections
from tonggan.evaluation.retrieval import other_captions
from tonggan.evaluation.sound_embedding import embedding_facts, embedding_judge
from tonggan.evaluation.sound_features import sound_distances, statistics_facts
from tonggan.evaluation.unfinished import Unfinished
from tonggan.latent.lexical import LexicalIndex
from tonggan.modalities.spectrogram import Mel
from tonggan.modalities.timeline import timeline
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

SHOWN, EXTREMES = 12, 4
"""Sounds that a report shows as they come; and of the worst and the best."""
FLOORS = "the nearest training caption, the floor of real sounds, the embedding and the naming of tags"


@dataclass(frozen=True)
class Judgement:
    """What is found in sounds: figures, and of each tag that can be named whether it was, (N,)."""

    figures: tuple[Figure, ...]
    named: Mapping[str, Numbers]


class Judge:
    """Judges sounds that were made for rows of a pack by their true sounds (rows, samples); what learns from real sounds learns from `training` rows."""

    def __init__(self, pack: Pack, chosen: Chosen, real: torch.Tensor, training: np.ndarray, *, reference: str) -> None:
        self.real, self.rate = real, pack.framing.sample_rate_hz
        self.namers: dict[str, Namer] = namers(pack, training, chosen.samples) if len(training) else {}
        self.embedding = embedding_judge(pack, reference=reference, real=real) if len(training) else None

    def __call__(self, waveforms: torch.Tensor) -> Judgement:
        """Return what is found in waveforms float32 (rows, samples)."""
        named = {tag: namer(waveforms) for tag, namer in self.namers.items()}
        figures = [Figure.of("tag_accuracy", share_interval(right), len(right), net=tag) for tag, right in named.items()]
        figures += sound_distances(waveforms, self.real, sample_rate_hz=self.rate)
        return Judgement((*figures, *([self.embedding(waveforms)] if self.embedding else [])), named)


def evaluate_sounds_of_words(model: Tonggan, asked: Asked, *, batch_size: int = 32) -> Card:
    """Make the sounds of a split's captions, and write card.json, card.md, rows.jsonl, report.html and sounds/ into `asked.out`.

    What tags the rows have (a speaker, what is said, an instrument) is named by classifiers that learn from the true sounds of the split `asked.reference`.
    Beside the model stand the true sounds, those of training rows, of the nearest training caption and of another row's caption.
    Raises `UserError` for a pack without sounds, an unknown split, a language without captions, a limit below two, and an arrow that the model lacks.
    """
    pack, out = asked.pack, asked.out
    pack.require(*HEARD_IN, arrow="text->audio")
    check_folder(out)
    chosen = asked.rows(model.phrasings)
    rows, training, rate = np.asarray([sample.index for sample in chosen.samples]), training_rows(pack, asked.reference), pack.framing.sample_rate_hz
    kept = asked.kept(model.weights_hash, model.settings("audio"))
    made, seconds = _made(model, chosen, batch_size=batch_size, kept=kept, progress=asked.progress)
    real = beginnings(pack, rows)
    judge = Judge(pack, chosen, real, training, reference=asked.reference)
    judged = judge(made)
    card = new_card(
        model,
        asked,
        arrow="text->audio",
        settings=model.settings("audio"),
        chosen=chosen,
        seconds=seconds,
        batch_size=batch_size,
        figures=judged.figures,
        columns=_columns(judge, pack, chosen, made, training, model.phrasings),
        features=statistics_facts(rate),
        nets=_nets(judge, rate),
        warnings=[*sound_warnings(training, len(rows), asked, floors=FLOORS), *asked.uncaptioned(chosen)],
    )
    remove_earlier(out)
    save_sounds(out, chosen, made, rate)
    how = "The true sound above, what was made below."
    what = ("Sounds of which the fewest tags are named.", "Sounds of which the most tags are named.")
    shown = sound_sections(_shown(chosen, judged, made, real, rate), how=how, what=what) + training_sections(asked.journal)
    save_evaluation(out, card, rows=_rows(chosen, judged), shown=shown)
    return card


def _made(model: Tonggan, chosen: Chosen, *, batch_size: int, kept: Unfinished, progress: Show | None) -> tuple[torch.Tensor, float]:
    """Return the sounds (rows, samples) of the captions, and the wall seconds that they took."""
    captions, seeds = [sample.caption for sample in chosen.samples], [sample.seed for sample in chosen.samples]

    def sounds(part: slice) -> list[np.ndarray]:
        return [sound.mono() for sound in model.generate(captions[part], to="audio", seeds=seeds[part])]

    made, seconds = kept.outputs(list(zip(captions, seeds, strict=True)), sounds, batch_size=batch_size, what="sounding", progress=progress)
    return torch.from_numpy(np.stack(made)), seconds


def _columns(judge: Judge, pack: Pack, chosen: Chosen, made: torch.Tensor, training: np.ndarray, phrasings: Phrasings | None) -> list[Column]:
    """Return what the model is read beside: true sounds (a ceiling), what training holds of the nearest words, its own for other words, any real sounds."""
    captions = [sample.caption for sample in chosen.samples]
    floors = {"true sound": ("what the same judges make of it", judge.real)}
    if len(training):
        index = LexicalIndex.build(all_phrasings(pack.row(int(row)), phrasings) for row in training)
        nearest = [int(found[0]) if len(found := index.nearest(caption, 1)[0]) else 0 for caption in captions]
        floors["nearest training caption"] = "the sound of a training row, by its words", beginnings(pack, training[nearest])
    if partners := other_captions(captions, count=len(captions)):
        floors["another row's caption"] = "the model's sound for other words", made[partners]
    if len(training):
        others = beginnings(pack, other_rows(training, len(captions)))
        floors["other real sounds"] = "sounds of random training rows: the floor of distances, chance for tags", others
    return [Column(name, note, judge(waveforms).figures) for name, (note, waveforms) in floors.items()]


def _nets(judge: Judge, sample_rate_hz: int) -> list[NetFacts]:
    tags = [
        NetFacts(tag, "", sample_rate_hz, PARTS * Mel().bands + 1, "linear classifier of spectra, learned from training sounds", unit="Hz")
        for tag in judge.namers
    ]
    return [*tags, *([embedding_facts(sample_rate_hz)] if judge.embedding else [])]


def _shown(chosen: Chosen, judged: Judgement, made: torch.Tensor, real: torch.Tensor, rate: int) -> list[Heard]:
    """Return the sounds that a report shows: the first, the worst and the best by how many of their tags are named."""
    scores = np.stack(list(judged.named.values())).mean(0) if judged.named else np.zeros(len(made))

    def heard(i: int) -> Heard:
        sounds = real[i].numpy(), made[i].numpy()
        verdict = ", ".join(f"{tag} {'named' if right[i] else 'not named'}" for tag, right in judged.named.items())
        return Heard(chosen.samples[i].caption, timeline([], list(sounds), rate), sounds[1], sounds[0], rate, float(scores[i]), verdict)

    return [heard(i) for i in picked(scores, first=SHOWN, extremes=EXTREMES)]


def _rows(chosen: Chosen, judged: Judgement) -> Iterator[dict[str, Any]]:
    """Yield what is known of each sound."""
    for number, sample in enumerate(chosen.samples):
        figures = {f"tag_accuracy @ {tag}": float(right[number]) for tag, right in judged.named.items()}
        told = {"sound": str(sound_path(sample)), "caption": sample.caption, "seed": sample.seed}
        yield {"file_name": sample.file_name} | told | {"figures": figures, "tags": dict(sample.tags)}
