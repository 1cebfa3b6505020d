"""The real server in a process of its own, with many voters, until it is killed."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
from voters import Voter

from tonggan.feedback.votes import VoteStore


@pytest.fixture
def server(sketchers: tuple[Path, Path], prompts_file: Path, votes_url: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`tonggan arena` as a user starts it, and its port."""
    command = [sys.executable, "-m", "tonggan", "arena", "--models", *map(str, sketchers), "--prompts", str(prompts_file)]
    command += ["--out", str(tmp_path / "arena"), "--votes", votes_url, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    assert "24 outputs made" in process.stdout.readline()
    line = process.stdout.readline()
    assert "vote at http://127.0.0.1:" in line
    yield process, int(line.split("/ (")[0].rpartition(":")[2])
    process.kill()
    process.wait()
    process.stdout.close()


def test_votes_that_were_answered_are_there_after_sigkill(server: tuple[subprocess.Popen[str], int], votes_url: str) -> None:
    process, port = server
    with ThreadPoolExecutor(200) as crowd:
        voters = list(crowd.map(lambda _: Voter(port), range(200)))
        answered = [status for twice in crowd.map(lambda voter: [voter.vote()[0] for _ in range(2)], voters) for status in twice]
    assert answered == [200] * 400

    done: Counter[int] = Counter()

    def vote_until_it_dies(number: int) -> None:
        try:
            while done[number] < 12:
                if voters[number].vote("right")[0] == 200:
                    done[number] += 1
                if done.total() >= 100:
                    process.send_signal(signal.SIGKILL)
        except (OSError, HTTPException):
            return

    with ThreadPoolExecutor(20) as crowd:
        list(crowd.map(vote_until_it_dies, range(20)))
    assert process.wait() == -signal.SIGKILL
    assert done.total() >= 100

    store = VoteStore(votes_url)
    stored = Counter(ballot.voter for ballot in store.ballots()["text->image"])
    store.close()
    assert len(stored) == 200
    # One vote a voter may be stored without an answer having come through; none may be missing.
    assert sorted(stored.values(), reverse=True)[20:] == [2] * 180
    assert 400 + done.total() <= stored.total() <= 400 + done.total() + 20
