"""The report of votes: who wins, how surely, whether voters agree, how many more votes are needed; as a table, as JSON, as a plot."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tonggan.errors import UserError
from tonggan.evaluation.compare import ENOUGH_ROWS
from tonggan.evaluation.intervals import Interval, mean_interval
from tonggan.feedback.agreement import Agreement, agreement, inattentive
from tonggan.feedback.ranking import Comparison, Duel, Ranking, rank
from tonggan.feedback.tables import Choice
from tonggan.feedback.votes import Ballot, Stars, VoteStore, model_names
from tonggan.files import replacing

SHOWN_COMMENTS = 10


@dataclass(frozen=True)
class MeanStars:
    """Mean stars of a model; the interval is over the ratings, None where there is one alone."""

    ratings: int
    mean: float
    interval: Interval | None

    def told(self) -> str:
        """Return the mean in words."""
        span = "" if self.interval is None else f" ({self.interval.low:.1f} to {self.interval.high:.1f})"
        return f"{self.mean:.1f}{span} of {self.ratings}"


@dataclass(frozen=True)
class Comment:
    """What a voter wrote beside a vote: on which prompt, what they chose (`tie` and `bad` as they are, else the model's name), and between whom."""

    prompt: str
    chosen: str
    models: tuple[str, str]
    text: str


@dataclass(frozen=True)
class Report:
    """What the votes on one arrow say."""

    arrow: str
    votes: int
    voters: int
    prompts: int
    left_out: int
    """Voters whose votes are not counted, since they failed most of their attention checks."""
    ranking: Ranking
    agreement: Agreement
    stars: dict[str, MeanStars]
    """By model, of those that were rated."""
    comments: tuple[Comment, ...] = ()
    """The newest last."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def print(self, console: Console) -> None:
        """Print the report as tables."""
        without = f"; left out, since they failed most of their attention checks: {self.left_out}" if self.left_out else ""
        console.print(f"{self.arrow}: {self.votes} votes on {self.prompts} prompts; voters: {self.voters}{without}", soft_wrap=True)
        console.print(self._standings(), self._matrix())
        if self.prompts < ENOUGH_ROWS:
            console.print(f"Of fewer than {ENOUGH_ROWS} prompts ({self.prompts} here) the intervals of strengths are too narrow.", soft_wrap=True)
        for duel in self.ranking.duels:
            console.print(told(duel), soft_wrap=True)
        console.print(self._agreement(), soft_wrap=True)
        for comment in self.comments[-SHOWN_COMMENTS:]:
            line = f"{comment.prompt} ({comment.models[0]} | {comment.models[1]}, chosen: {comment.chosen}): {comment.text}"
            console.print(line, soft_wrap=True, markup=False, highlight=False)
        if len(self.comments) > SHOWN_COMMENTS:
            console.print(f"(the newest {SHOWN_COMMENTS} of {len(self.comments)} comments; all of them with --json)")

    def _standings(self) -> Table:
        table = Table("model", "votes", "wins", "strength (Elo)", "95 %", *(["stars"] if self.stars else []))
        for each in self.ranking.standings:
            stars = [self.stars[each.model].told() if each.model in self.stars else "–"] if self.stars else []
            span = f"{_signed(each.strength.low)} to {_signed(each.strength.high)}"
            table.add_row(each.model, str(each.votes), f"{100 * each.share:.0f} %", _signed(each.strength.value), span, *stars)
        return table

    def _matrix(self) -> Table:
        names = [each.model for each in self.ranking.standings]
        shares = {(duel.first, duel.second): (duel.share.value, duel.votes) for duel in self.ranking.duels}
        shares |= {(other, one): (1 - share, votes) for (one, other), (share, votes) in shares.items()}
        table = Table("wins against", *names)
        for row in names:
            found = (shares.get((row, column)) for column in names)
            table.add_row(row, *("" if cell is None else f"{100 * cell[0]:.0f} % of {cell[1]}" for cell in found))
        return table

    def _agreement(self) -> str:
        found = self.agreement
        if found.share is None:
            return "agreement: no pair was judged by two voters."
        alpha = "not defined, for all said the same of everything" if found.alpha is None else f"{found.alpha:.2f}"
        return f"agreement on {found.pairs} pairs: two voters say the same in {100 * found.share:.0f} %; Krippendorff's alpha {alpha}"


def _signed(points: float) -> str:
    return f"{round(points):+d}".replace("-", "−")


def told(duel: Duel) -> str:
    """Return a duel in words, and how many more votes would tell the two apart."""
    share = f"{100 * duel.share.value:.0f} % ({100 * duel.share.low:.0f} to {100 * duel.share.high:.0f})"
    counts = f"{duel.wins} won, {duel.losses} lost, {duel.ties} the same, {duel.bad} both bad: {share}"
    missing = None if duel.votes_needed is None else duel.votes_needed - duel.votes
    if duel.told_apart:
        more = "told apart"
    elif missing is None:
        more = "not told apart: no difference is seen"
    else:
        more = f"not told apart: about {missing:,} more votes" if missing > 0 else "not told apart: ask more prompts, these are few or differ much"
    return f"{duel.first} against {duel.second}: {counts}; {more}."


def report(store: VoteStore, *, everyone: bool = False) -> list[Report]:
    """Return a report an arrow; with `everyone` voters who failed their attention checks count, too. Raises `UserError` where nobody has voted."""
    by_arrow, ratings = store.ballots(), store.ratings()
    reports = [_report(arrow, ballots, ratings.get(arrow, []), everyone=everyone) for arrow, ballots in sorted(by_arrow.items())]
    if not any(reports):
        raise UserError("there is no vote to report of that counts. Vote first, or take all voters with --everyone.")
    return [each for each in reports if each is not None]


def _report(arrow: str, ballots: Sequence[Ballot], ratings: Sequence[Stars], *, everyone: bool) -> Report | None:
    excluded = set() if everyone else inattentive(ballots)
    counted = [ballot for ballot in ballots if not ballot.is_check and ballot.voter not in excluded]
    if not counted:
        return None
    shown = [output for ballot in ballots for output in (ballot.first, ballot.second)] + [rating.output for rating in ratings]
    names = model_names(shown)
    comparisons = [
        Comparison(each.first.prompt, names[each.first.model, each.first.weights], names[each.second.model, each.second.weights], each.choice)
        for each in counted
    ]
    stars: dict[str, list[int]] = defaultdict(list)
    for rating in ratings:
        if rating.voter not in excluded:
            stars[names[rating.output.model, rating.output.weights]].append(rating.stars)
    return Report(
        arrow=arrow,
        votes=len(counted),
        voters=len({ballot.voter for ballot in counted}),
        prompts=len({ballot.first.prompt for ballot in counted}),
        left_out=len(excluded),
        ranking=rank(comparisons),
        agreement=agreement(counted),
        stars={model: _mean_stars(values) for model, values in stars.items()},
        comments=tuple(_comment(ballot, names) for ballot in counted if ballot.comment),
    )


def _comment(ballot: Ballot, names: Mapping[tuple[str, str], str]) -> Comment:
    models = names[ballot.first.model, ballot.first.weights], names[ballot.second.model, ballot.second.weights]
    chosen = {Choice.FIRST: models[0], Choice.SECOND: models[1]}.get(ballot.choice, str(ballot.choice))
    return Comment(ballot.first.prompt, chosen, models, ballot.comment)


def _mean_stars(values: Sequence[int]) -> MeanStars:
    return MeanStars(len(values), sum(values) / len(values), mean_interval(values) if len(values) > 1 else None)


def check_plot(path: Path) -> None:
    """Raise `UserError` where a plot cannot be written into a file of this ending."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"{path}: plots are written as .png, .svg or .pdf.")


def plot(found: Report, path: Path) -> None:
    """Draw strengths with their intervals beside the matrix of wins (PNG, SVG or PDF, by the ending); raises `UserError` for another ending."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("a plot of votes needs matplotlib: pip install 'tonggan[arena]'.") from error
    check_plot(path)
    count = len(found.ranking.standings)
    figure = Figure(figsize=(10, 1.8 + 0.6 * count), layout="constrained")
    strengths, wins = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_strengths(strengths, found)
    _draw_wins(wins, found)
    figure.suptitle(f"{found.arrow}: {found.votes} votes on {found.prompts} prompts; voters: {found.voters}")
    with replacing(path) as beside:
        figure.savefig(beside, dpi=160, format=path.suffix[1:].lower())


def _draw_strengths(axes: Any, found: Report) -> None:
    standings = found.ranking.standings
    values = [each.strength.value for each in standings]
    below = [each.strength.value - each.strength.low for each in standings]
    above = [each.strength.high - each.strength.value for each in standings]
    axes.axvline(0, color="#9aa0a6", linewidth=1, linestyle="--")
    axes.errorbar(values, range(len(standings)), xerr=[below, above], fmt="o", color="#3451b2", capsize=4, markersize=7)
    axes.set_yticks(range(len(standings)), [each.model for each in standings])
    axes.set_ylim(len(standings) - 0.5, -0.5)
    axes.set_xlabel("strength, Elo points around the mean (95 % over prompts)")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_wins(axes: Any, found: Report) -> None:
    """Draw how often the row won against the column, a tie being half a win."""
    place = {each.model: index for index, each in enumerate(found.ranking.standings)}
    names = list(place)
    shares = [[float("nan")] * len(names) for _ in names]
    for duel in found.ranking.duels:
        one, other, share = place[duel.first], place[duel.second], duel.share.value
        shares[one][other], shares[other][one] = share, 1 - share
        for row, column, value in ((one, other, share), (other, one, 1 - share)):
            text = f"{100 * value:.0f} %\nof {duel.votes}"
            axes.text(column, row, text, ha="center", va="center", color="white" if abs(value - 0.5) > 0.3 else "black")
    axes.imshow(shares, vmin=0, vmax=1, cmap="RdBu", aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_title("wins of the row against the column", fontsize="medium")
