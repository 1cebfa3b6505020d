from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk

from tonggan.data.synthesis.foley import encode
from tonggan.errors import DiskFullError, UserError
from tonggan.modalities.audio import Sound, open_sound
from tonggan.modalities.provenance import Provenance
from tonggan.modalities.sound_files import check_copy, mux, save_sound

MADE = Provenance(None, None, 3, "foley", "ab" * 32, {}, (16, 16), "tonggan 0", "2026-11-25T00:00:00+00:00")


def noise(samples: int, rate: int = 16_000) -> Sound:
    return Sound(np.random.default_rng(0).uniform(-0.5, 0.5, (1, samples)).astype(np.float32), rate)


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    encode(path, np.zeros((20, 3, 16, 16), np.uint8), noise(12_800), frames_per_second=25)
    return path


@pytest.mark.parametrize(("rate", "written"), [(16_000, 16_000), (37_800, 44_100), (192_000, 96_000)])
def test_sound_of_any_rate_is_muxed_at_one_that_the_codec_knows(clip_file: Path, tmp_path: Path, rate: int, written: int) -> None:
    path = tmp_path / "out.mp4"
    check_copy(clip_file, path, keep_original=False, sample_rate_hz=rate, channels=1)
    mux(clip_file, [noise(rate // 2, rate), noise(rate // 4, rate)], path, MADE)
    assert open_sound(path).sample_rate_hz == written
    assert open_sound(path).seconds == pytest.approx(0.75, abs=0.1)


def test_what_goes_wrong_on_the_way_is_not_said_of_the_container(clip_file: Path, tmp_path: Path) -> None:
    def blocks() -> Iterator[Sound]:
        yield noise(1000)
        raise UserError("a finished window that cannot be read")

    with pytest.raises(UserError, match=r"^a finished window that cannot be read$"):
        mux(clip_file, blocks(), tmp_path / "out.mp4", MADE)
    for samples, error, said in ((noise(64_000), DiskFullError, "no space left"), (None, UserError, "there is no sound to write")):
        with full_disk(4096), pytest.raises(error, match=said):
            mux(clip_file, [] if samples is None else [samples], tmp_path / "out.mp4", MADE)
    assert list(tmp_path.iterdir()) == [clip_file]


def test_a_flac_that_a_full_disk_cut_in_silence_is_told_of(tmp_path: Path) -> None:
    with full_disk(8192), pytest.raises(DiskFullError, match="no space left"):
        save_sound([noise(5000)], tmp_path / "a.flac", MADE)  # written when the file is closed
    assert list(tmp_path.iterdir()) == []
