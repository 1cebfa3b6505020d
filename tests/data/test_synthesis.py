import json
from pathlib import Path

import numpy as np
import pytest

from tonggan.data.pack import ensure_pack
from tonggan.data.synthesis.foley import make_foley
from tonggan.data.synthesis.materials import BAR_RATIOS, MATERIALS, Voice
from tonggan.data.synthesis.scene import Scene, compose, frames, sound
from tonggan.data.synthesis.things import FLOOR, GRAVITY, KINDS, Thing, ball
from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.modalities.audio import open_sound
from tonggan.modalities.video import open_clip


def test_clips_are_a_function_of_seed_and_number(tmp_path: Path) -> None:
    for name, clips in (("a", 2), ("b", 3)):
        make_foley(tmp_path / name, clips=clips, seed=7)
    rows = {name: [json.loads(line) for line in (tmp_path / name / "metadata.jsonl").read_text().splitlines()] for name in "ab"}
    assert rows["a"] == rows["b"][:2]
    heard = [open_sound(tmp_path / name / "clips" / "00001.mp4").samples for name in "ab"]
    assert np.array_equal(*heard)
    assert len(open_clip(tmp_path / "a" / "clips" / "00000.mp4", Framing()).frames) == 100
    with pytest.raises(UserError, match="exists already"):
        make_foley(tmp_path / "a", clips=1)


def test_what_is_heard_begins_where_the_row_says(tmp_path: Path) -> None:
    checked = 0
    for number in range(12):
        scene = compose(np.random.default_rng([3, number]), seconds=4.0)
        heard = sound(scene, np.random.default_rng(0), sample_rate_hz=16_000)
        first = scene.events[0].second
        loud = np.flatnonzero(np.abs(heard) > 0.1 * np.abs(heard).max())[0] / 16_000 if len(scene.events) == 1 else None
        silent = heard[: int(first * 16_000)]
        assert not silent.any()
        begins = np.flatnonzero(heard)[0] / 16_000
        assert begins == pytest.approx(first, abs=1e-3)
        assert loud is None or loud < first + 0.1
        checked += 1
    assert checked == 12


def test_a_ball_touches_the_floor_when_it_is_heard() -> None:
    random = np.random.default_rng(0)
    touched = 0
    for _ in range(10):
        thing = ball(random, lane=(0.1, 0.9), seconds=4.0)
        times = np.asarray([event.second for event in thing.events])
        low = thing.pose(times).centre[:, 1] + thing.half[1]
        assert np.allclose(low, FLOOR, atol=1e-6)
        before = thing.pose(times - 0.02).centre[:, 1] + thing.half[1]
        assert (before < FLOOR - 1e-3).all()
        touched += len(times)
    assert touched > 10


def let_go(thing: Thing) -> float:
    """Return the second at which a thing begins to move: the first blow less the time of the fall to it; a block is heard as it is pushed."""
    first = thing.events[0].second
    high, low = thing.pose(np.asarray([0.0, first])).centre[:, 1]
    return first - float(np.sqrt(2 * (low - high) / GRAVITY))


@pytest.mark.parametrize("kind", list(KINDS))
def test_things_move_only_when_they_are_let_go(kind: str) -> None:
    thing = KINDS[kind](np.random.default_rng(5), lane=(0.1, 0.9), seconds=4.0)
    seen, without = (frames(Scene(things, 4.0), np.random.default_rng(1), size=64, frames_per_second=25.0) for things in ((thing,), ()))
    assert seen.shape == (100, 3, 64, 64)
    assert seen.dtype == np.uint8
    assert np.abs(np.diff(without.astype(int), axis=0)).mean() > 0.05  # the background moves
    where = np.asarray([np.argwhere(covered).mean(axis=0) for covered in (seen != without).any(axis=1)])
    resting = int(let_go(thing) * 25)
    assert resting > 5
    assert np.abs(where[: resting + 1] - where[0]).max() < 0.2
    assert np.abs(where[resting + 6] - where[0]).max() > 2


def test_metal_rings_longer_than_wood_and_large_things_are_lower() -> None:
    def voice(material: str, size: float) -> Voice:
        return Voice.of(MATERIALS[material], ratios=BAR_RATIOS, size=size, random=np.random.default_rng(0))

    lengths = {name: len(voice(name, 1.0).struck(sample_rate_hz=16_000, strength=1.0, random=np.random.default_rng(0))) for name in ("metal", "wood")}
    assert lengths["metal"] > 5 * lengths["wood"]
    assert voice("wood", 2.0).frequencies[0] < voice("wood", 1.0).frequencies[0]


def test_clips_made_again_are_known_as_the_same_rows(clips: Path, tmp_path: Path) -> None:
    make_foley(tmp_path / "foley", clips=10, seed=2)
    packs = [ensure_pack(folder, framing=Framing(), cache=tmp_path) for folder in (clips, tmp_path / "foley")]
    before, again = (packed.digests(np.arange(len(packed))).tolist() for packed in packs)
    assert before == again
    assert len(set(before)) == 10
