"""The report of votes: who wins, how surely, whether voters agree, how many more votes are needed; as a table, as JSON, as a plot."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tonggan.errors import UserError
from tonggan.evaluation.intervals import Interval, mean_interval
from tonggan.feedback.agreement import Agreement, agreement, inattentive
from tonggan.feedback.ranking import Comparison, Duel, Ranking, rank
from tonggan.feedback.votes import Ballot, Stars, VoteStore, model_names
from tonggan.files import replacing

MINUS = "−"


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
    stars: dict[str, Interval]
    """Mean stars by model, with its interval over the ratings."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def print(self, console: Console) -> None:
        """Print the report as tables."""
        prompts = f"{self.votes} votes of {self.voters} voters on {self.prompts} prompts"
        without = f"; {self.left_out} more failed most of their attention checks and are left out" if self.left_out else ""
        console.print(f"{self.arrow}: {prompts}{without}")
        console.print(self._standings(), self._duels())
        console.print(self._agreement())

    def _standings(self) -> Table:
        table = Table("model", "votes", "wins", "strength (Elo)", "95 %", *(["stars"] if self.stars else []))
        for each in self.ranking.standings:
            stars = self.stars.get(each.model)
            told = [] if not self.stars else ["–" if stars is None else f"{stars.value:.2f} ({stars.low:.2f} to {stars.high:.2f})"]
            strength = each.strength
            span = f"{_signed(strength.low)} to {_signed(strength.high)}"
            table.add_row(each.model, str(each.votes), f"{100 * each.share:.0f} %", _signed(strength.value), span, *told)
        return table

    def _duels(self) -> Table:
        table = Table("", "won", "lost", "tie", "both bad", "share (95 %)", "told apart", "more votes")
        for duel in self.ranking.duels:
            share = f"{100 * duel.share.value:.0f} % ({100 * duel.share.low:.0f} to {100 * duel.share.high:.0f})"
            counts = map(str, (duel.wins, duel.losses, duel.ties, duel.bad))
            table.add_row(f"{duel.first} : {duel.second}", *counts, share, "yes" if duel.told_apart else "no", more_votes(duel))
        return table

    def _agreement(self) -> str:
        found = self.agreement
        if found.share is None:
            return "agreement: no pair was judged by two voters."
        alpha = "not defined, for all said the same of everything" if found.alpha is None else f"{found.alpha:.2f}"
        return f"agreement on {found.pairs} pairs: two voters say the same in {100 * found.share:.0f} %; Krippendorff's alpha {alpha}"


def _signed(points: float) -> str:
    return f"{round(points):+d}".replace("-", MINUS)


def more_votes(duel: Duel) -> str:
    """Return how many more votes would tell two models apart, in words."""
    if duel.told_apart:
        return "none"
    if duel.votes_needed is None:
        return "no difference is seen"
    missing = duel.votes_needed - duel.votes
    return f"about {missing:,}" if missing > 0 else "some; prompts differ much"


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
        stars={model: mean_interval(values) for model, values in stars.items()},
    )


def plot(found: Report, path: Path) -> None:
    """Draw strengths with their intervals beside the matrix of wins (PNG, SVG or PDF, by the ending); raises `UserError` for another ending."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("a plot of votes needs matplotlib: pip install 'tonggan[arena]'.") from error
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"{path}: plots are written as .png, .svg or .pdf.")
    count = len(found.ranking.standings)
    figure = Figure(figsize=(10, 1.8 + 0.6 * count), layout="constrained")
    strengths, wins = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_strengths(strengths, found)
    _draw_wins(wins, found)
    figure.suptitle(f"{found.arrow}: {found.votes} votes, {found.voters} voters, {found.prompts} prompts")
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
