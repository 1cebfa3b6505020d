"""Figures of cards as tables for a paper: Markdown, CSV, LaTeX or JSON, of single cards or as mean and deviation over runs that differ in seed alone."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev

from tonggan.errors import UserError, nearest
from tonggan.evaluation.card import Card, Figure, differences
from tonggan.evaluation.card_text import title
from tonggan.evaluation.kinds import FIGURES

FORMATS = ("markdown", "csv", "latex", "json")
OWN = ("seed", "samples", "commit")
"""What of a training may differ within a group: the seed, and with it which average was the best; code that changed is for the reader to judge."""
IN_LATEX = {
    "\\": r"\textbackslash{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "×10⁻³": r"$\times 10^{-3}$",
    "±": r"$\pm$",
} | {sign: f"\\{sign}" for sign in "%_&#${}"}


@dataclass(frozen=True)
class Cell:
    """A figure of a system, unscaled: of one card, with the interval over its rows, or the mean over `runs` cards with their standard deviation."""

    system: str
    figure: str
    value: float
    low: float | None
    high: float | None
    deviation: float | None
    runs: int
    samples: int


def chosen(cards: Sequence[Card], figures: Sequence[str]) -> list[Card]:
    """Return the cards with the figures that are named alone (by name, of all networks, or by key), in that order; all where none is named.

    Raises `UserError` for a name that no card has a figure of.
    """
    if not figures:
        return list(cards)
    known = dict.fromkeys(name for card in cards for figure in card.figures for name in (figure.key, figure.name))
    if unknown := next((name for name in figures if name not in known), None):
        raise UserError(f"no card has a figure '{unknown}'.{nearest(unknown, known)}")
    return [replace(card, figures=tuple(each for name in figures for each in card.figures if name in (each.key, each.name))) for card in cards]


def groups_by_seed(cards: Sequence[Card]) -> dict[str, list[Card]]:
    """Return cards that were trained by the same recipe and data, and evaluated alike, together, by the name of the recipe.

    Raises `UserError` for a card that does not say how its model was trained.
    """
    found: dict[str, list[Card]] = {}
    for card in cards:
        if not card.model.trained:
            raise UserError(f"the card of {card.model.name} does not say how it was trained. Evaluate again, or name groups: A=CARD,CARD.")
        alike = {name: value for name, value in card.model.trained.items() if name not in OWN}
        found.setdefault(json.dumps([alike, card.model.settings], sort_keys=True), []).append(card)
    names = [group[0].model.trained["recipe"] for group in found.values()]
    told = [name if names.count(name) == 1 else f"{name} ({names[:place].count(name) + 1})" for place, name in enumerate(names)]
    return dict(zip(told, found.values(), strict=True))


def cells_of_groups(groups: Mapping[str, Sequence[Card]]) -> list[Cell]:
    """Return each figure's mean and standard deviation (of a sample, n - 1) over the cards of each group; figures that a card of a group lacks are left out.

    Raises `UserError` where cards were evaluated on other rows or with other networks, where a group has the same weights twice, and where no group has two
    cards.
    """
    first = next(iter(groups.values()))[0]
    found = []
    for name, cards in groups.items():
        if others := next((apart for card in cards if (apart := differences(first, card))), None):
            raise UserError(f"a card of {name} differs in {', '.join(others)}: a mean over other rows or networks says nothing. Leave it out.")
        if len({card.model.weights_hash for card in cards}) < len(cards):
            raise UserError(f"two cards of {name} are of the same weights: they are no two runs. Leave one out.")
        for figure in cards[0].figures:
            values = [each.value for card in cards for each in card.figures if each.key == figure.key]
            if len(values) == len(cards):
                deviation = stdev(values) if len(values) > 1 else None
                found.append(Cell(name, figure.key, fmean(values), None, None, deviation, len(values), figure.samples))
    if all(cell.runs == 1 for cell in found):
        raise UserError("no two cards differ in training seed alone: there is nothing to take a deviation over. Name groups: A=CARD,CARD.")
    return found


def cells_of(cards: Sequence[Card], names: Sequence[str]) -> list[Cell]:
    """Return each figure of each card."""
    return [
        Cell(name, figure.key, figure.value, figure.low, figure.high, None, 1, figure.samples)
        for name, card in zip(names, cards, strict=True)
        for figure in card.figures
    ]


def table(cells: Sequence[Cell], form: str) -> str:
    """Return cells as a table: a row a system in `latex` and `markdown`, a row a cell (values unscaled) in `csv` and `json`.

    Raises `UserError` for another form.
    """
    if form not in FORMATS:
        raise UserError(f"'{form}' is no format.{nearest(form, FORMATS)}")
    if form == "json":
        return json.dumps([asdict(cell) for cell in cells], indent=1, ensure_ascii=False) + "\n"
    if form == "csv":
        written = io.StringIO()
        rows = csv.DictWriter(written, list(asdict(cells[0])), lineterminator="\n")
        rows.writeheader()
        rows.writerows(asdict(cell) for cell in cells)
        return written.getvalue()
    figures = {cell.figure: _head(cell) for cell in cells}
    systems = {cell.system: {each.figure: each for each in cells if each.system == cell.system} for cell in cells}
    head = ["", *figures.values()]
    rows_of = [[name, *(_told(own[key]) if key in own else "" for key in figures)] for name, own in systems.items()]
    note = _note(cells)
    return _latex(head, rows_of, note) if form == "latex" else _markdown(head, rows_of, note)


def _figure(cell: Cell) -> Figure:
    name, _, net = cell.figure.partition(" @ ")
    return Figure(name, cell.value, cell.low, cell.high, cell.samples, net=net)


def _head(cell: Cell) -> str:
    return title(_figure(cell))


def _told(cell: Cell) -> str:
    """Return a value in the unit that it is shown in, with its deviation or its interval."""
    kind = FIGURES[_figure(cell).name]

    def number(value: float) -> str:
        return format(round(value * kind.factor, kind.digits) + 0.0, f".{kind.digits}f")

    if cell.deviation is not None:
        return f"{number(cell.value)} ± {number(cell.deviation)}"
    return number(cell.value) + (f" [{number(cell.low)}, {number(cell.high)}]" if cell.low is not None and cell.high is not None else "")


def _note(cells: Sequence[Cell]) -> str:
    runs = {cell.system: cell.runs for cell in cells}
    samples = " or ".join(f"{count:,}" for count in sorted({cell.samples for cell in cells}))
    if max(runs.values()) == 1:
        return f"95 % intervals over {samples} rows; the spread of training (seeds) is not in them."
    told = ", ".join(f"{name} {count}" for name, count in runs.items())
    return f"Mean ± standard deviation (n - 1) over runs that differ in training seed; runs: {told}; {samples} rows each."


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(row) + " |" for row in rows), "", note]
    return "\n".join(lines) + "\n"


def _latex(head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    """Return a `tabular` in the manner of booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_escaped, cells)) + r" \\"

    body = [line(head), r"\midrule", *map(line, rows)]
    return "\n".join([f"% {note}", rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    for sign, written in IN_LATEX.items():
        if len(sign) > 1:
            text = text.replace(sign, f"\0{written}\0")
    parts = text.split("\0")
    # Every second part is LaTeX already.
    return "".join(part if number % 2 else "".join(IN_LATEX.get(sign, sign) for sign in part) for number, part in enumerate(parts))
