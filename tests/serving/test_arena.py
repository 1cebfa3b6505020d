from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from tonggan.errors import UserError
from tonggan.feedback.tables import Choice, Vote
from tonggan.feedback.votes import VoteStore
from tonggan.serving.arena import build_app, listen
from tonggan.serving.contest import Contest


@pytest.fixture
def browser(contest: Contest, store: VoteStore) -> Iterator[TestClient]:
    """A browser that has opened the page; outputs are made on demand."""
    with TestClient(build_app(contest, store), raise_server_exceptions=False) as client:
        assert client.get("/").status_code == 200
        yield client


def ballots(store: VoteStore) -> list[Any]:
    return store.ballots().get("text->image", [])


def test_a_voter_goes_through_all_pairs_and_meets_none_twice(browser: TestClient, store: VoteStore, contest: Contest) -> None:
    seen = set()
    for done in range(14):
        asked = browser.get("/next").json()
        assert (asked["done"], asked["total"]) == (done, 14)
        assert asked["left"]["mime"] == "image/png"
        assert browser.get(asked["left"]["url"]).headers["content-type"] == "image/png"
        seen.add((asked["prompt"]["text"], asked["left"]["url"], asked["right"]["url"]))
        assert browser.post("/vote", json={"ticket": asked["ticket"], "choice": "tie"}).json() == {"new": True}
    assert browser.get("/next").json() == {"done": 14, "total": 14}
    assert len(seen) == 14
    stored = ballots(store)
    assert len(stored) == 14
    assert sum(ballot.is_check for ballot in stored) == 2
    assert {(ballot.first.id, ballot.second.id) for ballot in stored if not ballot.is_check} == {(min(pair), max(pair)) for pair in contest.pairs}


def test_the_side_is_led_back_to_the_output(browser: TestClient, store: VoteStore) -> None:
    chosen = []
    for place in range(14):
        asked = browser.get("/next").json()
        side = ("left", "right")[place % 2]
        chosen.append(asked[side]["url"])
        browser.post("/vote", json={"ticket": asked["ticket"], "choice": side})
    for url, ballot in zip(chosen, ballots(store), strict=True):
        assert Path(url).stem == (ballot.first if ballot.choice == Choice.FIRST else ballot.second).id


def test_the_page_tells_no_model(browser: TestClient) -> None:
    asked = browser.get("/next")
    assert "sketch" not in asked.text
    page = browser.get("/")
    assert "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_double_click_is_one_vote_and_a_vote_can_be_taken_back(browser: TestClient, store: VoteStore) -> None:
    ticket = browser.get("/next").json()["ticket"]
    answers = [browser.post("/vote", json={"ticket": ticket, "choice": "left"}) for _ in range(2)]
    assert [(each.status_code, each.json()["new"]) for each in answers] == [(200, True), (200, False)]
    assert browser.post("/vote", json={"ticket": ticket, "choice": "right"}).status_code == 409
    assert len(ballots(store)) == 1
    assert browser.post("/undo").json() == {"undone": True}
    assert browser.get("/next").json()["ticket"] == ticket
    assert browser.post("/undo").json() == {"undone": False}
    assert browser.post("/vote", json={"ticket": ticket, "choice": "right"}).status_code == 200


def test_a_voter_is_known_again_after_a_restart(browser: TestClient, store: VoteStore, contest: Contest) -> None:
    browser.post("/vote", json={"ticket": browser.get("/next").json()["ticket"], "choice": "left"})
    before = browser.get("/next").json()
    with TestClient(build_app(contest, store), cookies=browser.cookies) as again:
        assert again.get("/next").json() == before
    with TestClient(build_app(contest, store)) as other:
        other.get("/")
        assert other.get("/next").json()["done"] == 0


def test_stars_and_comments(browser: TestClient, store: VoteStore) -> None:
    asked = browser.get("/next").json()
    for stars in (2, 5):
        assert browser.post("/rate", json={"ticket": asked["ticket"], "side": "right", "stars": stars}).json() == {"saved": True}
    rating = store.ratings()["text->image"][0]
    assert (rating.stars, rating.output.id) == (5, Path(asked["right"]["url"]).stem)
    body = b'{"ticket": "%s", "choice": "bad", "comment": "\\u597d <b>\\u0000\\ud83d"}' % asked["ticket"].encode()
    assert browser.post("/vote", content=body, headers={"Content-Type": "application/json"}).status_code == 200
    with store.sessions() as session:
        assert session.scalars(select(Vote.comment)).all() == ["好 <b>?"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"rubbish", 422),
        (b"\xff\xfe\x00", 400),
        (b"[" * 15_000, 400),
        (b'{"ticket": "0-00", "choice": "left"}', 400),
        (b'{"ticket": "\\ud800", "choice": "left"}', 422),
        (b'{"ticket": 5, "choice": "left"}', 422),
        (b'{"ticket": "0-00", "choice": "middle"}', 422),
        (b'{"ticket": "0-00", "choice": "left", "voter": "other"}', 422),
        (b'{"ticket": "0-00", "choice": "left", "comment": "' + b"x" * 2001 + b'"}', 422),
        (b'{"ticket": "0-00", "choice": "left", "comment": "' + b"x" * 10_000_000 + b'"}', 413),
    ],
)
def test_rubbish_is_refused_and_stores_nothing(browser: TestClient, store: VoteStore, body: bytes, status: int) -> None:
    answer = browser.post("/vote", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert ballots(store) == []
    assert browser.get("/next").status_code == 200


def test_who_has_no_cookie_or_the_ticket_of_another(browser: TestClient, store: VoteStore, contest: Contest) -> None:
    ticket = browser.get("/next").json()["ticket"]
    with TestClient(build_app(contest, store)) as other:
        assert other.get("/next").status_code == 400
        other.get("/")
        assert other.post("/vote", json={"ticket": ticket, "choice": "left"}).status_code == 400
        assert other.post("/rate", json={"ticket": ticket, "side": "left", "stars": 5}).status_code == 400
    assert ballots(store) == []


@pytest.mark.parametrize("name", ["../secret", "%2e%2e/secret", "secret", "..%2fsecret", "x.png", "%00", "outputs"])
def test_nothing_else_of_the_folder_is_served(browser: TestClient, name: str) -> None:
    assert browser.get(f"/media/{name}").status_code == 404


def test_an_address_that_is_taken_or_another_machine_s() -> None:
    with listen("127.0.0.1", 0) as waiting, pytest.raises(UserError, match="already in use"):
        listen("127.0.0.1", waiting.getsockname()[1])
    with pytest.raises(UserError, match="Choose another --port or --host"):
        listen("192.0.2.1", 8000)
