"""Cards side by side, as tables in Markdown: in what they were made differently, their figures, and the differences that are real."""

from collections.abc import Sequence
from dataclasses import replace

from tonggan.errors import UserError
from tonggan.evaluation.card import Card, Column, Figure, differences
from tonggan.evaluation.card_text import title, told
from tonggan.evaluation.circumstances import circumstances, differing
from tonggan.evaluation.kinds import FIGURES, TRUTH
from tonggan.evaluation.paired import Difference, Rows, difference, same_rows

ENOUGH_ROWS = 30
"""Rows from which an interval can be believed: of fewer, a bootstrap's is far too narrow, and one lucky row decides."""


def compare(cards: Sequence[Card], *, names: Sequence[str] = (), rows: Sequence[Rows | None] = ()) -> str:
    """Return a table of figures: a row a figure, a column a card, then the floors of the first card.

    Above it stands in what the cards were made differently, below it the differences, and what may not be compared. A figure is marked `+` or `-` where it
    is better or worse than the first card's and the 95 % interval of the difference leaves zero out, `*` where it differs and neither is better; where the
    ground truths' value is best, the nearer one to it is better. A card of other rows, data or networks gets no mark, nor does one of fewer than
    `ENOUGH_ROWS` rows. The difference is bootstrapped over the rows, the same on both sides, where `rows` has those of both cards and the figure is a mean
    over rows; else both intervals are put together. Raises `UserError` for fewer than two cards or cards of different arrows.
    """
    if len(cards) < 2:
        raise UserError("give two cards or more: one alone has nothing to be compared with.")
    if len({card.arrow for card in cards}) > 1:
        raise UserError(f"the cards are of different arrows ({', '.join(sorted({card.arrow for card in cards}))}): they have no figure in common.")
    titles = [names[index] if index < len(names) else card.model.name for index, card in enumerate(cards)]
    columns = [Column(each, "", card.figures) for each, card in zip(titles, cards, strict=True)]
    floors = list(cards[0].columns)
    found = [{}, *(_differences(cards, index, rows) for index in range(1, len(cards)))]
    lines = _told_circumstances(cards, titles)
    lines += ["| | " + " | ".join(column.name for column in [*columns, *floors]) + " |", "|---" * (len(columns) + len(floors) + 1) + "|"]
    for figure in _all_figures(cards):
        cells = [_cell(column, figure, apart.get(figure.key)) for column, apart in zip(columns, found, strict=True)]
        cells += [_cell(column, figure, None) for column in floors]
        lines.append(f"| {title(figure)} | " + " | ".join(cells) + " |")
    lines += ["", *_note(cards[0], titles[0]), *_told_differences(cards, titles, found)]
    for name, card in zip(titles[1:], cards[1:], strict=True):
        if others := differences(cards[0], card):
            lines.append(f"{name} differs in {', '.join(others)}: not comparable.")
    return "\n".join(lines) + "\n"


def _told_circumstances(cards: Sequence[Card], titles: Sequence[str]) -> list[str]:
    """Return a table of all in which the cards were made differently, empty where they were made alike."""
    found = differing(cards, circumstances)
    if not found:
        return []
    head = ["| made differently | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    return [*head, *(f"| {name} | " + " | ".join(values) + " |" for name, values in found.items()), ""]


def _all_figures(cards: Sequence[Card]) -> list[Figure]:
    """Return the figures of all cards, each once, the first card's first."""
    found: dict[str, Figure] = {}
    for figure in (figure for card in cards for figure in card.figures):
        found.setdefault(figure.key, figure)
    return list(found.values())


def _note(card: Card, first: str) -> list[str]:
    data = card.data
    rows = f"{data.samples} rows of `{data.split}`{f' in `{data.language}`' if data.language else ''}, 95 % intervals"
    if data.samples < ENOUGH_ROWS:
        return [f"{rows}. So few rows decide nothing: no difference is called real. Evaluate {ENOUGH_ROWS} rows or more.", ""]
    marks = f"`+`/`-`: better or worse than {first}, `*`: other than {first}, where the interval of the difference leaves zero out"
    return [f"{rows}; {marks}. Only rows are resampled: the spread of training (other seeds) is not in these intervals.", ""]


def _differences(cards: Sequence[Card], index: int, rows: Sequence[Rows | None]) -> dict[str, Difference]:
    first, other = cards[0], cards[index]
    if differences(first, other):
        return {}
    theirs = {figure.key: figure for figure in other.figures}
    both = (rows[0], rows[index]) if len(rows) > index else (None, None)
    found = {}
    for figure in first.figures:
        if figure.key not in theirs:
            continue
        apart = difference(figure, theirs[figure.key], rows=both, same_rows=same_rows(first, other), truth=_truth(first, figure))
        if apart is not None:
            found[figure.key] = apart if first.data.samples >= ENOUGH_ROWS else replace(apart, decided=False)
    return found


def _truth(card: Card, figure: Figure) -> float | None:
    """Return the ground truths' own value, where that is what is best of a figure."""
    if FIGURES[figure.name].better != "truth":
        return None
    return next((each.value for column in card.columns if column.name == TRUTH for each in column.figures if each.key == figure.key), None)


def _told_differences(cards: Sequence[Card], titles: Sequence[str], found: Sequence[dict[str, Difference]]) -> list[str]:
    """Return a second table: each card minus the first one."""
    if not any(found):
        return []
    head = ["| difference | " + " | ".join(f"{name} - {titles[0]}" for name in titles[1:]) + " |", "|---" * len(titles) + "|"]
    lines = []
    for figure in cards[0].figures:
        cells = [_apart(figure, each[figure.key]) if figure.key in each else "" for each in found[1:]]
        if any(cells):
            lines.append(f"| {title(figure)} | " + " | ".join(cells) + " |")
    paired = any(apart.paired for each in found for apart in each.values())
    note = (
        "`p`: paired, by a bootstrap over the same rows; the others by both intervals, which is stricter." if paired else "By the intervals of both."
    )
    return [*head, *lines, "", note]


def _apart(figure: Figure, apart: Difference) -> str:
    interval = apart.interval
    text = told(Figure.of(figure.name, interval, figure.samples), FIGURES[figure.name])
    return text + (" p" if apart.paired else "") + (" real" if apart.real else "")


def _cell(column: Column, first: Figure, apart: Difference | None) -> str:
    figure = next((each for each in column.figures if each.key == first.key), None)
    if figure is None:
        return ""
    kind = FIGURES[figure.name]
    if apart is None or not apart.real:
        return told(figure, kind)
    return told(figure, kind) + _mark(kind.better, apart)


def _mark(better: str, apart: Difference) -> str:
    """Return how a real difference is marked."""
    if better == "truth":
        farther = apart.farther
        return " *" if farther is None or farther.low <= 0 <= farther.high else " +" if farther.high < 0 else " -"
    return {"higher": " +" if apart.interval.value > 0 else " -", "lower": " +" if apart.interval.value < 0 else " -"}.get(better, " *")
