import os
import struct
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tonggan.data.synthesis.foley import encode
from tonggan.errors import UserError
from tonggan.modalities import Framing, modalities
from tonggan.modalities.audio import Sound, open_sound
from tonggan.modalities.clip_facts import inspect_clip
from tonggan.modalities.inspecting import inspect_file
from tonggan.modalities.provenance import Provenance
from tonggan.modalities.sound_files import inspect_sound_file, mux, read_sound_provenance, save_sound
from tonggan.modalities.spectrogram import Mel, log_mel
from tonggan.modalities.timeline import stacked, timeline
from tonggan.modalities.video import Clip, first_second, frames_at, open_clip, shown_frames, timed_frames, video_facts

FRAMING = Framing(size=16, frames_per_second=25.0)
MADE = Provenance(None, None, 3, "foley", "ab" * 32, {"num_inference_steps": 8}, (16, 16), "tonggan 0", "2026-11-25T00:00:00+00:00")


def counting_frames(number: int, height: int = 16, width: int = 16) -> np.ndarray:
    """Frame i is grey of level 8 i, brighter at the top."""
    level = np.arange(number)[:, None, None, None] * 8
    slope = np.where(np.arange(height) < height // 2, 40, 0)[None, None, :, None]
    return (np.zeros((number, 3, height, width)) + level + slope).clip(0, 255).astype(np.uint8)


def click(second: float, seconds: float, rate: int = 16_000) -> Sound:
    samples = np.zeros((1, round(seconds * rate)), dtype=np.float32)
    samples[0, round(second * rate)] = 0.9
    return Sound(samples, rate)


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    encode(path, counting_frames(20), click(0.4, 0.8), frames_per_second=25)
    return path


def loudest(path: Path, rate: int = 16_000) -> float:
    return float(np.abs(open_sound(path, sample_rate_hz=rate).samples[0]).argmax()) / rate


def test_frames_come_at_their_time_at_any_rate(clip_file: Path) -> None:
    facts = video_facts(clip_file)
    assert (facts.size, facts.sound_tracks, round(facts.seconds, 3)) == ((16, 16), 1, 0.8)
    for rate in (25.0, 10.0, 60.0):
        clip = open_clip(clip_file, Framing(size=16, frames_per_second=rate))
        assert len(clip.frames) == round(0.8 * rate)
        seen = clip.frames[:, 0, 12, 8].astype(int)
        shown = np.floor(clip.seconds * 25 + 1e-6) * 8
        assert np.abs(seen - shown).max() <= 6, rate


def test_a_variable_frame_rate_keeps_its_time(tmp_path: Path) -> None:
    path, stamps = tmp_path / "vfr.mp4", [0, 1, 2, 12, 13]
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 25)
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 40 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    seen = open_clip(path, FRAMING).frames[:, 0, 8, 8].astype(int)
    wanted = np.asarray([0, 40, *[80] * 10, 120, 160])
    assert np.abs(seen[:14] - wanted).max() <= 6


def phone_clip(path: Path) -> Path:
    """A clip of 64 x 32 pixels that is to be shown turned by a quarter, clockwise."""
    encode(path, counting_frames(4, height=32, width=64), click(0, 0.16), frames_per_second=25)
    return shown_by(path, 0, 1, -1, 0)


def shown_by(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Give a clip of 64 x 32 pixels a matrix by which column p and row q are shown at column a p + c q and row b p + d q."""
    data = bytearray(path.read_bytes())
    matrix, one = data.index(b"tkhd") + 4 + 40, 1 << 16
    column, row = (64 * (p < 0) + 32 * (q < 0) for p, q in ((a, c), (b, d)))
    data[matrix : matrix + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, column * one, row * one, 1 << 30)
    path.write_bytes(data)
    return path


def test_a_phone_clip_is_seen_upright(tmp_path: Path) -> None:
    path = phone_clip(tmp_path / "phone.mp4")
    assert video_facts(path).size == (32, 64)
    frame = open_clip(path, Framing(size=16)).frames[0, 0].astype(int)
    assert frame[8, 12] > frame[8, 3] + 20  # what was at the top is at the right


@pytest.mark.parametrize(
    ("matrix", "seen"),
    [
        ((1, 0, 0, 1), "abcd"),
        ((-1, 0, 0, 1), "badc"),  # a selfie that is mirrored
        ((1, 0, 0, -1), "cdab"),
        ((-1, 0, 0, -1), "dcba"),
        ((0, 1, -1, 0), "cadb"),
        ((0, -1, 1, 0), "bdac"),
        ((0, 1, 1, 0), "acbd"),
    ],
)
def test_a_mirrored_clip_is_seen_as_it_is_shown(matrix: tuple[int, int, int, int], seen: str, tmp_path: Path) -> None:
    """Quarters a b over c d."""
    quarters = np.repeat(np.repeat(np.asarray([[20, 90], [160, 230]], np.uint8), 16, 0), 32, 1)
    encode(tmp_path / "a.mp4", np.broadcast_to(quarters, (2, 3, 32, 64)), click(0, 0.08), frames_per_second=25)
    frame = open_clip(shown_by(tmp_path / "a.mp4", *matrix), Framing(size=32)).frames[0, 0].astype(int)
    levels = frame[8, 8], frame[8, 24], frame[24, 8], frame[24, 24]
    assert "".join("abcd"[round((level - 20) / 70)] for level in levels) == seen


def test_a_codec_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(path, counting_frames(4), click(0, 0.16), frames_per_second=25)
    path.write_bytes(path.read_bytes().replace(b"fLaC", b"zzzC"))
    with pytest.raises(UserError, match="its sound is of a codec that is not known here"):
        open_sound(path)
    assert inspect_sound_file(path)["streams"][1] == "audio of an unknown codec"
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(UserError, match="its pictures are of a codec that is not known here"):
        video_facts(path)


def test_an_mp3_is_heard_when_it_sounds(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with av.open(path, "w") as file:
        track = file.add_stream("libmp3lame", rate=16_000, layout="mono")
        block = av.AudioFrame.from_ndarray(click(0.4, 1.0).samples, format="fltp", layout="mono")
        block.sample_rate, block.time_base, block.pts = 16_000, Fraction(1, 16_000), 0
        file.mux(track.encode(block))
        file.mux(track.encode(None))
    assert loudest(path) == pytest.approx(0.4, abs=2e-3)


def test_frames_of_8k_are_shrunk_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "8k.mp4"
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        for _ in range(2):
            frame = av.VideoFrame(7680, 4320, "yuv420p")
            for plane, level in zip(frame.planes, (126, 128, 128), strict=True):
                plane.update(bytes([level]) * plane.buffer_size)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert video_facts(path).size == (7680, 4320)
    frames = open_clip(path, FRAMING).frames
    assert frames.shape == (2, 3, 16, 16)
    assert np.abs(frames.astype(int) - 128).max() <= 4


def test_a_file_that_tells_no_frame_rate(clip_file: Path, tmp_path: Path) -> None:
    data = bytearray(clip_file.read_bytes())
    lasts = data.index(b"stts") + 12
    assert struct.unpack(">i", data[lasts : lasts + 4])[0] > 0
    data[lasts : lasts + 4] = bytes(4)
    (tmp_path / "zero.mp4").write_bytes(data)
    assert 1 <= len(open_clip(tmp_path / "zero.mp4", FRAMING).frames) <= 20


def test_sound_is_on_the_clock_of_the_pictures(clip_file: Path, tmp_path: Path) -> None:
    assert loudest(clip_file) == pytest.approx(0.4, abs=1e-4)
    assert loudest(clip_file, 48_000) == pytest.approx(0.4, abs=1e-3)
    for delay in (0.3, -0.3):
        path = tmp_path / f"late{delay}.mkv"
        with av.open(clip_file) as source, av.open(path, "w") as target:
            copies = {stream: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    shift = delay if packet.stream.type == "audio" else 0.0
                    packet.pts += round((1 + shift) / packet.time_base)
                    packet.dts += round((1 + shift) / packet.time_base)
                    packet.stream = copies[packet.stream]
                    target.mux(packet)
        assert loudest(path) == pytest.approx(0.4 + delay, abs=2e-3)
        assert next(timed_frames(path, FRAMING))[0] == 0.0


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_pictures_are_copied_and_the_sound_is_in_time(clip_file: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    keep = ending != ".mov"  # which holds no FLAC
    mux(clip_file, [click(0.1, 0.4), click(0.2, 0.4)], path, MADE, keep_original=keep)

    def packets(file: Path) -> list[bytes]:
        with av.open(file) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(path) == packets(clip_file)
    heard = np.abs(open_sound(path, sample_rate_hz=16_000).samples[0])
    clicks = [part.argmax() / 16_000 + begin for part, begin in ((heard[:6400], 0.0), (heard[6400:], 0.4))]
    assert clicks == pytest.approx([0.1, 0.6], abs=2e-3)
    assert min(heard[:6400].max(), heard[6400:].max()) > 0.5
    assert video_facts(path).sound_tracks == 1 + keep
    again = path.with_name("again.mp4")
    mux(path, [click(0.1, 0.4)], again, MADE)
    assert packets(again) == packets(clip_file)
    assert np.array_equal(open_clip(again, FRAMING).frames, open_clip(clip_file, FRAMING).frames)
    assert read_sound_provenance(path) == MADE
    assert inspect_file(path)["made_by_trained_algorithm"]


def filmed(path: Path, codec: str, *, frames: int = 20, sound_at: float | None = None, **options: str) -> Path:
    """A clip of 64 x 64 by any encoder, with a click on the container's own clock where one is asked for."""
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    with av.open(path, "w") as file:
        pictures = file.add_stream(codec, rate=25, options=options)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        track = file.add_stream("pcm_s16le", rate=16_000) if sound_at is not None else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 8 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(pictures.encode(frame))
        file.mux(pictures.encode(None))
        if track is not None and sound_at is not None:
            block = av.AudioFrame.from_ndarray((click(sound_at, 0.8).samples * 32767).astype(np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = 16_000, 0, Fraction(1, 16_000)
            file.mux(track.encode(block))
            file.mux(track.encode(None))
    # SVT-AV1, run by root, gives its caller real-time priority, and all tests behind would starve what runs beside them.
    os.sched_setscheduler(0, *usual)
    return path


@pytest.mark.parametrize(("codec", "ending"), [("libsvtav1", ".mp4"), ("libsvtav1", ".webm"), ("mpeg2video", ".mkv")])
def test_pictures_of_codecs_that_are_only_read_are_copied(codec: str, ending: str, tmp_path: Path) -> None:
    clip = filmed(tmp_path / "clip.mkv", codec)
    mux(clip, [click(0.2, 0.8)], tmp_path / f"out{ending}", MADE)
    assert video_facts(tmp_path / f"out{ending}").codec == video_facts(clip).codec
    assert np.array_equal(open_clip(tmp_path / f"out{ending}", FRAMING).frames, open_clip(clip, FRAMING).frames)
    assert loudest(tmp_path / f"out{ending}") == pytest.approx(0.2, abs=0.01)


def test_time_stamps_that_go_back_are_told(tmp_path: Path) -> None:
    with av.open(filmed(tmp_path / "clip.mkv", "ffv1", frames=4)) as source, av.open(tmp_path / "back.mkv", "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.dts, packet.pts = 40 * number, (0, 160, 80, 200)[number]
            packet.stream = copy
            target.mux(packet)
    with pytest.raises(UserError, match=r"back\.mkv: its time stamps go back \(frame 2 .* 0\.08 s after the first, the one before it 0\.16 s\)"):
        open_clip(tmp_path / "back.mkv", FRAMING)
    assert inspect_clip(tmp_path / "back.mkv").problems == ("unreadable or cut off",)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_frames_that_are_told_out_of_order_begin_when_the_first_is_shown(ending: str, tmp_path: Path) -> None:
    clip = filmed(tmp_path / "clip.avi", "mpeg4", sound_at=0.4, bf="2")
    late = first_second(clip)
    assert late > 0  # what its stream tells is 0
    assert loudest(clip) == pytest.approx(0.4 - late, abs=2e-3)
    mux(clip, [click(0.2, 0.8)], tmp_path / f"out{ending}", MADE)
    assert loudest(tmp_path / f"out{ending}") == pytest.approx(0.2, abs=2e-3)


def test_a_title_in_another_encoding_is_no_matter(tmp_path: Path) -> None:
    clip = filmed(tmp_path / "clip.avi", "mpeg4", sound_at=0.4)
    with av.open(clip) as source, av.open(tmp_path / "titled.avi", "w") as target:
        target.metadata["title"] = "Xfxr"
        copies = {stream: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream]
                target.mux(packet)
    told = (tmp_path / "titled.avi").read_bytes()
    assert b"Xfxr" in told
    (tmp_path / "titled.avi").write_bytes(told.replace(b"Xfxr", b"F\xfcr\xe9"))
    assert video_facts(tmp_path / "titled.avi").size == (64, 64)
    assert inspect_file(tmp_path / "titled.avi")["provenance"] is None
    assert not inspect_clip(tmp_path / "titled.avi").problems


def test_a_track_that_goes_on_with_fewer_channels_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "broadcast.ts"
    parts = []
    for number, layout in enumerate(("stereo", "mono")):
        part = tmp_path / f"{layout}.ts"
        with av.open(part, "w", format="mpegts") as file:
            track = file.add_stream("mp2", rate=48_000, bit_rate=128_000)
            track.layout = layout
            tone = np.full((len(track.layout.channels), 48_000), 0.25 * (number + 1), np.float32) * np.sin(np.arange(48_000) / 9).astype(np.float32)
            block = av.AudioFrame.from_ndarray((tone * 32767).astype(np.int16).T.reshape(1, -1).copy(), format="s16", layout=layout)
            block.sample_rate, block.pts, block.time_base = 48_000, 48_000 * number, Fraction(1, 48_000)
            file.mux(track.encode(block))
            file.mux(track.encode(None))
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    heard = open_sound(path)
    assert len(heard.samples) == 2
    assert heard.seconds == pytest.approx(2.0, abs=0.1)
    assert np.abs(heard.samples[:, -20_000:-9_000]).max() == pytest.approx(0.5 / 2**0.5, abs=0.03)  # what one channel gives to each of two


def test_frames_are_found_at_any_seconds(clip_file: Path) -> None:
    every = open_clip(clip_file, FRAMING).frames
    seconds = [0.0, 0.0, 0.07, 0.4, 0.41, 0.79, 5.0]
    found = frames_at(clip_file, FRAMING, seconds)
    assert all(np.array_equal(frame, every[min(19, int(second * 25 + 1e-6))]) for frame, second in zip(found, seconds, strict=True))


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_sound_files_say_how_they_were_made(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"sound{ending}"
    save_sound([click(0.1, 0.4), click(0.2, 0.4)], path, MADE)
    assert read_sound_provenance(path) == MADE
    assert open_sound(path).seconds == pytest.approx(0.8)
    assert inspect_file(path)["made_by_trained_algorithm"]
    with pytest.raises(UserError, match=r"not written as '\.xyz'"):
        save_sound([click(0, 1)], tmp_path / "a.xyz", MADE)


def test_what_cannot_be_read_is_one_line(clip_file: Path, tmp_path: Path) -> None:
    whole = clip_file.read_bytes()
    broken = {"none.mp4": None, "empty.mp4": b"", "text.mp4": b"not a video at all", "cut.mp4": whole[: len(whole) // 2]}
    for name, data in broken.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name):
            open_clip(tmp_path / name, FRAMING)
    with pytest.raises(UserError, match=r"there is no frame in 0\.01 seconds at 25 frames a second\. Ask for 0\.04"):
        open_clip(clip_file, Framing(size=16), seconds=0.01)
    encode(tmp_path / "tick.mp4", np.zeros((2, 3, 16, 16), np.uint8), click(0, 0.01), frames_per_second=30_000)
    with pytest.raises(UserError, match=r"tick\.mp4: it lasts no longer than one frame"):
        open_clip(tmp_path / "tick.mp4", FRAMING)
    assert len(shown_frames(clip_file, seconds=0.001)[0]) == 1
    save_sound([click(0, 0.5)], tmp_path / "sound.wav", MADE)
    with pytest.raises(UserError, match="there is no video in it"):
        open_clip(tmp_path / "sound.wav", FRAMING)
    Image.new("RGB", (16, 16)).save(tmp_path / "still.gif", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")])
    with pytest.raises(UserError, match="there is no sound"):
        open_sound(tmp_path / "still.gif")
    with pytest.raises(UserError, match=r"cannot be copied into \.mp4"):
        mux(tmp_path / "still.gif", [click(0, 0.5)], tmp_path / "still.mp4", MADE)
    assert not (tmp_path / "still.mp4").exists()


def test_what_is_wrong_with_a_clip_is_told_in_words(tmp_path: Path) -> None:
    save_sound([click(0, 0.5)], tmp_path / "sound.wav", MADE)
    (tmp_path / "there is no video.mp4").write_bytes(b"not a video at all")
    found = [inspect_clip(tmp_path / name).problems for name in ("sound.wav", "there is no video.mp4")]
    assert found == [("no video in it",), ("unreadable or cut off",)]


def test_a_mel_spectrogram_shows_pitch_and_moment() -> None:
    rate, seconds = 16_000, np.arange(16_000) / 16_000
    tone = torch.from_numpy(np.sin(2 * np.pi * 1000 * seconds) * (seconds > 0.5)).float()
    levels = log_mel(tone, Mel())
    assert levels.shape == (64, 125)
    loud = int(levels[:, 100].argmax())
    other = log_mel(torch.from_numpy(np.sin(2 * np.pi * 2000 * seconds)).float(), Mel())
    assert int(other[:, 100].argmax()) > loud
    onset = (levels[loud] > levels[loud, 100] - 1).nonzero()[0, 0].item()
    assert abs(onset * 128 / rate - 0.5) < 0.017


def test_modalities_lead_values_in_and_out() -> None:
    known, framing = modalities(), Framing(size=16, frames_per_second=10, sample_rate_hz=8000, clip_seconds=1.0)
    clip = Clip(counting_frames(3), np.asarray([0.0, 0.5, 0.7]))
    frames = known["video"].to_inputs([clip], framing)
    assert frames[0, :, 0, 12, 0].tolist() == [0, 0, 0, 0, 0, 8, 8, 16, 16, 16]
    heard = known["audio"].to_inputs([click(0.25, 0.5)], framing)
    assert heard.shape == (1, 8000)
    back = known["audio"].to_outputs(heard, framing)[0]
    assert back.sample_rate_hz == 8000
    figure, _, needed = known["audio"].closeness(heard, heard)  # type: ignore[misc]
    assert figure == pytest.approx(100, abs=0.01)
    assert known["audio"].closeness(heard, heard.flip(-1))[0] < needed  # type: ignore[misc]


def test_a_timeline_marks_events() -> None:
    sound = click(0.5, 1.0).samples[0]
    shown = np.asarray(timeline(list(counting_frames(4)), [sound], 16_000, events=[0.25], width=400))
    assert (shown[60, 12 + 100] == (214, 69, 48)).all()
    assert next(index for index in count() if (shown[-30, index] == (214, 69, 48)).all()) == 112


def test_what_is_told_of_a_clip_and_its_tracks_is_kept(clip_file: Path, tmp_path: Path) -> None:
    told, path = tmp_path / "told.mkv", tmp_path / "out.mkv"
    with av.open(clip_file) as source, av.open(told, "w") as file:
        file.metadata["title"] = "A clip"
        tracks = {stream.index: file.add_stream_from_template(stream, opaque=True) for stream in source.streams}
        for track in tracks.values():
            track.metadata.update({"language": "zho", "title": "a track"})
        for packet in source.demux():
            if packet.size:
                packet.stream = tracks[packet.stream.index]
                file.mux(packet)
    mux(told, [click(0.4, 0.8)], path, MADE, keep_original=True)
    with av.open(path) as file:
        assert file.metadata["title"] == "A clip"
        video, _, kept = file.streams
        assert (video.metadata["title"], kept.metadata["language"]) == ("a track", "zho")
    assert read_sound_provenance(path) == MADE


def test_each_strip_of_a_timeline_has_its_own_marks() -> None:
    sounds = [click(second, 1.0).samples[0] for second in (0.25, 0.75)]
    shown = np.asarray(timeline(list(counting_frames(4)), sounds, 16_000, marks=[[0.25], [0.75]], width=400))
    red, strip = (shown == (214, 69, 48)).all(-1), 56 + 128
    assert red[60, 112]  # the first goes on through the key frames
    assert not red[60, 312]
    second = shown.shape[0] - 24 - strip // 2
    assert [bool(red[row, column]) for row in (second - strip, second) for column in (112, 312)] == [True, False, False, True]


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_video_without_an_index_that_is_cut_is_told(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    with av.open(whole, "w", options={"movflags": "frag_keyframe+empty_moov"} if ending == ".mp4" else {}) as file:
        stream = file.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    whole.write_bytes(whole.read_bytes().replace(b"DURATION", b"REMARKED"))  # not every program writes Matroska's tag
    assert len(open_clip(whole, FRAMING).frames) == 40
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(UserError, match=r"cut off: .* bytes of"):
        open_clip(cut, FRAMING)
    whole.write_bytes(whole.read_bytes() + b"\xff" * 100)  # what players ignore
    assert len(open_clip(whole, FRAMING).frames) == 40


def test_a_long_spectrogram_is_the_short_ones_side_by_side() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 2000).astype(np.float32)
    whole = np.asarray(timeline(list(counting_frames(4)), [noise], 2000, begin=30.0, width=300))
    third = np.asarray(timeline(list(counting_frames(4)), [noise[40 * 2000 :]], 2000, width=300))
    top = 12 + 75 + 6 + 56
    shrunk = np.asarray(Image.fromarray(third[top : top + 128, 12:312]).resize((100, 128), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(whole[top : top + 128, 212:312].astype(int) - shrunk).mean() < 4
    assert stacked([Image.new("RGB", (4, 3)), Image.new("RGB", (4, 5))]).size == (4, 8)


def test_a_phone_clip_stays_upright_when_it_is_copied(tmp_path: Path) -> None:
    clip = phone_clip(tmp_path / "phone.mp4")
    for ending in (".mp4", ".mkv"):
        mux(clip, [click(0.1, 0.16)], tmp_path / f"out{ending}", MADE)
        assert video_facts(tmp_path / f"out{ending}").size == (32, 64)


def test_what_is_written_to_be_shown(clip_file: Path, tmp_path: Path) -> None:
    audio, video = modalities()["audio"], modalities()["video"]
    sound = click(0.24, 0.6)
    alone = audio.show(sound, None, tmp_path / "alone")
    assert alone.suffix == ".wav"
    assert audio.open is not None
    assert np.abs(audio.open(alone, FRAMING).samples - sound.samples).max() < 1e-4
    assert audio.show(sound, tmp_path / "words.txt", tmp_path / "of-words").suffix == ".wav"
    both = audio.show(sound, clip_file, tmp_path / "both")
    facts = video_facts(both)
    assert (both.suffix, facts.sound_tracks, facts.codec, round(facts.seconds, 2)) == (".mp4", 1, "h264", 0.6)  # as long as the sound
    assert abs(loudest(both) - 0.24) < 0.01
    seen = open_clip(both, FRAMING).frames[:, 0, 12, 8].astype(int)
    assert np.abs(seen - 8 * np.arange(15)).max() <= 8
    assert video.open is not None
    clip = video.open(clip_file, Framing(size=16, clip_seconds=0.4))
    assert len(clip.frames) == 10
    for made_from in (clip_file, None):
        shown = video_facts(video.show(clip, made_from, tmp_path / "silent"))
        assert (shown.sound_tracks, shown.size, round(shown.seconds, 2), shown.frames_per_second) == (0, (16, 16), 0.4, 25)
