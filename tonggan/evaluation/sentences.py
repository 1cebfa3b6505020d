"""Judging a model that describes: pictures of a split are put into words, measured against what people said, and written down with a baseline beside."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tonggan.data.loader import Phrasings, first_caption
from tonggan.data.pack import Pack, PackedRow
from tonggan.evaluation.captions import SMALLEST_CORPUS, Said, bleu, cider_d, distinct, exact, plain, repeat_rate, rouge_l
from tonggan.evaluation.card import FIGURES, Card, Column, DataFacts, Figure, ModelFacts, NetFacts, SpeedFacts
from tonggan.evaluation.drawing import Chosen, choose
from tonggan.evaluation.evaluate import check_folder, remove_earlier
from tonggan.evaluation.features import FeatureExtractor, FeatureNet, Features
from tonggan.evaluation.gallery import Told, packed_picture
from tonggan.evaluation.intervals import Interval, mean_interval, share_interval
from tonggan.evaluation.machine import machine_facts, versions
from tonggan.evaluation.measure import Ruler, reference_pictures
from tonggan.evaluation.report import sentence_sections, write_report
from tonggan.evaluation.retrieval import ground_truth_ranks, nearest_training
from tonggan.files import replacing
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

SHOWN = 96
POINTS_BATCH = 256


@dataclass(frozen=True)
class Row:
    """What people say of a picture: references, the first of which is the wanted one, and its label where it has one."""

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


def figures(sentences: Sequence[str], rows: Sequence[Row]) -> list[Figure]:
    """Return what there is to say of sentences; a corpus figure has no interval."""
    count = len(rows)
    corpus = [Said.of(sentence, row.references) for sentence, row in zip(sentences, rows, strict=True)]
    right = [exact([sentence], [row.references[0]]) for sentence, row in zip(sentences, rows, strict=True)]
    found = [_figure("exact", share_interval(right), count)]
    if all(row.label for row in rows):
        labelled = [has_label(sentence, row.label) for sentence, row in zip(sentences, rows, strict=True)]
        found.append(_figure("exact_label", share_interval(labelled), count))
    orders = bleu(corpus)
    whole = {"bleu_1": orders[0], "bleu_4": orders[3], "rouge_l": rouge_l(corpus), "cider_d": cider_d(corpus)}
    whole |= {"distinct_2": distinct(corpus), "repeat_rate": repeat_rate(corpus)}
    found += [Figure(name, value, None, None, count) for name, value in whole.items()]
    return [*found, _figure("sentence_length", mean_interval([len(said.candidate) for said in corpus]), count)]


def _figure(name: str, interval: Interval, count: int) -> Figure:
    return Figure(name, interval.value, interval.low, interval.high, count)


def retrieval_figures(model: Tonggan, pack: Pack, chosen: Chosen, rows: Sequence[Row], *, batch_size: int) -> list[Figure]:
    """Return R@1, 5 and 10 in both directions, by the points of the model's own space; nothing where it lacks an encoder."""
    if not {"text", "image"} <= set(model.model.encoders):
        return []
    texts, images = [], []
    for start in range(0, len(rows), batch_size):
        part = chosen.samples[start : start + batch_size]
        pictures = [packed_picture(pack, sample.index) for sample in part]
        texts.append(model.encode([row.references[0] for row in rows[start : start + batch_size]]))
        images.append(model.encode(pictures))
    points = torch.cat(texts).numpy(), torch.cat(images).numpy()
    found = []
    for name, ranks in {"text_to_image": ground_truth_ranks(*points), "image_to_text": ground_truth_ranks(*reversed(points))}.items():
        found += [_figure(f"{name}_at_{k}", ranks.recall(k), len(rows)) for k in (1, 5, 10)]
    return found


def evaluate_sentences(
    model: Tonggan,
    *,
    pack: Pack,
    split: str,
    out: Path,
    language: str = "en",
    limit: int | None = None,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    reference: str = "train",
    net: FeatureExtractor | None = None,
    cache: Path | None = None,
    progress: Show | None = None,
) -> Card:
    """Describe the pictures of a split in `language`, measure the sentences, and write card.json, rows.jsonl and report.html into `out`.

    Beside the model stands the sentence of the nearest training picture, by features of EfficientNet-Lite0 and by the model's own points. `settings` are
    the decoder's. Raises
    `UserError` as `evaluate` does, and for a language that the decoder was not trained on.
    """
    check_folder(out)
    ruler = Ruler(net or FeatureNet.load(), cache, progress)
    phrasings = model.recipe.data.loader_target_phrasings()
    chosen = choose(pack, split=split, language=language, phrasings=phrasings, seed=0, limit=limit)
    rows = [Row.of(pack.row(sample.index), language, phrasings) for sample in chosen.samples]
    wishes = dict(settings or {}) | {"language": language}
    sentences, seconds = _describe(model, pack, chosen, settings=wishes, batch_size=batch_size, progress=progress)
    baselines = _nearest_sentences(model, ruler, pack, chosen, language=language, phrasings=phrasings, reference=reference)
    nearest = next(iter(baselines.values()), [""] * len(rows))
    warnings = [f"CIDEr-D needs {SMALLEST_CORPUS} pictures or more to weigh words by how rare they are; here are {len(rows)}."]
    card = Card(
        arrow="image->text",
        model=ModelFacts(model.name, model.weights_hash, model.settings("text") | wishes),
        data=DataFacts(pack.content_hash, split, language, len(rows), chosen.split_rows, chosen.hash(), pack.size),
        features=NetFacts(ruler.net.name, ruler.net.sha256, ruler.net.input_size, ruler.net.width),
        first_seed=0,
        figures=(*figures(sentences, rows), *retrieval_figures(model, pack, chosen, rows, batch_size=batch_size)),
        columns=tuple(Column("nearest training picture", f"its sentence, by {by}", tuple(figures(said, rows))) for by, said in baselines.items()),
        beside=(),
        groups=(),
        speed=SpeedFacts(seconds, len(rows) / seconds, batch_size),
        machine=machine_facts(),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=tuple(warnings if len(rows) < SMALLEST_CORPUS else ()),
        definitions={name: kind.meaning for name, kind in FIGURES.items()},
    )
    said = [
        {"file_name": sample.file_name, "said": sentence, "references": list(row.references), "nearest": near}
        for sample, sentence, row, near in zip(chosen.samples, sentences, rows, nearest, strict=True)
    ]
    remove_earlier(out)
    with replacing(out / "rows.jsonl") as beside:
        beside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in said), encoding="utf-8")
    told = [
        Told(packed_picture(pack, sample.index), sentence, row.references[0], near, bool(exact([sentence], [row.references[0]])))
        for sample, sentence, row, near in zip(chosen.samples[:SHOWN], sentences, rows, nearest, strict=False)
    ]
    write_report(out / "report.html", card=card, shown=sentence_sections(told))
    card.save(out / "card.json")
    return card


def _describe(
    model: Tonggan, pack: Pack, chosen: Chosen, *, settings: Mapping[str, Any], batch_size: int, progress: Show | None
) -> tuple[list[str], float]:
    said: list[str] = []
    began = time.perf_counter()
    for start in range(0, len(chosen.samples), batch_size):
        part = chosen.samples[start : start + batch_size]
        said += model.generate([packed_picture(pack, sample.index) for sample in part], to="text", settings=settings)
        if progress:
            progress("describing", len(said), len(chosen.samples))
    return said, time.perf_counter() - began


def _nearest_sentences(
    model: Tonggan, ruler: Ruler, pack: Pack, chosen: Chosen, *, language: str, phrasings: Phrasings | None, reference: str
) -> dict[str, list[str]]:
    """Return the first reference of the nearest training picture for each chosen row, by what it is nearest in; nothing where there are no training pictures."""
    known = reference_pictures(ruler, pack, reference)
    if known is None:
        return {}
    wanted = [sample.index for sample in chosen.samples]
    spaces = {"features of EfficientNet-Lite0": (ruler.pack_features(pack, wanted, "pictures"), known.features)}
    if "image" in model.model.encoders:
        spaces["the model's own points"] = (_points(model, pack, wanted), _points(model, pack, known.rows, ruler.progress))
    rows = np.asarray(known.rows)

    def said(row: int) -> str:
        return next(iter(Row.of(pack.row(row), language, phrasings).references), "")

    return {by: [said(int(row)) for row in rows[nearest_training(*points).nearest]] for by, points in spaces.items()}


def _points(model: Tonggan, pack: Pack, rows: Sequence[int], progress: Show | None = None) -> Features:
    """Return the points (rows, width) of a pack's pictures in the model's space."""
    found = []
    for start in range(0, len(rows), POINTS_BATCH):
        found.append(model.encode([packed_picture(pack, row) for row in rows[start : start + POINTS_BATCH]]).numpy())
        if progress:
            progress("own points", min(start + POINTS_BATCH, len(rows)), len(rows))
    return np.concatenate(found)
