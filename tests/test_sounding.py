import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from full_disk import full_disk
from PIL import Image

from tonggan import sounding
from tonggan.data.pack import ensure_pack
from tonggan.data.synthesis.foley import encode
from tonggan.errors import DiskFullError, UserError
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card
from tonggan.evaluation.paired import load_rows
from tonggan.evaluation.sounds import evaluate_sounds
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound, open_sound
from tonggan.modalities.inspecting import inspect_file
from tonggan.modalities.provenance import Provenance
from tonggan.modalities.sound_files import UncopyableError, save_sound
from tonggan.modalities.video import frames_at_rate, open_clip, timed_frames, video_facts
from tonggan.pipeline import Tonggan
from tonggan.sound_windows import FinishedWindows, ahead, joined, window_seed, windows
from tonggan.sounding import Request, sound_clip


def silent(path: Path, frames: int) -> Path:
    """A clip whose own sound is a tone, of any length."""
    seen = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64), dtype=np.uint8).repeat(frames, 0)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(frames * 640) / 16_000, dtype=np.float32)
    encode(path, seen, Sound(tone[None], 16_000), frames_per_second=25)
    return path


def in_front(source: Path, path: Path, *, keep: float) -> None:
    """Copy the pictures into a file that has what it tells of itself in front, and cut it off."""
    with av.open(source) as read, av.open(path, "w", options={"movflags": "faststart"} if path.suffix == ".mov" else {}) as written:
        copy = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                written.mux(packet)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(keep * len(whole))])


def at_once(source: Path, path: Path) -> None:
    """Copy the first pictures, all of them shown within a millisecond."""
    with av.open(source) as read, av.open(path, "w") as written:
        copy = written.add_stream_from_template(read.streams.video[0])
        for number, packet in zip(range(3), read.demux(video=0), strict=False):
            packet.pts = packet.dts = number
            packet.duration, packet.time_base = 1, Fraction(1, 25_000)
            packet.stream = copy
            written.mux(packet)


def test_the_next_window_is_read_meanwhile_and_no_more() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(4):
            if number == 3:
                raise UserError("cut off")
            read.append(number)
            yield number

    found: list[int] = []

    def take() -> None:
        for item in ahead(items()):
            assert len(read) <= len(found) + 2
            found.append(item)

    with pytest.raises(UserError, match="cut off"):
        take()
    assert found == read == [0, 1, 2]
    assert list(ahead(iter([]))) == []


@pytest.mark.parametrize(("count", "begins", "lengths"), [(75, [0, 24, 43], 32), (32, [0], 32), (33, [0, 1], 32), (56, [0, 24], 32), (9, [0], 9)])
def test_windows_cover_every_frame_and_are_whole(sounder: Tonggan, count: int, begins: list[int], lengths: int) -> None:
    frames = [np.full((3, 2, 2), number, np.uint8) for number in range(count)]
    found = list(windows(iter(frames), sounder.framing))
    assert [first for first, _ in found] == begins
    assert [int(window[0, 0, 0, 0]) for _, window in found] == begins
    assert {len(window) for _, window in found} == {lengths}
    assert begins[-1] + lengths == count


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
    framing = Framing(clip_seconds=1.0)
    made = np.ones((1, 16_000), dtype=np.float32)
    for overlap, taken_over, held in ((4000, 0.125, 2000), (9000, 0.125, 7000), (4000, 0.0625, 3000)):
        decoder = SimpleNamespace(taken_over=taken_over)
        whole = joined(np.zeros((1, overlap), dtype=np.float32), made, framing, decoder)[0]
        assert not whole[: held - 256 - 512].any()
        assert (whole[held - 256 :] == 1).all()
        assert (np.diff(whole[:held]) >= 0).all()
    assert len({window_seed(seed, window) for seed in range(20) for window in range(20)}) == 400


def test_a_run_that_was_stopped_goes_on_to_the_same_sound(sounder: Tonggan, tmp_path: Path) -> None:
    clip = silent(tmp_path / "clip.mp4", 128)
    sound_clip(sounder, clip, tmp_path / "straight.wav", n=2, request=Request(seed=4), warn=print)
    shown: list[int] = []

    def stop(what: str, done: int, total: int) -> None:
        shown.append(done)
        if len(shown) == 3:
            raise KeyboardInterrupt

    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        sound_clip(sounder, clip, tmp_path / "again.wav", n=2, request=Request(seed=4), warn=lines.append, progress=stop)
    assert "3 finished windows are kept" in lines[-1]
    assert sorted(path.name for path in tmp_path.glob("again*")) == []
    sound_clip(sounder, clip, tmp_path / "again.wav", n=2, request=Request(seed=4), warn=lines.append, progress=lambda *_: None)
    assert "going on behind 3 finished windows" in lines[-1]
    for number in range(2):
        assert np.array_equal(open_sound(tmp_path / f"again-{number}.wav").samples, open_sound(tmp_path / f"straight-{number}.wav").samples)
    assert not (tmp_path / ".again.wav.windows").exists()


def test_what_is_stopped_in_its_first_window_leaves_nothing(sounder: Tonggan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = silent(tmp_path / "clip.mp4", 40)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sounder, "generate", stop)
    with pytest.raises(KeyboardInterrupt):
        sound_clip(sounder, clip, tmp_path / "out.wav", request=Request(), warn=print)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_two_that_make_the_same_file_do_not_meet(sounder: Tonggan, tmp_path: Path) -> None:
    clip = silent(tmp_path / "clip.mp4", 40)

    def meanwhile(what: str, done: int, total: int) -> None:
        with pytest.raises(UserError, match=r"another process makes .*out\.wav"):
            sound_clip(sounder, clip, tmp_path / "out.wav", request=Request(), warn=print)

    sound_clip(sounder, clip, tmp_path / "out.wav", request=Request(), warn=print, progress=meanwhile)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.wav"]


def test_what_other_wishes_made_is_not_gone_on_with(tmp_path: Path) -> None:
    def opened(seed: int) -> FinishedWindows:
        return FinishedWindows(tmp_path / ".a.windows", made_by={"seed": seed}, sample_rate_hz=100)

    one = opened(1)
    one.add(0, np.zeros((2, 40)))
    one.add(30, np.ones((2, 40)))
    same = opened(1)
    assert (len(same), same.samples) == (2, 70)
    assert np.concatenate([block.samples for block in same.sound(1)], axis=1).sum() == 40
    assert same.since(50).shape == (2, 20)
    (tmp_path / ".a.windows" / "000000000030.npy").write_bytes(b"cut")
    with pytest.raises(UserError, match="cannot be read"):
        opened(1).since(50)
    assert len(opened(2)) == 0
    assert len(opened(1)) == 0


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
        sound_clip(sounder, clip, tmp_path / f"{name}.wav", request=Request(mix=mix), warn=print, preview=tmp_path / f"{name}.png")
    assert (tmp_path / "alone.png").read_bytes() != (tmp_path / "mixed.png").read_bytes()  # what is heard is what is shown
    own, alone, mixed = (open_sound(tmp_path / name).samples[0] for name in ("clip.mp4", "alone.wav", "mixed.wav"))
    assert np.abs(mixed - (0.75 * own + 0.25 * alone)).max() < 2e-3


def test_a_sound_that_is_too_loud_is_mixed_in_without_being_cut_off(sounder: Tonggan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, softly = silent(tmp_path / "clip.mp4", 40), sounding._window

    def loudly(*args: Any, **wishes: Any) -> np.ndarray:
        made = softly(*args, **wishes)
        return made * (4 / np.abs(made).max())

    monkeypatch.setattr(sounding, "_window", loudly)
    for name, mix in (("alone", 0.0), ("mixed", 0.25)):
        sound_clip(sounder, clip, tmp_path / f"{name}.wav", request=Request(mix=mix), warn=print)
    own, alone, mixed = (open_sound(tmp_path / name).samples[0] for name in ("clip.mp4", "alone.wav", "mixed.wav"))
    assert np.abs(alone).max() == pytest.approx(sounding.LOUDEST, abs=1e-3)
    assert np.abs(mixed - (0.25 * own + 0.75 * alone)).max() < 2e-3


def test_what_cannot_be_copied_after_all_leaves_nothing(sounder: Tonggan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, lines = silent(tmp_path / "clip.mp4", 40), list[str]()

    def refuse(*_: object, **__: object) -> None:
        raise UncopyableError("cannot be copied")

    monkeypatch.setattr(sounding, "mux", refuse)
    with pytest.raises(UserError, match="cannot be copied"):
        sound_clip(sounder, clip, tmp_path / "out.mp4", request=Request(), warn=lines.append)
    assert not any("are kept" in line for line in lines)
    assert list(tmp_path.iterdir()) == [clip]


def test_a_preview_does_not_take_the_place_of_the_clip(sounder: Tonggan, tmp_path: Path) -> None:
    clip = tmp_path / "moves.png"
    pictures = [Image.new("RGB", (64, 64), (number * 20, 0, 0)) for number in range(10)]
    pictures[0].save(clip, save_all=True, append_images=pictures[1:], duration=100)
    with pytest.raises(UserError, match=r"moves\.png is the clip itself\. Choose another name with --preview"):
        sound_clip(sounder, clip, tmp_path / "out.wav", request=Request(), warn=print, preview=clip)
    with pytest.raises(UserError, match=r"seen\.jpg: a preview is a PNG\. Give it a name that ends in \.png"):
        sound_clip(sounder, clip, tmp_path / "out.wav", request=Request(), warn=print, preview=tmp_path / "seen.jpg")
    assert list(tmp_path.iterdir()) == [clip]


def clip_with_sound(
    path: Path, *, rate: int, layout: str, codec: str = "libx264", seconds: float = 0.8, container: str = "matroska", tag: str | None = None
) -> Path:
    """A clip beside a tone that is the same in all channels; of no seconds, a track without samples."""
    with av.open(path, "w", format=container) as file:
        pictures = file.add_stream(codec, rate=25)
        if tag is not None:
            pictures.codec_context.codec_tag = tag
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        track = file.add_stream("pcm_s16le", rate=rate)
        track.layout = layout
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 12 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(pictures.encode(frame))
        file.mux(pictures.encode(None))
        if seconds:
            tone = 0.2 * 32767 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
            samples = tone.astype(np.int16).repeat(track.layout.nb_channels)[None]
            block = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), 0
            file.mux(track.encode(block))
            file.mux(track.encode(None))
    return path


@pytest.mark.parametrize(
    ("layout", "rate", "ending", "wanted"),
    [
        ("mono", 44_100, ".webm", (48_000, 1)),
        ("stereo", 44_100, ".mp4", (44_100, 2)),
        ("mono", 192_000, ".mov", (96_000, 1)),
        ("5.1", 48_000, ".webm", (48_000, 2)),
        ("5.1", 44_100, ".mp4", (44_100, 2)),
        ("5.1", 44_100, ".wav", (44_100, 6)),
        ("7.1.2", 44_100, ".flac", (44_100, 2)),
    ],
)
def test_a_clip_of_any_rate_and_number_of_channels_is_mixed_into_what_a_file_holds(
    sounder: Tonggan, tmp_path: Path, layout: str, rate: int, ending: str, wanted: tuple[int, int]
) -> None:
    clip = clip_with_sound(tmp_path / "clip.mkv", rate=rate, layout=layout, codec="libvpx" if ending == ".webm" else "libx264")
    output = tmp_path / f"out{ending}"
    sound_clip(sounder, clip, output, request=Request(mix=0.75), warn=print)
    mixed = open_sound(output)
    assert (mixed.sample_rate_hz, len(mixed.samples)) == wanted
    assert mixed.seconds == pytest.approx(0.8, abs=0.08)  # a codec's own blocks
    middle = mixed.samples[:, mixed.samples.shape[1] // 4 : mixed.samples.shape[1] // 2]
    heard = np.abs(np.fft.rfft(middle * np.hanning(middle.shape[1])))
    assert np.abs(heard.argmax(1) * mixed.sample_rate_hz / middle.shape[1] - 440).max() < 10


@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_a_phone_s_hevc_keeps_the_tag_that_its_players_ask_for(sounder: Tonggan, tmp_path: Path, ending: str) -> None:
    clip = clip_with_sound(tmp_path / "clip.mov", rate=16_000, layout="mono", codec="libx265", container="mov", tag="hvc1")
    (path,) = sound_clip(sounder, clip, tmp_path / f"out{ending}", request=Request(), warn=print)
    with av.open(path) as file:
        assert (file.streams.video[0].codec_context.name, file.streams.video[0].codec_context.codec_tag) == ("hevc", "hvc1")


def test_a_sound_track_without_sound_is_told_of_before_anything_is_made(sounder: Tonggan, tmp_path: Path) -> None:
    clip = clip_with_sound(tmp_path / "clip.mkv", rate=44_100, layout="mono", seconds=0)
    assert video_facts(clip).sound_tracks == 1
    with pytest.raises(UserError, match="nothing in its sound track: leave out --mix"):
        sound_clip(sounder, clip, tmp_path / "out.mp4", request=Request(mix=0.5), warn=print)
    assert list(tmp_path.iterdir()) == [clip]


@pytest.mark.parametrize("ending", [".wav", ".flac", ".mp4", ".mkv"])
def test_a_full_disk_keeps_what_is_finished(sounder: Tonggan, tmp_path: Path, ending: str) -> None:
    clip, output = silent(tmp_path / "clip.mp4", 75), tmp_path / f"out{ending}"
    request, lines = Request(seed=4, mix=0.25), list[str]()

    def stop(what: str, done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with full_disk(50_000), pytest.raises(DiskFullError, match=r"while writing .*000000000000\.npy"):
        sound_clip(sounder, clip, output, request=request, warn=lines.append)
    assert not any("are kept" in line for line in lines)
    with pytest.raises(KeyboardInterrupt):
        sound_clip(sounder, clip, output, request=request, warn=lines.append, progress=stop)
    with full_disk(8192), pytest.raises(DiskFullError, match=f"while writing {output}"):
        sound_clip(sounder, clip, output, request=request, warn=lines.append)
    assert "3 finished windows are kept" in lines[-1]
    assert not output.exists()
    assert not list(tmp_path.glob("*.partial"))
    sound_clip(sounder, clip, output, request=request, warn=lines.append)
    assert "going on behind 3 finished windows" in lines[-1]
    assert sorted(tmp_path.iterdir()) == [clip, output]
    assert open_sound(output).seconds == pytest.approx(3, abs=0.1)


def test_what_cannot_be_done_is_one_line_and_nothing_is_written(sounder: Tonggan, tmp_path: Path) -> None:
    clip = silent(tmp_path / "clip.mp4", 40)
    one = silent(tmp_path / "one.mp4", 1)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (64, 64), "red")])
    (tmp_path / "linked.mp4").hardlink_to(clip)
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:-9000])
    in_front(silent(tmp_path / "whole.mp4", 40), tmp_path / "cut.mov", keep=0.7)
    in_front(tmp_path / "whole.mp4", tmp_path / "cut.mkv", keep=0.9)
    save_sound([Sound(np.zeros((1, 16_000), np.float32), 16_000)], tmp_path / "heard.wav", Provenance(None, None, 0, "", "", {}, None, "", ""))
    still, tick = tmp_path / "still.mkv", tmp_path / "tick.mp4"
    at_once(clip, still)
    encode(tick, np.zeros((2, 3, 64, 64), np.uint8), Sound(np.zeros((1, 160), np.float32), 16_000), frames_per_second=30_000)
    (tmp_path / "folder.mp4").mkdir()
    before = sorted(tmp_path.iterdir())
    wrong = [
        (still, "out.mp4", Request(), "no longer than one frame"),
        (tick, "out.wav", Request(), "no longer than one frame"),
        (clip, "folder.mp4", Request(), r"folder\.mp4 is a folder\. Name a file"),
        (clip, "out.wav", Request(settings={"guidance_scale": float("nan")}), "guidance_scale: .* finite number .*nan"),
        (clip, "clip.mp4", Request(), "is the clip itself"),
        (clip, "linked.mp4", Request(), "is the clip itself"),
        (tmp_path / "cut.mp4", "out.mp4", Request(), "cut off"),
        (tmp_path / "cut.mov", "out.mp4", Request(), "cut off: .* bytes of"),
        (tmp_path / "cut.mkv", "out.mp4", Request(), r"cut off: .* bytes of"),
        (tmp_path / "heard.wav", "out.mp4", Request(), "there is no video"),
        (clip, "out.webm", Request(), r"\(h264, flac\) cannot be copied into \.webm .* Choose \.mkv or \.wav"),
        (clip, "out.xyz", Request(), "not written as"),
        (clip, "out.wav", Request(mix=1.5), "not a share"),
        (clip, "out.wav", Request(keep_original=True), "room for one track"),
        (one, "out.mp4", Request(), "there is one frame in it"),
        (tmp_path / "a.gif", "out.mp4", Request(), r"cannot be copied into .* Choose \.mov or \.wav"),
        (tmp_path / "a.gif", "out.wav", Request(mix=0.5), "no sound of its own"),
        (tmp_path / "none.mp4", "out.mp4", Request(), "no such file"),
        (tmp_path / "folder.mp4", "out.mp4", Request(), r"folder\.mp4 is a folder\. Name a file in it, one at a time"),
        (clip, "out.wav", Request(settings={"num_inference_stps": 3}), "Did you mean 'num_inference_steps'"),
    ]
    for source, name, request, message in wrong:
        with pytest.raises(UserError, match=message):
            sound_clip(sounder, source, tmp_path / name, request=request, warn=lambda line: None)
    assert sorted(tmp_path.iterdir()) == before


def test_a_clip_of_a_tenth_of_a_second_has_a_preview(sounder: Tonggan, tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    sound_clip(sounder, silent(strange, 3), tmp_path / "a.wav", request=Request(), warn=print, preview=tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").width > 900
    assert sorted(path.name for path in tmp_path.iterdir() if path != strange) == ["a.png", "a.wav"]


def test_a_gif_gets_a_sound_of_its_own(sounder: Tonggan, tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (64, 64), (number * 20, 0, 0)) for number in range(10)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    sound_clip(sounder, tmp_path / "a.gif", tmp_path / "a.wav", request=Request(), warn=print)
    assert open_sound(tmp_path / "a.wav").seconds == pytest.approx(1.0, abs=0.05)
    assert len(list(frames_at_rate(tmp_path / "a.gif", sounder.framing))) == 25
    assert len(list(timed_frames(tmp_path / "a.gif", sounder.framing))) == 11


@pytest.mark.usefixtures("brief_judges")
def test_a_split_is_heard_and_judged(sounder: Tonggan, clips: Path, tmp_path: Path) -> None:
    pack = ensure_pack(clips, framing=sounder.framing, cache=tmp_path)
    card = evaluate_sounds(sounder, Asked(pack, "train", tmp_path / "out", limit=6), truth="events")
    again = Card.load(tmp_path / "out" / "card.json")
    assert (again.figures, again.columns) == (card.figures, card.columns)
    columns = {column.name: {figure.name: figure for figure in column.figures} for column in card.columns}
    assert columns["true sound"]["onset_f1"].value > 0.9
    assert columns["silence"]["onset_f1"].value == 0
    assert columns["nearest training clip"]["onset_f1"].value == columns["true sound"]["onset_f1"].value  # the split is the training split
    assert columns["true sound"]["mel_distance"].value == 0
    assert columns["silence"]["synchrony_accuracy"].value == 0.5
    assert columns["true sound"]["material_accuracy"].value > 0.9 > columns["silence"]["material_accuracy"].value
    assert 0 <= card.figure("material_accuracy").value <= 1
    assert len(list((tmp_path / "out" / "sounds").glob("*.wav"))) == 6
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "nearest training clip" in page
    assert columns["class mean"]["onset_f1"].value < columns["true sound"]["onset_f1"].value
    assert columns["class mean"]["mel_distance"].value > 0.1
    assert page.count("<figure>") == 6  # all are alike: none is the worst
    assert page.count("<audio controls") == page.count("data:audio/flac;base64,") == 12
    assert 0 <= columns["other real clips"]["onset_f1"].value < columns["true sound"]["onset_f1"].value
    assert columns["true sound"]["frechet_distance"].value == pytest.approx(0, abs=1e-9)
    assert columns["other real clips"]["frechet_distance"].value > 0.01
    assert any("Fréchet distance of 6 sounds" in warning for warning in card.warnings)
    assert any("is the split itself" in warning for warning in card.warnings)
    told = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert "256 numbers at 16,000 Hz; mean, deviation" in told
    assert "SHA-256 ," not in told
    again = evaluate_sounds(sounder, Asked(pack, "train", tmp_path / "out", limit=2, reference="none", beside=[card]))
    assert [column.name for column in again.columns] == ["true sound", "shuffled frames", "silence"]
    assert any("There is no split 'none'" in warning for warning in again.warnings)
    assert "not comparable" in again.beside[0].note
    assert len(list((tmp_path / "out" / "sounds").glob("*.wav"))) == 2  # those of before are gone
    rows = load_rows(tmp_path / "out" / "card.json")
    assert rows is not None
    (above, below) = np.asarray([row["figures"]["onset_f1"] for row in rows]).sum(0)
    assert again.figure("onset_f1").value == (above / below if below else 1.0)
    with pytest.raises(UserError, match="no split 'dev'"):
        evaluate_sounds(sounder, Asked(pack, "dev", tmp_path / "out", limit=2))
    with pytest.raises(UserError, match="the limit is 1"):
        evaluate_sounds(sounder, Asked(pack, "train", tmp_path / "out", limit=1))
