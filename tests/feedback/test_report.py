import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tonggan.errors import UserError
from tonggan.feedback.report import plot, report
from tonggan.feedback.tables import Choice, Output, Vote
from tonggan.feedback.votes import VoteStore

PROMPTS = 20


@pytest.fixture
def judged(tmp_path: Path) -> VoteStore:
    """Two voters who saw the same: A wins three of four against B; a third who always says "first", on checks, too."""
    store = VoteStore(f"sqlite:///{tmp_path / 'votes.sqlite'}")
    names = [f"{model}{prompt:02d}" for model in "ab" for prompt in range(PROMPTS)]
    store.register([Output(id=name, arrow="text->text", prompt=f"prompt {name[1:]}", model=name[0].upper(), content=name) for name in names])
    for voter in ("one", "two", "careless"):
        for prompt in range(PROMPTS):
            choice = Choice.FIRST if prompt % 4 or voter == "careless" else Choice.SECOND
            store.vote(Vote(voter=voter, first=f"a{prompt:02d}", second=f"b{prompt:02d}", choice=choice))
        check = Choice.FIRST if voter == "careless" else Choice.TIE
        store.vote(Vote(voter=voter, first="a00", second="a00", choice=check))
    store.rate("one", "a00", 4)
    store.rate("two", "a00", 2)
    store.rate("careless", "b00", 5)
    return store


def test_what_the_report_says(judged: VoteStore) -> None:
    found = report(judged)[0]
    assert (found.votes, found.voters, found.prompts, found.left_out) == (40, 2, 20, 1)
    assert [standing.model for standing in found.ranking.standings] == ["A", "B"]
    assert found.ranking.duels[0].share.value == 0.75
    assert (found.agreement.pairs, found.agreement.alpha, found.agreement.share) == (20, 1.0, 1.0)
    assert {model: (each.ratings, each.mean) for model, each in found.stars.items()} == {"A": (2, 3.0)}
    assert json.loads(json.dumps(found.as_json()))["ranking"]["duels"][0]["wins"] == 30


def test_everyone_counts_on_request(judged: VoteStore) -> None:
    found = report(judged, everyone=True)[0]
    assert (found.votes, found.voters, found.left_out) == (60, 3, 0)
    assert found.ranking.duels[0].share.value == pytest.approx(50 / 60)
    # On 5 of 20 pairs one of three disagrees: a third of the couples say the same there, all of them elsewhere.
    assert found.agreement.share == pytest.approx((15 + 5 / 3) / 20)
    # Krippendorff's 1 - observed / expected by hand: 5 pairs give 2 unlike coincidences each, of 60 values 50 are "first" and 10 "second".
    assert found.agreement.alpha == pytest.approx(1 - 5 * 2 / (2 * 50 * 10 / 59))


def test_tables_and_plot(judged: VoteStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(judged)[0]
    found.print(Console(width=200))
    told = capsys.readouterr().out
    for words in (
        "40 votes on 20 prompts; voters: 2; left out",
        "75 % of 40",
        "25 % of 40",
        "A against B: 30 won, 10 lost",
        "told apart",
        "3.0",
        "alpha 1.00",
    ):
        assert words in told
    plot(found, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 1000
    plot(found, tmp_path / "plot.svg")
    assert "</svg>" in (tmp_path / "plot.svg").read_text()
    assert "fewer than 30 prompts (20 here)" in told
    with pytest.raises(UserError, match=r"plots are written as \.png"):
        plot(found, tmp_path / "plot.gif")


def test_comments_are_told(judged: VoteStore) -> None:
    for place, text in enumerate(["neither has [bold] eyes", *(f"number {i}" for i in range(10))]):
        judged.vote(Vote(voter="talker", first=f"a{place:02d}", second=f"b{place:02d}", choice=Choice.BAD if place else Choice.SECOND, comment=text))
    found = report(judged)[0]
    assert (len(found.comments), found.comments[0].chosen, found.comments[1].chosen) == (11, "B", "bad")
    console = Console(width=200, record=True, quiet=False, file=io.StringIO())
    found.print(console)
    told = console.export_text()
    assert "prompt 10 (A | B, chosen: bad): number 9" in told
    assert "eyes" not in told  # the eleventh from the end
    assert "the newest 10 of 11 comments" in told
    assert found.as_json()["comments"][0]["text"] == "neither has [bold] eyes"


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no vote to report"):
        report(VoteStore(f"sqlite:///{tmp_path / 'votes.sqlite'}"))
