"""A card as Markdown, beside its JSON: what a person reads, and all that is needed to repeat it."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from tonggan.evaluation.card import Card, Column, Figure, NetFacts
from tonggan.evaluation.kinds import FIGURES, FigureKind
from tonggan.files import replacing

ENDS = {"higher": " ↑", "lower": " ↓", "truth": " → ground truths", "": ""}
"""How the better end of a figure is written behind its label."""


def save_card(folder: Path, card: Card) -> None:
    """Write card.md and card.json into `folder`, card.json last: a card on the disk means that all of the evaluation is there."""
    with replacing(folder / "card.md") as beside:
        beside.write_text(card_markdown(card), encoding="utf-8")
    card.save(folder / "card.json")


def card_markdown(card: Card) -> str:
    """Return the card as a page of Markdown: figures with intervals and counts beside their floors, warnings, definitions, conditions."""
    data = card.data
    lines = [f"# {card.model.name}: {card.arrow}", ""]
    lines += [
        f"{data.samples:,} of {data.split_rows:,} rows of the split `{data.split}`{f', {data.language}' if data.language else ''}; {card.date}.",
        "",
    ]
    lines += [f"> {warning}" for warning in card.warnings] + ([""] if card.warnings else [])
    lines += ["## Figures", "", "95 % intervals over the rows in brackets; `n` is the number of samples.", "", *_figures(card), ""]
    lines += ["## What they mean", "", *_meanings(card), "", "## To repeat it", "", *_conditions(card)]
    return "\n".join(lines) + "\n"


def told(figure: Figure, kind: FigureKind) -> str:
    """Return a value with its interval, in the unit that it is shown in."""

    def number(value: float) -> str:
        return format(round(value * kind.factor, kind.digits) + 0.0, f".{kind.digits}f")

    interval = f" [{number(figure.low)}, {number(figure.high)}]" if figure.low is not None and figure.high is not None else ""
    return number(figure.value) + interval


def title(figure: Figure) -> str:
    """Return a figure's label with its network, its unit, and the better end."""
    kind = FIGURES[figure.name]
    by = f", {figure.net}" if figure.net else ""
    return kind.label + by + (f" ({kind.unit})" if kind.unit else "") + ENDS[kind.better]


def net_told(net: NetFacts) -> str:
    """Return what is to be known of a feature network, or of what takes its place for sounds."""
    weights = f", weights SHA-256 {net.sha256}" if net.sha256 else ""
    return f"{net.width:,} numbers at {net.input_size:,} {net.unit}{weights}" + (f"; {net.note}" if net.note else "")


def seeds_told(card: Card) -> str:
    """Return the seeds that the outputs were made from, and how many each row had."""
    if card.model.hashed != "weights":
        return "not known: made by another system"
    best_of = int(card.model.settings.get("best_of", 1))
    return f"{card.first_seed} to {card.first_seed + card.data.samples * best_of - 1}, {'one' if best_of == 1 else f'the best of {best_of}'} a row"


def _figures(card: Card) -> list[str]:
    others = [*card.columns, *card.beside]
    lines = ["| | n | " + " | ".join([card.model.name, *(column.name for column in others)]) + " |", "|---" * (len(others) + 3) + "|"]
    for figure in card.figures:
        cells = [told(figure, FIGURES[figure.name]), *(_cell(column, figure) for column in others)]
        lines.append(f"| {title(figure)} | {figure.samples:,} | " + " | ".join(cells) + " |")
    return lines


def _cell(column: Column, figure: Figure) -> str:
    found = next((each for each in column.figures if each.key == figure.key), None)
    return told(found, FIGURES[figure.name]) if found else ""


def _meanings(card: Card) -> list[str]:
    names: Sequence[str] = list(dict.fromkeys(figure.name for figure in card.figures))
    columns = [f"- *{column.name}*: {column.note}." for column in card.columns if column.note]
    return [f"- **{FIGURES[name].label}**: {card.definitions[name]}" for name in names] + columns


def _conditions(card: Card) -> list[str]:
    data, machine = card.data, card.machine
    facts = {
        "model": f"{card.model.name}, {card.model.hashed} SHA-256 {card.model.weights_hash}",
        **({"trained": ", ".join(f"{name} {value}" for name, value in card.model.trained.items())} if card.model.trained else {}),
        "settings": json.dumps(card.model.settings, ensure_ascii=False),
        "data": f"pack {data.content_hash}, {data.picture_size} pixels",
        "rows": f"{data.samples:,} of '{data.split}', SHA-256 of names, captions and order {data.rows_hash}; listed in rows.jsonl",
        "seeds": seeds_told(card),
        **{f"measured by {net.name}": net_told(net) for net in (card.features, *card.nets)},
        "machine": str(machine),
        "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
    }
    if card.speed is not None:
        facts["speed"] = f"{card.speed.pictures_per_second:.2f} a second in batches of {card.speed.batch_size}"
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    return [*lines, "", "```bash", f"tonggan evaluate --repeat {shlex.quote('card.json')}", "```"] if card.request else lines
