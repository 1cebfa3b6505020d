"""Judging a model that describes: pictures or sounds of a split are put into words, measured against what people said, and written down with a baseline beside."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tonggan.data.loader import Phrasings, first_caption
from tonggan.data.pack import PackedRow
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.captions import SMALLEST_CORPUS, Said, bleu_counts, bleu_of, cider_d, distinct, exact, plain, repeats, rouge_l
from tonggan.evaluation.card import Card, Column, Figure
from tonggan.evaluation.curves import training_sections
from tonggan.evaluation.described import Described, Pictures, Sounds
from tonggan.evaluation.drawing import Chosen
from tonggan.evaluation.features import FeatureExtractor
from tonggan.evaluation.folder import check_folder, remove_earlier, save_evaluation
from tonggan.evaluation.gallery import EXTREMES, Told, picked
from tonggan.evaluation.intervals import RESAMPLES, Numbers, mean_interval, percentiles, resample_weights, share_interval
from tonggan.evaluation.java_metrics import JAVA_METRICS, check_java
from tonggan.evaluation.new_card import new_card
from tonggan.evaluation.others import OtherSentences
from tonggan.evaluation.report import sentence_sections
from tonggan.evaluation.retrieval import Ranks, ground_truth_ranks, nearest_training
from tonggan.evaluation.unfinished import Unfinished
from tonggan.pipeline import Tonggan

SHOWN = 96
RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Row:
    """What people say of a row: references, the first of which is the wanted one, and its label where it has one."""

    references: tuple[str, ...]
    label: str

    @classmethod
    def of(cls, row: PackedRow, language: str, phrasings: Phrasings | None) -> "Row":
        """Return the references of a packed row: the recipe's phrasing where there is one, else all its captions in the language."""
        if phrasings and language in phrasings:
            wanted = first_caption(row, language, phrasings)
            references: tuple[str, ...] = (str(wanted),) if wanted else ()
        else:
            references = tuple(row.captions.get(language, ()))
        labels = row.tags.get("label")
        return cls(references, str(labels.get(language, "")) if isinstance(labels, Mapping) else "")


def has_label(sentence: str, label: str) -> bool:
    """Return whether a sentence is a label, or the label with more behind a comma."""
    said, wanted = plain(sentence), plain(label)
    return said == wanted or said.startswith((f"{wanted},", f"{wanted}、"))


def figures(sentences: Sequence[str], rows: Sequence[Row], *, java: Sequence[str] = ()) -> list[Figure]:
    """Return what there is to say of sentences; `java` names metrics that need Java (`meteor`, `spice`)."""
    return list(measure(sentences, rows, java=java).figures)


@dataclass(frozen=True)
class Measures:
    """Figures of sentences, and those that are means over rows row by row, by name, (N,) each."""

    figures: tuple[Figure, ...]
    by_row: Mapping[str, Numbers]


def measure(sentences: Sequence[str], rows: Sequence[Row], *, java: Sequence[str] = ()) -> Measures:
    """Return the figures of sentences with intervals over the rows; document frequencies of CIDEr-D are held as they are."""
    count = len(rows)
    corpus = [Said.of(sentence, row.references) for sentence, row in zip(sentences, rows, strict=True)]
    shares = {"exact": [exact([sentence], [row.references[0]]) for sentence, row in zip(sentences, rows, strict=True)]}
    if all(row.label for row in rows):
        shares["exact_label"] = [float(has_label(sentence, row.label)) for sentence, row in zip(sentences, rows, strict=True)]
    means = {"rouge_l": rouge_l(corpus), "cider_d": cider_d(corpus)}
    by_java = {name: JAVA_METRICS[name](corpus) for name in java}
    repeated = {"repeat_rate": [float(each) for each in repeats(corpus)]}
    length = np.asarray([len(said.candidate) for said in corpus], dtype=np.float64)
    found = [Figure.of(name, share_interval(values), count) for name, values in shares.items()]
    found += _bleu(corpus)
    found += [Figure.of(name, mean_interval(values), count) for name, values in means.items()]
    found += [Figure.of(name, mean_interval(scores.by_row), count, corpus=scores.corpus) for name, scores in by_java.items()]
    found.append(Figure.of("distinct_2", distinct(corpus), count))
    found += [Figure.of(name, share_interval(values), count) for name, values in repeated.items()]
    found.append(Figure.of("sentence_length", mean_interval(length), count))
    means |= {name: scores.by_row for name, scores in by_java.items()}
    by_row = {name: np.asarray(values, dtype=np.float64) for name, values in {**shares, **means, **repeated, "sentence_length": length}.items()}
    return Measures(tuple(found), by_row)


def _bleu(corpus: Sequence[Said]) -> list[Figure]:
    """Return BLEU with a bootstrap over the sentences, whose counts add up."""
    counts = bleu_counts(corpus)
    whole = bleu_of(counts.sum(axis=0))
    resampled = np.asarray([bleu_of(sums) for sums in resample_weights(len(corpus), resamples=RESAMPLES, seed=0).T @ counts])
    return [Figure.of(f"bleu_{order}", percentiles(whole[order - 1], resampled[:, order - 1]), len(corpus)) for order in (1, 4)]


def retrieval_ranks(model: Tonggan | OtherSentences, source: Described, chosen: Chosen, rows: Sequence[Row], *, batch_size: int) -> dict[str, Ranks]:
    """Return where sentences find what they say and it its sentences in the model's own space; nothing where it lacks an encoder."""
    if isinstance(model, OtherSentences) or not {"text", source.modality} <= set(model.model.encoders):
        return {}
    starts = range(0, len(rows), batch_size)
    texts = torch.cat([model.encode([row.references[0] for row in rows[start : start + batch_size]]) for start in starts]).numpy()
    others = source.points(model, [sample.index for sample in chosen.samples])
    return {f"text_to_{source.modality}": ground_truth_ranks(texts, others), f"{source.modality}_to_text": ground_truth_ranks(others, texts)}


def retrieval_figures(model: Tonggan, source: Described, chosen: Chosen, rows: Sequence[Row], *, batch_size: int) -> list[Figure]:
    """Return R@1, 5 and 10 in both directions, by the points of the model's own space; nothing where it lacks an encoder."""
    return _recalls(retrieval_ranks(model, source, chosen, rows, batch_size=batch_size))


def _recalls(ranks: Mapping[str, Ranks]) -> list[Figure]:
    return [Figure.of(f"{name}_at_{k}", each.recall(k), each.gallery) for name, each in ranks.items() for k in RECALLS]


def evaluate_sentences(
    model: Tonggan | OtherSentences,
    asked: Asked,
    *,
    source: str = "image",
    batch_size: int = 64,
    net: FeatureExtractor | None = None,
    cache: Path | None = None,
    java: Sequence[str] = (),
) -> Card:
    """Describe the pictures or the sounds (`source`) of a split, measure, and write card.json, card.md, rows.jsonl and report.html into `asked.out`.

    Sentences are in `asked.language`. Beside the model stands what `_columns` has. `java` names metrics that need Java (`meteor`, `spice`); `net` and `cache`
    are for pictures. In a model's place may be what another system said of the same rows: what needs the model's own space is left out then. Raises
    `UserError` as `evaluate` does, for a language that the decoder was not trained on, and for Java where it is wanted and missing.
    """
    check_java(java)
    check_folder(asked.out)
    pack, language = asked.pack, asked.language
    how: dict[str, Any] = {"reference": asked.reference, "progress": asked.progress}
    described: Described = Sounds(pack, **how) if source == "audio" else Pictures(pack, net=net, cache=cache, **how)
    phrasings = model.phrasings if isinstance(model, OtherSentences) else model.recipe.data.loader_target_phrasings()
    chosen = asked.rows(phrasings)
    rows = [Row.of(pack.row(sample.index), language, phrasings) for sample in chosen.samples]
    wishes = {"language": language}
    settings = model.settings("text") | wishes
    kept = asked.kept(model.weights_hash, settings | {"source": source})
    sentences, seconds = _describe(model, described, chosen, settings=wishes, batch_size=batch_size, kept=kept)
    measures = measure(sentences, rows, java=java)
    ranks = retrieval_ranks(model, described, chosen, rows, batch_size=batch_size)
    baselines = _nearest_sentences(model, described, chosen, language=language, phrasings=phrasings)
    card = new_card(
        model,
        asked,
        arrow=f"{source}->text",
        settings=settings,
        chosen=chosen,
        seconds=seconds,
        batch_size=batch_size,
        figures=[*measures.figures, *_recalls(ranks)],
        columns=_columns(baselines, rows, ranks, noun=described.noun, java=java),
        features=described.facts,
        warnings=[
            *_warnings(chosen, asked, noun=described.noun, alone=not baselines),
            *_first_alone(rows, noun=described.noun, retrieved=bool(ranks)),
        ],
    )
    nearest = next(iter(baselines.values()), [""] * len(rows))
    by_row = {**measures.by_row, **{f"{name}_at_{k}": each.hits(k) for name, each in ranks.items() for k in RECALLS}}
    remove_earlier(asked.out)
    told = _told(described, chosen, rows, sentences, nearest, by_row)
    shown = sentence_sections(told, noun=described.noun) + training_sections(asked.journal)
    save_evaluation(asked.out, card, rows=_rows(chosen, rows, sentences, nearest, by_row), shown=shown)
    return card


def _columns(
    baselines: Mapping[str, Sequence[str]], rows: Sequence[Row], ranks: Mapping[str, Ranks], *, noun: str = "picture", java: Sequence[str]
) -> list[Column]:
    """Return what a model is read beside: sentences of the nearest training rows, a person's, and chance in retrieval."""
    found = [Column(f"nearest training {noun} by {by}", "its sentence", measure(said, rows, java=java).figures) for by, said in baselines.items()]
    if all(len(row.references) > 1 for row in rows):
        others = [replace(row, references=row.references[1:]) for row in rows]
        note = "the first sentence that people said, judged by the others: one reference fewer than the model has"
        found.append(Column("a person", note, measure([row.references[0] for row in rows], others, java=java).figures))
    if ranks:
        chance = [Figure(f"{name}_at_{k}", each.chance(k), None, None, each.gallery) for name, each in ranks.items() for k in RECALLS]
        found.append(Column("chance", "points that have nothing to do with each other", tuple(chance)))
    return found


def _warnings(chosen: Chosen, asked: Asked, *, noun: str, alone: bool) -> list[str]:
    """Return what a reader must know first; `alone` stands a model beside which there are no nearest training rows."""
    count, found = len(chosen.samples), []
    if count < SMALLEST_CORPUS:
        found.append(f"CIDEr-D needs {SMALLEST_CORPUS} {noun}s or more to weigh words by how rare they are; here are {count}.")
    found += asked.uncaptioned(chosen)
    if alone:
        found.append(f"There are fewer than two training {noun}s: the sentences of the nearest ones are left out.")
    elif asked.reference == asked.split:
        found.append(f"The reference '{asked.reference}' is the split itself: the nearest training {noun} is the {noun} itself.")
    return found


def _first_alone(rows: Sequence[Row], *, noun: str, retrieved: bool) -> list[str]:
    """Return what is to be known of retrieval where rows have several captions."""
    most = max(len(row.references) for row in rows)
    if most < 2 or not retrieved:
        return []
    return [
        f"Retrieval takes the first caption of each {noun} (there are up to {most}): figures on Flickr8k and COCO in papers search among all of them and"
        " count any, and do not compare."
    ]


def _rows(
    chosen: Chosen, rows: Sequence[Row], sentences: Sequence[str], nearest: Sequence[str], by_row: Mapping[str, Numbers]
) -> Iterator[dict[str, Any]]:
    """Yield what is known of each row."""
    for number, (sample, row) in enumerate(zip(chosen.samples, rows, strict=True)):
        figures = {name: round(float(values[number]), 6) for name, values in by_row.items()}
        told = {"said": sentences[number], "references": list(row.references), "nearest": nearest[number]}
        yield {"file_name": sample.file_name, "seed": sample.seed} | told | {"figures": figures}


def _told(
    source: Described, chosen: Chosen, rows: Sequence[Row], sentences: Sequence[str], nearest: Sequence[str], by_row: Mapping[str, Numbers]
) -> list[Told]:
    """Return the rows that a report shows: the first, the worst and the best by CIDEr-D."""
    scores, right = by_row["cider_d"], by_row["exact"]

    def told(i: int) -> Told:
        seen, heard = source.shown(chosen.samples[i].index)
        return Told(seen, sentences[i], rows[i].references[0], nearest[i], bool(right[i]), float(scores[i]), heard)

    return [told(i) for i in picked(scores, first=SHOWN, extremes=EXTREMES)]


def _describe(
    model: Tonggan | OtherSentences, source: Described, chosen: Chosen, *, settings: Mapping[str, Any], batch_size: int, kept: Unfinished
) -> tuple[list[str], float | None]:
    """Return the sentences of the rows, and the seconds that they took; None where another system said them."""
    if isinstance(model, OtherSentences):
        return list(model.sentences), None
    asked = [(sample.index, sample.seed) for sample in chosen.samples]

    def said(part: slice) -> list[np.ndarray]:
        rows, seeds = zip(*asked[part], strict=True)
        return [np.asarray(sentence) for sentence in model.generate(source.inputs(rows), to="text", seeds=list(seeds), settings=settings)]

    sentences, seconds = kept.outputs(asked, said, batch_size=batch_size, what="describing", progress=source.progress)
    return [str(sentence) for sentence in sentences], seconds


def _nearest_sentences(
    model: Tonggan | OtherSentences, source: Described, chosen: Chosen, *, language: str, phrasings: Phrasings | None
) -> dict[str, list[str]]:
    """Return the first reference of the nearest training row for each chosen one, by what it is nearest in; nothing where there are no training rows."""
    known = source.training()
    if not known:
        return {}
    wanted = [sample.index for sample in chosen.samples]
    by = source.facts.name if source.modality == "audio" else f"features of {source.facts.name}"
    spaces = {by: (source.features(wanted, f"{source.noun}s"), source.features(known, f"training {source.noun}s"))}
    if not isinstance(model, OtherSentences) and source.modality in model.model.encoders:
        spaces["the model's own points"] = (source.points(model, wanted), source.points(model, known, what="own points"))

    def said(row: int) -> str:
        return next(iter(Row.of(source.pack.row(row), language, phrasings).references), "")

    rows = np.asarray(known)
    return {by: [said(int(row)) for row in rows[nearest_training(*points).nearest]] for by, points in spaces.items()}
