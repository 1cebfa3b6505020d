import numpy as np
import pytest

from tonggan.data.loader import Loader
from tonggan.data.pack import Pack, pack
from tonggan.data.synthesis.foley import encode
from tonggan.data.windows import Shifts, shifted_frames
from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound

FRAMING = Framing(size=16, frames_per_second=12.5, sample_rate_hz=8000, clip_seconds=0.8)
RATE = 8000


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Clips of two seconds whose every frame and every sample tells its time, and one of 0.8."""
    folder = tmp_path_factory.mktemp("counted")
    for number in range(5):
        frames = 10 if number == 4 else 25
        seen = (np.arange(frames, dtype=np.uint8) * 8)[:, None, None, None] * np.ones((1, 3, 16, 16), np.uint8)
        heard = np.arange(frames * 640, dtype=np.float32) / 32_000
        encode(folder / f"{number}.mp4", seen, Sound(heard[None], RATE), frames_per_second=12.5)
    return pack(folder, framing=FRAMING, out=folder.parent / "counted-pack")


def test_shifts_stay_inside_the_clip_and_are_all_drawn() -> None:
    spare = np.repeat([0, 1, 3, 7, 20], 4000)
    firsts = (np.linspace(0, 0.999, 4000)[None] * (np.asarray([0, 1, 3, 7, 20])[:, None] + 1)).astype(np.int64).ravel()
    draws = np.random.default_rng(0).random(len(spare))
    moved, real = shifted_frames(firsts, spare, draws, shortest=2, longest=5)
    assert (moved >= 0).all()
    assert (moved <= spare).all()
    assert np.isin(np.abs(moved - firsts)[real], range(2, 6)).all()
    assert np.array_equal(real, (firsts >= 2) | (spare - firsts >= 2))
    assert np.array_equal(moved[~real], firsts[~real])
    found = moved[firsts == 10] - 10
    assert set(found.tolist()) == {-5, -4, -3, -2, 2, 3, 4, 5}


def test_shifts_depend_on_seed_and_position_alone(counted: Pack) -> None:
    one, many = (Loader(counted, counted.indices("train"), batch_size=size, seed=3, shifts=Shifts(0.16, 0.8)) for size in (1, 12))
    batch = many.batch(5)
    assert batch.shifted is not None
    for i, single in enumerate(one.batch(position) for position in range(5, 17)):
        assert single.shifted is not None
        assert single.shifted.inputs["audio"].equal(batch.shifted.inputs["audio"][i : i + 1])
        begins = [round(float(each[0]) * 32_000 / 640) for each in (batch.inputs["audio"][i], batch.shifted.inputs["audio"][i])]
        long = int(batch.indices[i]) != 4
        assert bool(batch.shifted.real[i]) == long
        assert begins[0] == begins[1] if not long else 2 <= abs(begins[0] - begins[1]) <= 10
        assert all(0 <= begin <= 15 for begin in begins)
        assert abs(round(float(batch.inputs["video"][i, 0].float().mean()) / 8) - begins[0]) == 0
    other = Loader(counted, counted.indices("train"), batch_size=12, seed=4, shifts=Shifts(0.16, 0.8)).batch(5)
    assert other.shifted is not None
    assert not other.shifted.inputs["audio"].equal(batch.shifted.inputs["audio"])
    without = Loader(counted, counted.indices("train"), batch_size=12, seed=3).batch(5)
    assert without.shifted is None
    assert without.inputs["audio"].equal(batch.inputs["audio"])


def test_a_clip_has_a_picture_in_its_middle(counted: Pack) -> None:
    batch = Loader(counted, counted.indices("train"), batch_size=5, seed=0).batch(0)
    assert batch.inputs["image"].shape == (5, 3, 16, 16)
    middle = (batch.inputs["image"] + 1) / 2 * 255
    assert (middle - batch.inputs["video"][:, 5].float()).abs().max() < 1e-3


def test_clips_without_room_for_a_shift_are_an_error(counted: Pack) -> None:
    with pytest.raises(UserError, match=r"no clip is 0\.16 s longer than a window of 0\.8 s"):
        Loader(counted, np.asarray([4]), batch_size=1, seed=0, shifts=Shifts(0.16, 0.8))
