"""The report: a card with its pictures as one HTML file that needs nothing else, not even a network."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from tonggan.evaluation.card import Card, Column, Figure, Group
from tonggan.evaluation.card_text import net_told, seeds_told
from tonggan.evaluation.gallery import EXTREMES, FIRST, Gallery, Heard, Specimen, Told
from tonggan.evaluation.intervals import Interval
from tonggan.evaluation.kinds import FIGURES, FigureKind
from tonggan.evaluation.page import facts, heading, page, picture, sound, table
from tonggan.files import replacing

HIT = 5
ARROWS = {"higher": "↑ higher is better", "lower": "↓ lower is better", "truth": "→ the ground truths' is best", "": ""}


def write_report(path: Path, *, card: Card, shown: Iterable[str]) -> None:
    """Write the page of a card; `shown` are the sections (HTML) of what was made. Raises `UserError` where the disk is full."""
    note = "Small type: 95 % intervals over the rows; n: samples. Read a figure by the columns at its right, not alone."
    sections = [*_head(card), heading("Figures", "指标", note), _figures(card), *shown]
    if card.groups:
        sections += [heading("By group", "分组", "Retrieval among all ground truths of the split, by the tags of the rows."), _groups(card)]
    sections += [heading("What the figures mean", "指标定义"), _definitions(card), heading("To repeat it", "复现"), _conditions(card)]
    with replacing(path) as beside:
        beside.write_text(page(f"{card.model.name} on {card.data.split}", sections), encoding="utf-8")


def gallery_sections(card: Card, gallery: Gallery) -> list[str]:
    """Return drawn pictures beside their ground truths: the worst, the best, the first, those nearest to a training picture."""
    samples = card.data.samples
    first = (
        f"The first {len(gallery.first)} captions in the fixed random order of the split, seeds from {card.first_seed}. Nothing is picked by hand."
    )
    sections = [
        heading("Worst", "最差", "Drawn pictures whose own ground truth ranks lowest among all ground truths of the split."),
        _pictures(gallery.worst, samples),
        heading("Best", "最好", "Drawn pictures whose own ground truth ranks highest."),
        _pictures(gallery.best, samples),
        heading("First captions", "首批样本", first),
        _pictures(gallery.first, samples),
    ]
    if gallery.nearest:
        note = "The ratio is the distance to the training picture over that picture's own distance to its nearest neighbour."
        sections += [
            heading("Nearest to a training picture", "最接近训练图", f"{note} Below 0.33 counts as a copy."),
            _pictures(gallery.nearest, samples),
        ]
    return sections


def sentence_sections(told: Sequence[Told], *, noun: str) -> list[str]:
    """Return rows (`noun`: what one is called) with what was said of them and what should have been: worst and best by CIDEr-D, and the first."""
    order = sorted(told, key=lambda each: each.score)
    extremes = min(EXTREMES, len(told) // 2)
    first = f"The first {min(FIRST, len(told))} {noun}s in the fixed random order of the split. Nothing is picked by hand."
    parts = {
        ("Worst", "最差", "Sentences farthest from their references, by CIDEr-D."): order[:extremes],
        ("Best", "最好", "Sentences nearest to their references."): order[::-1][:extremes],
        (f"First {noun}s", "首批样本", first): told[:FIRST],
    }
    return [
        section for words, members in parts.items() for section in (heading(*words), f'<div class="pictures">{"".join(map(_told, members))}</div>')
    ]


def sound_sections(heard: Sequence[Heard], *, how: str, what: tuple[str, str]) -> list[str]:
    """Return timelines with players: the worst and the best, where there are any, and the first; `how` says what is seen, `what` which are worst and best."""
    order = sorted(heard, key=lambda each: each.score)
    extremes = min(EXTREMES // 4, len(heard) // 2) if order[0].score < order[-1].score else 0
    first = f"The first {min(FIRST // 4, len(heard))} rows in the fixed random order of the split."
    parts = {
        ("Worst", "最差", f"{what[0]} {how}"): order[:extremes],
        ("Best", "最好", what[1]): order[::-1][:extremes],
        ("First rows", "首批样本", f"{first} Nothing is picked by hand. {how}"): heard[: FIRST // 4],
    }
    shown = {words: members for words, members in parts.items() if members}
    return [
        section for words, members in shown.items() for section in (heading(*words), f'<div class="timelines">{"".join(map(_heard, members))}</div>')
    ]


def _heard(heard: Heard) -> str:
    shown = picture(heard.timeline, "", alternative=heard.caption, largest=heard.timeline.width)
    players = f"{sound(heard.true, heard.sample_rate_hz, 'true sound, above 真实')}{sound(heard.made, heard.sample_rate_hz, 'made, below 生成')}"
    verdict = f" · {escape(heard.verdict)}" if heard.verdict else ""
    return f'<figure>{shown}<div class="heard">{players}</div><figcaption>{escape(heard.caption)}{verdict}</figcaption></figure>'


def _told(told: Told) -> str:
    mood = "hit" if told.right else "miss"
    caption = f'<div class="rank {mood}">{escape(told.said)}</div>{escape(told.truth)}<small>nearest in training: {escape(told.nearest)}</small>'
    player = "" if told.sound is None else f'<div class="heard">{sound(told.sound.mono(), told.sound.sample_rate_hz, "")}</div>'
    shown = picture(told.picture, "ground truth 真实", alternative=told.truth)
    return f'<figure><div class="row">{shown}</div>{player}<figcaption>{caption}</figcaption></figure>'


def _head(card: Card) -> list[str]:
    data = card.data
    what = f"rows ({data.language})" if data.language else "rows"
    of = f"{data.samples:,} {what}" if data.samples == data.split_rows else f"{data.samples:,} of {data.split_rows:,} {what}"
    speed = f", {card.speed.pictures_per_second:.1f} a second" if card.speed else ""
    lead = f"{of} of the split '{data.split}'{speed}, {card.date[:10]}"
    warnings = [f'<div class="warning">{escape(text)}</div>' for text in card.warnings]
    return [f"<h1>{escape(card.model.name)}</h1>", f'<p class="lead">{escape(card.arrow)} · {escape(lead)}</p>', *warnings]


def _figures(card: Card) -> str:
    others = [*card.columns, *card.beside]
    model = f'<th class="model">{escape(card.model.name)}<small>this evaluation</small></th>'
    head = ["<th></th><th></th>", model, *(f"<th>{escape(column.name)}<small>{escape(column.note)}</small></th>" for column in others)]
    return table(head, (_figure_row(figure, others) for figure in card.figures))


def _figure_row(figure: Figure, others: Sequence[Column]) -> str:
    kind = FIGURES[figure.name]
    unit = f" <small>{escape(kind.unit)}</small>" if kind.unit.startswith("×") else ""
    by = f"<small>{escape(figure.net)}</small>" if figure.net else ""
    count = f"<small>n = {figure.samples:,}</small>"
    label = f'<th>{escape(kind.label)}<span class="zh" lang="zh">{escape(kind.label_zh)}</span>{unit}{by}{count}</th>'
    beside = ({each.key: each for each in column.figures}.get(figure.key) for column in others)
    cells = "".join(f"<td>{_value(other, kind)}</td>" for other in beside)
    return f'<tr>{label}<td class="arrow">{ARROWS[kind.better]}</td><td class="model">{_value(figure, kind, details=True)}</td>{cells}</tr>'


def _value(figure: Figure | None, kind: FigureKind, *, details: bool = False) -> str:
    if figure is None:
        return '<span style="color:var(--soft)">–</span>'
    unit = f" {kind.unit}" if kind.unit and not kind.unit.startswith("×") else ""
    text = f"<b>{_number(figure.value, kind)}{unit}</b>"
    if figure.low is not None and figure.high is not None:
        text += f"<small>{_number(figure.low, kind)} – {_number(figure.high, kind)}</small>"
    if details and figure.details.get("subset_size", figure.samples) < figure.samples:
        mean, deviation = (_number(figure.details[name], kind) for name in ("subset_mean", "subset_deviation"))
        text += f"<small>subsets of {figure.details['subset_size']:.0f}: {mean} ± {deviation}</small>"
    return text


def _number(value: float, kind: FigureKind) -> str:
    shown = round(value * kind.factor, kind.digits)
    return f"{shown + 0.0:.{kind.digits}f}".replace("-", "−")


def _pictures(specimens: Iterable[Specimen], samples: int) -> str:
    shown = list(specimens)
    wide = " wide" if any(specimen.training for specimen in shown) else ""
    return f'<div class="pictures{wide}">{"".join(_specimen(specimen, samples) for specimen in shown)}</div>'


def _specimen(specimen: Specimen, samples: int) -> str:
    images = [picture(specimen.drawn, "drawn 生成", alternative=f"drawn: {specimen.caption}")]
    if specimen.training:
        images.append(picture(specimen.training, "training 训练图", alternative="nearest training picture"))
    images.append(picture(specimen.truth, "ground truth 真实", alternative="ground truth"))
    mood = "hit" if specimen.rank <= HIT else "miss" if specimen.rank > samples / 2 else ""
    rank = f'<div class="rank {mood}">own ground truth: {specimen.rank:,} of {samples:,}'
    ratio = "" if specimen.ratio is None else f" · ratio {specimen.ratio:.2f}"
    return f'<figure><div class="row">{"".join(images)}</div><figcaption>{escape(specimen.caption)}{rank}{ratio}</div></figcaption></figure>'


def _groups(card: Card) -> str:
    tables = []
    for tag, members in groupby(card.groups, key=lambda group: group.tag):
        head = [f"<th>{escape(tag)}</th>", "<th>captions</th>", "<th>R@1</th>", "<th>R@5</th>", "<th></th>"]
        tables.append(table(head, (_group_row(group) for group in members)))
    return f'<div class="groups">{"".join(tables)}</div>'


def _group_row(group: Group) -> str:
    bar = f'<div class="bar"><i style="width:{100 * group.recall_at_5.value:.1f}%"></i></div>'
    return f"<tr><th>{escape(group.value)}</th><td>{group.samples:,}</td>{_share(group.recall_at_1)}{_share(group.recall_at_5)}<td>{bar}</td></tr>"


def _share(interval: Interval) -> str:
    return f"<td><b>{100 * interval.value:.1f} %</b><small>{100 * interval.low:.0f} – {100 * interval.high:.0f}</small></td>"


def _definitions(card: Card) -> str:
    return facts({FIGURES[figure.name].label: card.definitions[figure.name] for figure in card.figures}.items())


def _conditions(card: Card) -> str:
    data, speed = card.data, card.speed
    packages = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return facts(
        [
            ("model", f"{card.model.name}, {card.model.hashed} {card.model.weights_hash}"),
            *([("trained", ", ".join(f"{name} {value}" for name, value in card.model.trained.items()))] if card.model.trained else []),
            ("settings", json.dumps(card.model.settings, ensure_ascii=False)),
            ("data", f"pack {data.content_hash}, pictures {data.picture_size}x{data.picture_size}"),
            ("rows", f"{data.rows_hash}, listed in rows.jsonl beside this page"),
            ("seeds", seeds_told(card)),
            *((net.name, net_told(net)) for net in (card.features, *card.nets)),
            *([("making", f"{speed.drawing_seconds:.1f} s in batches of {speed.batch_size}")] if speed else []),
            ("machine", str(card.machine)),
            ("versions", packages),
            ("date", card.date),
        ]
    )
