"""Judging a model that draws: rows of a split are drawn, measured against their ground truths, and written down with the floors beside."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tonggan.data.pack import Pack
from tonggan.errors import UserError
from tonggan.evaluation.by_net import ByNet, clip_scores, facts_of, measure_by_net
from tonggan.evaluation.card import FIGURES, Card, DataFacts, ModelFacts, SpeedFacts, column_of
from tonggan.evaluation.card_text import save_card
from tonggan.evaluation.curves import retrieval_sections, training_sections
from tonggan.evaluation.drawing import Chosen, Drawer, choose, draw, picture_path, picture_paths, save_pictures
from tonggan.evaluation.features import FeatureExtractor, FeatureNet
from tonggan.evaluation.findings import columns, groups, model_figures, warnings
from tonggan.evaluation.gallery import gallery
from tonggan.evaluation.intervals import Numbers
from tonggan.evaluation.machine import machine_facts, versions
from tonggan.evaluation.measure import Measured, Ruler, measure, reference_pictures, reseeded_pictures, shuffled_pictures
from tonggan.evaluation.report import gallery_sections, write_report
from tonggan.evaluation.retrieval import Ranks, ground_truth_ranks
from tonggan.files import replacing
from tonggan.progress import Show

SHUFFLED = 256
"""Captions that are drawn a second time with another row's words."""
RESEEDED = 64
"""Captions that are drawn a second time from another seed."""


def evaluate(
    model: Drawer,
    *,
    pack: Pack,
    split: str,
    out: Path,
    language: str = "en",
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 64,
    reference: str = "train",
    beside: Sequence[Card] = (),
    net: FeatureExtractor | None = None,
    nets: Sequence[FeatureExtractor] = (),
    cache: Path | None = None,
    shuffled: int = SHUFFLED,
    journal: Path | None = None,
    progress: Show | None = None,
) -> Card:
    """Draw the captions of a split, measure the pictures, and write card.json, card.md, rows.jsonl, report.html and pictures/ into `out`.

    Args:
        model: what draws; see `Drawer`.
        pack: the packed data.
        split: which of its rows are drawn.
        out: folder for the results; what an earlier evaluation left there is replaced.
        language: language code of the captions, phrased as the model was trained.
        seed: row i, in the fixed random order of the split, is drawn with `seed` + i.
        limit: draw the first so many rows of that order only (2 or more).
        batch_size: captions drawn at once; it changes no picture.
        reference: split whose pictures the model was trained on, for the floor of real pictures and the search for copies.
        beside: earlier cards to show beside this one, such as the plain baseline's.
        net: feature network; EfficientNet-Lite0 unless given.
        nets: further networks to measure with: Inception-v3 for FID, CLIP for CMMD and CLIPScore, DINOv2.
        cache: folder in which features of the pack are kept between evaluations.
        shuffled: captions that are drawn once more with another row's words, from the same seed, and (up to 64 of them) from another seed; 0 leaves
            both checks out.
        journal: journal of the run that the model comes from, for its curves.
        progress: called with (what, done, total).

    Raises `UserError` for an unknown split, a language without captions, a limit below two, a full disk, a feature network that is not installed,
    and an `out` that cannot be a folder or in which something else lies that would be overwritten.
    """
    check_folder(out)
    ruler = Ruler(net or FeatureNet.load(), cache, progress)
    chosen = choose(pack, split=split, language=language, phrasings=model.phrasings, seed=seed, limit=limit)
    captions, seeds = [sample.caption for sample in chosen.samples], [sample.seed for sample in chosen.samples]
    drawn = draw(model, captions, seeds=seeds, batch_size=batch_size, progress=progress)
    others = shuffled_pictures(ruler, model, chosen, count=shuffled, batch_size=batch_size)
    known = reference_pictures(ruler, pack, reference)
    measured = measure(
        ruler,
        chosen,
        drawn,
        pack=pack,
        phrasings=model.phrasings,
        shuffled=others,
        reseeded=reseeded_pictures(ruler, model, chosen, count=min(shuffled, RESEEDED), batch_size=batch_size),
        reference=known,
    )
    by_net = [measure_by_net(each, ruler, chosen, drawn, pack=pack, reference=known, retrieved=measured.looked_up) for each in nets]
    card = Card(
        arrow="text->image",
        model=ModelFacts(model.name, model.weights_hash, model.settings()),
        data=DataFacts(pack.content_hash, split, language, len(captions), chosen.split_rows, chosen.hash(), pack.size),
        features=facts_of(ruler.net),
        first_seed=seed,
        figures=model_figures(measured, by_net),
        columns=columns(measured, by_net),
        beside=(),
        groups=groups(chosen.samples, measured.ranks),
        speed=SpeedFacts(drawn.seconds, len(captions) / drawn.seconds, batch_size),
        machine=machine_facts(),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=warnings(chosen, drawn, measured, by_net, pack=pack, split=split, language=language, reference=reference),
        definitions={name: kind.meaning for name, kind in FIGURES.items()},
        nets=tuple(facts_of(each) for each in nets),
    )
    card = replace(card, beside=tuple(column_of(other, card=card) for other in beside))
    remove_earlier(out)
    save_pictures(out / "pictures", chosen.samples, drawn.pictures)
    _save_rows(out / "rows.jsonl", _rows(chosen, measured, by_net, pack=pack))
    shown = gallery_sections(card, gallery(chosen, drawn, measured, pack=pack))
    write_report(out / "report.html", card=card, shown=[*shown, *retrieval_sections(_curves(measured)), *training_sections(journal)])
    save_card(out, card)
    return card


def _curves(measured: Measured) -> dict[str, Ranks]:
    found = {"the model": measured.ranks}
    return found if measured.retrieved is None else found | {"nearest training caption": ground_truth_ranks(measured.retrieved, measured.truths)}


def check_folder(out: Path) -> None:
    """Refuse, before anything is made, an `out` that cannot be written to and one that holds what is not ours to replace.

    A folder with files of our names but no card is someone else's (a pack has a rows.jsonl, too) or half an evaluation.
    """
    standing = next(path for path in (out, *out.parents) if path.exists())
    if not standing.is_dir():
        raise UserError(f"{out} cannot be a folder for the results: {standing} is a file. Choose another one.")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise UserError(f"{standing} may not be written to. Choose another folder for the results.")
    if (out / "card.json").is_file():
        Card.load(out / "card.json")
        _earlier_pictures(out)
    elif taken := [name for name in ("card.json", "card.md", "pictures", "rows.jsonl", "report.html") if (out / name).exists()]:
        raise UserError(
            f"{out} holds {' and '.join(taken)}, but no file card.json: no whole evaluation lies there. Choose another folder, or remove them."
        )


def _earlier_pictures(out: Path) -> list[Path]:
    """Return the pictures that an earlier evaluation wrote into `out`; raises `UserError` where its rows cannot be read."""
    path = out / "rows.jsonl"
    if not path.is_file():
        return []
    try:
        # Not splitlines(), which parts at U+2028, too.
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return [out / "pictures" / picture_path(row["picture"].removeprefix("pictures/")) for row in rows if "picture" in row]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: it does not say which pictures to replace. Choose another folder, or remove {out}.") from error


def remove_earlier(out: Path) -> None:
    """Remove the card and the pictures that an earlier evaluation wrote into `out`, and nothing else."""
    earlier = _earlier_pictures(out)
    # The card first, so that it never lies beside pictures that it does not speak of.
    for path in (out / "card.json", out / "card.md", *earlier):
        path.unlink(missing_ok=True)


def _save_rows(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with replacing(path) as beside:
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _rows(chosen: Chosen, measured: Measured, by_net: Sequence[ByNet], *, pack: Pack) -> Iterator[dict[str, Any]]:
    """Yield what is known of each drawn picture, so that a figure can be looked into, computed anew in another way, or compared row by row."""
    known, nearness = measured.reference, measured.nearness
    values = _row_values(measured, by_net)
    for number, (sample, path) in enumerate(zip(chosen.samples, picture_paths(chosen.samples), strict=True)):
        row = {
            "file_name": sample.file_name,
            "picture": f"pictures/{path}",
            "caption": sample.caption,
            "seed": sample.seed,
            "rank": int(measured.ranks.closer[number]) + 1,
            "similarity": round(float(measured.ranks.similarity[number]), 6),
        }
        if known and nearness:
            row["nearest_training"] = pack.row(known.rows[int(nearness.nearest[number])]).file_name
            ratio = float(nearness.ratio[number])
            row["nearest_training_ratio"] = round(ratio, 6) if math.isfinite(ratio) else None
        yield row | {"figures": {name: round(float(each[number]), 6) for name, each in values.items()}, "tags": dict(sample.tags)}


def _row_values(measured: Measured, by_net: Sequence[ByNet]) -> dict[str, Numbers]:
    """Return the figures that are means over rows, as (N,) values by the figure's key."""
    ranks, clear = measured.ranks, measured.clarity
    found = {"recall_at_1": ranks.hits(1), "recall_at_5": ranks.hits(5), "rank_percentile": ranks.percentiles()}
    found |= {"sharpness": clear.sharpness, "blockiness": clear.blockiness, "ringing": clear.ringing}
    if (chosen_of := ranks.chosen_of()) is not None:
        found["r_precision"] = chosen_of
    if measured.nearness:
        found["copy_rate"] = measured.nearness.copied().astype(np.float64)
    for each in by_net:
        if each.fit:
            found[f"clip_score @ {each.net.name}"] = clip_scores(each.fit.drawn)
            if (chosen_of := each.fit.ranks.chosen_of()) is not None:
                found[f"caption_r_precision @ {each.net.name}"] = chosen_of
    return found
