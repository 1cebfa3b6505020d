"""A contest of sounds: what voters see and hear is the clip with each model's sound."""

from pathlib import Path

import av
import numpy as np
import pytest
from fastapi.testclient import TestClient

from tonggan.errors import UserError
from tonggan.feedback.preferences import export_preferences
from tonggan.feedback.votes import VoteStore
from tonggan.modalities import modalities
from tonggan.modalities.audio import open_sound
from tonggan.modalities.video import video_facts
from tonggan.pipeline import Tonggan
from tonggan.serving.arena import build_app
from tonggan.serving.contest import Contest
from tonggan.serving.prompts import read_prompts


@pytest.fixture
def votes_url(tmp_path: Path) -> str:
    """One kind of store is enough here."""
    return f"sqlite:///{tmp_path / 'votes.sqlite'}"


def test_voters_see_the_clip_and_hear_what_each_model_made_of_it(sound_contest: Contest, store: VoteStore, tmp_path: Path) -> None:
    with TestClient(build_app(sound_contest, store)) as browser:
        browser.get("/")
        asked = browser.get("/next").json()
        assert {asked[each]["mime"] for each in ("prompt", "left", "right")} == {"video/mp4"}
        part = browser.get(asked["left"]["url"], headers={"Range": "bytes=0-99"})
        assert (part.status_code, len(part.content)) == (206, 100)  # browsers seek
        while "ticket" in asked:
            same = asked["left"]["url"] == asked["right"]["url"]
            browser.post("/vote", json={"ticket": asked["ticket"], "choice": "tie" if same else "left"})
            asked = browser.get("/next").json()
    assert export_preferences(store, sound_contest.folder, tmp_path / "preferences" / "train.jsonl").rows == 4
    assert len(list((tmp_path / "preferences" / "files").glob("*.mp4"))) == 8


def test_the_sound_of_a_shown_clip_is_the_model_s_at_its_time(sound_contest: Contest) -> None:
    contest = sound_contest
    name = contest.pairs[0][0]
    contest.ensure(contest.pairs[0])
    entry, framing = contest.entries[name], contest.models["one"].framing
    prompt, silent = contest.prompt_of(name)
    made = contest.models[entry.model].generate(prompt.value(modalities()["video"], framing), to="audio", seed=entry.seed)[0]
    heard = open_sound(contest.files[name], sample_rate_hz=framing.sample_rate_hz).samples[0]
    length = round(made.seconds * framing.sample_rate_hz)
    assert np.corrcoef(heard[:length], made.samples[0, : len(heard)])[0, 1] > 0.9  # AAC loses a little, and no time
    assert silent is not None
    facts = video_facts(silent)
    assert (facts.sound_tracks, facts.size, round(facts.seconds, 2)) == (0, (64, 64), framing.clip_seconds)
    with av.open(contest.files[name]) as file:
        assert "comment" not in file.metadata


def test_who_cannot_hear_is_named(sounder: Tonggan, clips: Path, store: VoteStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"deaf has no part in image->audio: .*no encoder for 'image'"):
        Contest({"deaf": sounder}, [], tmp_path / "arena", store, arrow="image->audio")
    (tmp_path / "prompts.txt").write_text("gone.mp4\n")
    with pytest.raises(UserError, match=r"gone\.mp4: no such file"):
        read_prompts(tmp_path / "prompts.txt", modalities()["video"])
