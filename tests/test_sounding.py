from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tonggan.data.pack import ensure_pack
from tonggan.data.synthesis.foley import encode
from tonggan.errors import UserError
from tonggan.evaluation.card import Card
from tonggan.evaluation.paired import load_rows
from tonggan.evaluation.sounds import evaluate_sounds
from tonggan.modalities.audio import Sound, open_sound
from tonggan.modalities.inspecting import inspect_file
from tonggan.modalities.video import frames_at_rate, open_clip, timed_frames, video_facts
from tonggan.pipeline import Tonggan
from tonggan.sounding import Request, _joined, sound_clip, window_seed, windows


def silent(path: Path, frames: int) -> Path:
    """A clip whose own sound is a tone, of any length."""
    seen = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64), dtype=np.uint8).repeat(frames, 0)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(frames * 640) / 16_000, dtype=np.float32)
    encode(path, seen, Sound(tone[None], 16_000), frames_per_second=25)
    return path


def test_windows_cover_every_frame_and_overlap(sounder: Tonggan) -> None:
    frames = [np.full((3, 2, 2), number, np.uint8) for number in range(75)]
    found = list(windows(iter(frames), sounder.framing))
    assert [len(window) for window, _ in found] == [32, 32, 27]
    assert sum(new for _, new in found) == 75
    assert [int(window[0, 0, 0, 0]) for window, _ in found] == [0, 24, 48]


@pytest.mark.parametrize("frames", [10, 32, 75, 104])
def test_the_sound_is_as_long_as_the_pictures(sounder: Tonggan, tmp_path: Path, frames: int) -> None:
    clip = silent(tmp_path / "clip.mp4", frames)
    lines: list[str] = []
    sound_clip(sounder, clip, tmp_path / "out.wav", request=Request(seed=3), warn=lines.append)
    made = open_sound(tmp_path / "out.wav")
    assert made.samples.shape == (1, frames * 640)
    assert "has sound already" in lines[0]
    if frames == 32:
        alone = sounder.generate(open_clip(clip, sounder.framing), to="audio", seed=3)[0]
        assert np.abs(alone.samples - made.samples).max() < 1e-3


def test_a_window_goes_on_from_the_one_before() -> None:
    pending, made = np.zeros((1, 4000), dtype=np.float32), np.ones((1, 16_000), dtype=np.float32)
    joined = _joined(pending, made, held=2000, rate=16_000)[0]
    assert not joined[: 2000 - 256 - 512].any()
    assert (joined[2000 - 256 :] == 1).all()
    assert (np.diff(joined[:2000]) >= 0).all()
    assert len({window_seed(seed, window) for seed in range(20) for window in range(20)}) == 400


def test_pictures_are_copied_and_the_file_says_how_it_was_made(sounder: Tonggan, tmp_path: Path) -> None:
    clip = silent(tmp_path / "clip.mp4", 75)
    paths = sound_clip(sounder, clip, tmp_path / "out.mp4", n=2, request=Request(keep_original=True), warn=print, preview=tmp_path / "seen.png")
    assert [path.name for path in paths] == ["out-0.mp4", "out-1.mp4"]
    for number, path in enumerate(paths):
        assert np.array_equal(open_clip(path, sounder.framing).frames, open_clip(clip, sounder.framing).frames)
        assert video_facts(path).sound_tracks == 2
        told = inspect_file(path)
        assert told["made_by_trained_algorithm"]
        assert told["provenance"]["seed"] == number
        assert told["provenance"]["model_hash"] == sounder.weights_hash
    assert Image.open(tmp_path / "seen.png").size[0] == 984
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out-0.mp4", "out-1.mp4", "seen.png"]


def test_a_share_of_the_own_sound_is_mixed_in(sounder: Tonggan, tmp_path: Path) -> None:
    clip = silent(tmp_path / "clip.mp4", 75)
    for name, mix in (("alone", 0.0), ("mixed", 0.75)):
        sound_clip(sounder, clip, tmp_path / f"{name}.wav", request=Request(mix=mix), warn=print)
    own, alone, mixed = (open_sound(tmp_path / name).samples[0] for name in ("clip.mp4", "alone.wav", "mixed.wav"))
    assert np.abs(mixed - (0.75 * own + 0.25 * alone)).max() < 2e-3


def test_what_cannot_be_done_is_one_line_and_nothing_is_written(sounder: Tonggan, tmp_path: Path) -> None:
    clip = silent(tmp_path / "clip.mp4", 40)
    one = silent(tmp_path / "one.mp4", 1)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (64, 64), "red")])
    before = sorted(tmp_path.iterdir())
    wrong = [
        (clip, "clip.mp4", Request(), "is the clip itself"),
        (clip, "out.xyz", Request(), "not written as"),
        (clip, "out.wav", Request(mix=1.5), "not a share"),
        (clip, "out.wav", Request(keep_original=True), "room for one track"),
        (one, "out.mp4", Request(), "one frame"),
        (tmp_path / "a.gif", "out.mp4", Request(), "cannot be copied into"),
        (tmp_path / "a.gif", "out.wav", Request(mix=0.5), "no sound of its own"),
        (tmp_path / "none.mp4", "out.mp4", Request(), "no such file"),
        (clip, "out.wav", Request(settings={"num_inference_stps": 3}), "Did you mean 'num_inference_steps'"),
    ]
    for source, name, request, message in wrong:
        with pytest.raises(UserError, match=message):
            sound_clip(sounder, source, tmp_path / name, request=request, warn=lambda line: None)
    assert sorted(tmp_path.iterdir()) == before


def test_a_gif_gets_a_sound_of_its_own(sounder: Tonggan, tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (64, 64), (number * 20, 0, 0)) for number in range(10)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    sound_clip(sounder, tmp_path / "a.gif", tmp_path / "a.wav", request=Request(), warn=print)
    assert open_sound(tmp_path / "a.wav").seconds == pytest.approx(1.0, abs=0.05)
    assert len(list(frames_at_rate(tmp_path / "a.gif", sounder.framing))) == 25
    assert len(list(timed_frames(tmp_path / "a.gif", sounder.framing))) == 11


def test_a_split_is_heard_and_judged(sounder: Tonggan, clips: Path, tmp_path: Path) -> None:
    pack = ensure_pack(clips, framing=sounder.framing, cache=tmp_path)
    card = evaluate_sounds(sounder, pack=pack, split="train", out=tmp_path / "out", limit=6, truth="events")
    again = Card.load(tmp_path / "out" / "card.json")
    assert (again.figures, again.columns) == (card.figures, card.columns)
    columns = {column.name: {figure.name: figure for figure in column.figures} for column in card.columns}
    assert columns["true sound"]["onset_f1"].value > 0.9
    assert columns["silence"]["onset_f1"].value == 0
    assert columns["nearest training clip"]["onset_f1"].value == columns["true sound"]["onset_f1"].value  # the split is the training split
    assert columns["true sound"]["mel_distance"].value == 0
    assert len(list((tmp_path / "out" / "sounds").glob("*.wav"))) == 6
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "nearest training clip" in page
    assert page.count("<figure>") == 12  # three worst, three best, the first six
    assert page.count("<audio controls") == page.count("data:audio/flac;base64,") == 24
    assert 0 <= columns["other real clips"]["onset_f1"].value < columns["true sound"]["onset_f1"].value
    assert columns["true sound"]["frechet_distance"].value == pytest.approx(0, abs=1e-9)
    assert columns["other real clips"]["frechet_distance"].value > 0.01
    assert any("Fréchet distance of 6 sounds" in warning for warning in card.warnings)
    assert any("is the split itself" in warning for warning in card.warnings)
    told = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert "256 numbers at 16,000 Hz; mean, deviation" in told
    assert "SHA-256 ," not in told
    again = evaluate_sounds(sounder, pack=pack, split="train", out=tmp_path / "out", limit=2, reference="none", beside=[card])
    assert [column.name for column in again.columns] == ["true sound", "shuffled frames", "silence"]
    assert any("There is no split 'none'" in warning for warning in again.warnings)
    assert "not comparable" in again.beside[0].note
    assert len(list((tmp_path / "out" / "sounds").glob("*.wav"))) == 2  # those of before are gone
    rows = load_rows(tmp_path / "out" / "card.json")
    assert rows is not None
    (above, below) = np.asarray([row["figures"]["onset_f1"] for row in rows]).sum(0)
    assert again.figure("onset_f1").value == (above / below if below else 1.0)
    with pytest.raises(UserError, match="no split 'dev'"):
        evaluate_sounds(sounder, pack=pack, split="dev", out=tmp_path / "out", limit=2)
    with pytest.raises(UserError, match="the limit is 1"):
        evaluate_sounds(sounder, pack=pack, split="train", out=tmp_path / "out", limit=1)
