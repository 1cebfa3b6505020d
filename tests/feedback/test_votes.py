import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from full_disk import full_disk
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from tonggan.errors import UserError
from tonggan.feedback import votes
from tonggan.feedback.tables import Choice, Output, Vote
from tonggan.feedback.votes import AlreadyVotedError, StoreError, VoteStore, model_names


@pytest.fixture
def filled(store: VoteStore) -> VoteStore:
    """A store with four outputs."""
    store.register(
        [Output(id=name, arrow="text->text", prompt="a red heart", model=name.upper(), weights="", content=f"made by {name}") for name in "abcd"]
    )
    return store


def said(choice: Choice = Choice.FIRST, voter: str = "one", first: str = "a", second: str = "b", comment: str = "") -> Vote:
    return Vote(voter=voter, first=first, second=second, choice=choice, left=second, comment=comment)


def test_a_vote_comes_back_with_what_it_was_about(filled: VoteStore) -> None:
    assert filled.vote(said(Choice.BAD, comment="both are 红心 ❤️"))
    ballot = filled.ballots()["text->text"][0]
    assert (ballot.voter, ballot.choice, ballot.first.content, ballot.second.model) == ("one", Choice.BAD, "made by a", "B")
    assert ballot.comment == "both are 红心 ❤️"
    assert not ballot.is_check
    assert filled.answered("one") == {("a", "b")}
    assert filled.answered("two") == set()


def test_the_same_word_twice_is_one_vote_and_another_word_is_refused(filled: VoteStore) -> None:
    assert filled.vote(said())
    assert not filled.vote(said())
    with pytest.raises(AlreadyVotedError):
        filled.vote(said(Choice.SECOND))
    assert [ballot.choice for ballot in filled.ballots()["text->text"]] == [Choice.FIRST]


def test_a_hundred_clicks_at_once_are_one_vote(filled: VoteStore) -> None:
    with ThreadPoolExecutor(20) as clicks:
        new = list(clicks.map(lambda _: filled.vote(said()), range(100)))
    assert sum(new) == 1
    assert len(filled.ballots()["text->text"]) == 1


def test_many_votes_at_once_meet_those_of_others(filled: VoteStore) -> None:
    def all_of(name: str) -> int:
        return filled.vote_all([said(voter=f"{name}-{i}") for i in range(20)] + [said(voter=f"common-{i}") for i in range(20)])

    with ThreadPoolExecutor(4) as imports:
        new = list(imports.map(all_of, "abcd"))
    assert sum(new) == 100
    assert len(filled.ballots()["text->text"]) == 100
    with pytest.raises(AlreadyVotedError, match="common-3"):
        filled.vote_all([said(voter="late"), said(Choice.SECOND, voter="common-3")])
    assert filled.answered("late") == set()


def test_a_vote_can_be_taken_back(filled: VoteStore) -> None:
    filled.vote(said())
    filled.vote(said(Choice.TIE, first="c", second="d"))
    assert filled.withdraw_last("one")
    assert filled.answered("one") == {("a", "b")}
    assert filled.withdraw_last("one")
    assert not filled.withdraw_last("one")
    assert filled.vote(said(Choice.SECOND))


def test_the_last_stars_count(filled: VoteStore) -> None:
    with ThreadPoolExecutor(8) as clicks:
        list(clicks.map(lambda stars: filled.rate("one", "a", stars), (1, 2, 3, 4) * 4))
    filled.rate("one", "a", 5)
    filled.rate("two", "a", 2)
    assert [(each.voter, each.stars) for each in filled.ratings()["text->text"]] == [("one", 5), ("two", 2)]


def test_an_output_nobody_made_gets_no_vote(filled: VoteStore) -> None:
    with pytest.raises(IntegrityError):
        filled.vote(said(second="z"))
    assert filled.ballots() == {}


def test_outputs_are_registered_once(filled: VoteStore) -> None:
    filled.register([Output(id="a", arrow="text->text", prompt="other", model="other", content="other")])
    filled.vote(said())
    assert filled.ballots()["text->text"][0].first.content == "made by a"


def test_one_name_for_two_weights() -> None:
    outputs = [Output(model=model, weights=weights) for model, weights in (("run", "abcdefgh"), ("run", "12345678"), ("other", "xyz"))]
    assert sorted(model_names(outputs).values()) == ["other", "run (123456)", "run (abcdef)"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("votes", "not a URL"),
        ("mysql://a@b/c", "SQLite or PostgreSQL"),
        ("postgresql://someone:secret@127.0.0.1:1/votes", "cannot be reached"),
        ("sqlite:////proc/nowhere/votes.sqlite", "/proc/nowhere"),
    ],
)
def test_a_store_that_cannot_be_had(url: str, said: str) -> None:
    with pytest.raises((UserError, OSError)) as refused:
        VoteStore(url)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "votes.sqlite").write_text("no database, though long enough to look like one " * 100)
    with pytest.raises(UserError, match="cannot be reached: file is not a database"):
        VoteStore(f"sqlite:///{tmp_path / 'votes.sqlite'}")


def test_more_outputs_than_one_question_takes(store: VoteStore) -> None:
    def outputs(count: int) -> list[Output]:
        return [Output(id=f"{i}", arrow="text->text", prompt="p", model="m", content="c") for i in range(count)]

    store.register(outputs(3))
    store.register(outputs(33_000))  # SQLite takes 32,766 names
    store.vote(said(first="32998", second="32999"))
    assert store.ballots()["text->text"][0].second.id == "32999"


def test_two_arenas_that_make_the_same_outputs_at_once(store: VoteStore, votes_url: str) -> None:
    other = VoteStore(votes_url)
    for turn in range(5):
        together = Barrier(8)

        def register(place: int, turn: int = turn, together: Barrier = together) -> None:
            made = [Output(id=f"{turn}-{i}", arrow="text->text", prompt="p", model="m", content="c") for i in range(100)]
            together.wait()
            (store, other)[place % 2].register(made[:: 1 if place < 4 else -1])

        with ThreadPoolExecutor(8) as arenas:
            list(arenas.map(register, range(8)))
    with other.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Output)) == 500
        assert session.get_one(Output, "4-99").settings == {}
    other.close()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    store = VoteStore(f"sqlite:///{tmp_path / 'votes.sqlite'}")
    outputs = [Output(id=f"{i}", arrow="text->text", prompt="p", model="m", content="c" * 1000) for i in range(300)]
    with (
        full_disk(max(file.stat().st_size for file in tmp_path.iterdir()) + 3 * 4096),
        pytest.raises(StoreError, match=r"votes\.sqlite cannot be stored"),
    ):
        store.register(outputs)
    store.register(outputs)
    store.vote(said(first="0", second="299"))
    store.close()


def test_a_store_that_another_holds_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(votes, "LOCK_SECONDS", 0.1)
    store = VoteStore(f"sqlite:///{tmp_path / 'votes.sqlite'}")
    store.register([Output(id=name, arrow="text->text", prompt="p", model="m", content="c") for name in "ab"])
    other = sqlite3.connect(tmp_path / "votes.sqlite")
    other.execute("BEGIN IMMEDIATE")
    for write in (lambda: store.vote(said()), lambda: store.vote_all([said()]), lambda: store.rate("one", "a", 3)):
        with pytest.raises(StoreError, match="database is locked"):
            write()
    assert store.ballots() == {}
    other.close()
    assert store.vote(said())
    store.close()


def test_a_plain_url_of_postgresql_is_for_the_driver_that_the_extra_brings() -> None:
    assert votes._engine("postgresql://a@b/c").url.drivername == "postgresql+psycopg"
