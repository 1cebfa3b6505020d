"""scripts/record_game_clips.py: a game that is played, with its sound."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tonggan.modalities import Framing
from tonggan.modalities.audio import open_sound
from tonggan.modalities.video import open_clip

pytest.importorskip("vizdoom")
pytestmark = pytest.mark.skipif(not any(Path("/usr/lib").glob("*/libopenal.so.1")), reason="no OpenAL: run scripts/debian_packages.sh first")


@pytest.fixture(scope="module")
def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_game_clips", Path(__file__).parents[2] / "scripts" / "record_game_clips.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_shot_is_heard_when_it_is_fired_and_seen(recorder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "SCENARIOS", {"defend_the_center": 1})
    recorder.main(tmp_path / "games", number=4, seed=1)
    rows = [json.loads(line) for line in (tmp_path / "games" / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    louder, brighter = list[float](), list[float]()
    for row in rows:
        path = tmp_path / "games" / row["file_name"]
        sound = open_sound(path)
        frames = open_clip(path, Framing(size=64, frames_per_second=17.5)).frames[:, 0, 34:50, 24:40].astype(float).mean((1, 2))
        assert (len(frames), len(sound.samples)) == (70, 2)
        assert 0 <= sound.samples.shape[1] - 4 * 22_050 < 1024  # AAC fills its last block
        shots = [second for second, what in row["events"] if what == "shot"]
        assert ("fires a pistol" in row["captions"][0]) == bool(shots)
        for second, before in zip(shots, [-1.0, *shots], strict=False):
            if 0.2 < second < 3.8 and second - before > 0.5:
                levels = [np.sqrt(np.mean(sound.samples[:, int(at * 22_050) :][:, :1323] ** 2)) for at in (second - 0.08, second)]
                louder.append(levels[1] / levels[0])
                frame = int(second * 17.5)
                brighter.append(frames[frame : frame + 4].max() - np.median(frames))
    assert len(louder) > 3
    assert np.median(louder) > 2
    assert np.median(brighter) > 10


def test_what_happens_is_said(recorder: ModuleType) -> None:
    clip = recorder.Recording(events=[(0.5, "shot"), (0.9, "shot"), (0.9, "kill")])
    clip.seen.update({"Zombieman": 30, "DoomImp": 3})
    assert recorder.caption(clip, "a shotgun") == "first-person shooter game: the player fires a shotgun 2 times at a zombie and kills 1"
    assert recorder.caption(recorder.Recording(), "a pistol") == "first-person shooter game: the player walks through a level"
