"""Cards side by side, as a table in Markdown, with the differences that are real."""

from collections.abc import Sequence

from tonggan.errors import UserError
from tonggan.evaluation.card import FIGURES, Card, Column, Figure, differences


def compare(cards: Sequence[Card], *, names: Sequence[str] = ()) -> str:
    """Return a table: a row a figure, a column a card, then the floors of the first card; behind it what may not be compared and how to read it.

    A figure is marked `+` or `-` where it is better or worse than the first card's beyond both 95 % intervals: with the same captions on both sides that
    is stricter than a test at 5 %. Raises `UserError` for fewer than two cards or cards of different arrows.
    """
    if len(cards) < 2:
        raise UserError("give two cards or more: one alone has nothing to be compared with.")
    if len({card.arrow for card in cards}) > 1:
        raise UserError(f"the cards are of different arrows ({', '.join(sorted({card.arrow for card in cards}))}): they have no figure in common.")
    titles = [names[index] if index < len(names) else card.model.name for index, card in enumerate(cards)]
    columns = [Column(title, "", card.figures) for title, card in zip(titles, cards, strict=True)]
    floors = list(cards[0].columns)
    shown = [figure.name for figure in cards[0].figures]
    first = {figure.name: figure for figure in cards[0].figures}
    lines = ["| | " + " | ".join(column.name for column in [*columns, *floors]) + " |", "|---" * (len(columns) + len(floors) + 1) + "|"]
    for name in shown:
        cells = [_cell(column, name, against=None if index == 0 else first[name]) for index, column in enumerate(columns)]
        cells += [_cell(column, name, against=None) for column in floors]
        lines.append(f"| {_title(name)} | " + " | ".join(cells) + " |")
    data = cards[0].data
    lines += [
        "",
        f"{data.samples} captions of `{data.split}` in `{data.language}`, 95 % intervals; `+`/`-`: better or worse than {titles[0]} beyond both intervals.",
    ]
    for title, card in zip(titles[1:], cards[1:], strict=True):
        if found := differences(cards[0], card):
            lines.append(f"{title} differs in {', '.join(found)}: not comparable.")
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    kind = FIGURES[name]
    return kind.label + (f" ({kind.unit})" if kind.unit else "") + (" ↑" if kind.better == "higher" else " ↓" if kind.better == "lower" else "")


def _cell(column: Column, name: str, *, against: Figure | None) -> str:
    figure = next((each for each in column.figures if each.name == name), None)
    if figure is None:
        return ""
    kind = FIGURES[name]

    def told(value: float) -> str:
        return format(value * kind.factor, f".{kind.digits}f")

    interval = f" [{told(figure.low)}, {told(figure.high)}]" if figure.low is not None and figure.high is not None else ""
    return f"{told(figure.value)}{interval}{_mark(figure, against, better=kind.better)}"


def _mark(figure: Figure, against: Figure | None, *, better: str) -> str:
    """Return ` +` or ` -` where two intervals do not meet and one end is better."""
    if against is None or not better or None in (figure.low, figure.high, against.low, against.high):
        return ""
    assert figure.low is not None
    assert figure.high is not None
    assert against.low is not None
    assert against.high is not None
    if figure.low <= against.high and against.low <= figure.high:
        return ""
    return " +" if (figure.value > against.value) == (better == "higher") else " -"
