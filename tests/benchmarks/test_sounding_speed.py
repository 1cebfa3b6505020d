from pathlib import Path

from sounding_speed import repeated

from tonggan.modalities import Framing
from tonggan.modalities.video import open_clip

CLIP = Path(__file__).parents[2] / "docs" / "clip.mp4"


def test_a_repeated_clip_is_the_clip_again_and_again(tmp_path: Path) -> None:
    repeated(CLIP, tmp_path / "long.mp4", seconds=9.0)
    once, long = (open_clip(path, Framing(size=16)).frames for path in (CLIP, tmp_path / "long.mp4"))
    assert len(long) == 3 * len(once)
    assert all((long[first : first + len(once)] == once).all() for first in (0, len(once), 2 * len(once)))
