import resource
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tonggan.feedback.votes import VoteStore
from tonggan.serving.arena import build_app
from tonggan.serving.contest import Contest


@pytest.fixture
def votes_url(tmp_path: Path) -> str:
    """A file: the disk of a PostgreSQL server is not this process's to fill."""
    return f"sqlite:///{tmp_path / 'votes.sqlite'}"


def test_a_full_disk_loses_no_vote_that_was_answered(votes_url: str, store: VoteStore, contest: Contest, tmp_path: Path) -> None:
    contest.prepare()
    browser = TestClient(build_app(contest, store))
    browser.get("/")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = max(file.stat().st_size for file in tmp_path.glob("votes.sqlite*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written + 3 * 4096, limits[1]))  # room for a page or two, which stands for a full disk
    try:
        answers = []
        for _ in range(14):
            ticket = browser.get("/next").json()["ticket"]
            answers.append(browser.post("/vote", json={"ticket": ticket, "choice": "left", "comment": "x" * 1000}))
            if answers[-1].status_code != 200:
                break
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert answers[-1].status_code == 503
    assert "cannot be stored now" in answers[-1].json()["detail"]
    assert len(store.ballots()["text->image"]) == len(answers) - 1
    assert browser.post("/vote", json={"ticket": ticket, "choice": "left"}).json() == {"new": True}
    assert len(store.ballots()["text->image"]) == len(answers)
