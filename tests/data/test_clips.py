import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from tonggan.data.check import check
from tonggan.data.layouts import recognise
from tonggan.data.loader import Loader, batch_of
from tonggan.data.pack import Pack, ensure_pack, pack
from tonggan.data.synthesis.foley import encode, make_foley
from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound, open_sound
from tonggan.modalities.video import open_clip

SHARED = Path(__file__).parents[3] / "shared" / "data"
FRAMING = Framing(size=32, frames_per_second=12.5, sample_rate_hz=8000, clip_seconds=1.6)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "foley"
    make_foley(folder, clips=10, seed=1, framing=Framing(size=32, clip_seconds=4.0))
    return folder


@pytest.fixture(scope="module")
def packed(made: Path) -> Pack:
    return pack(made, framing=FRAMING, out=made.parent / "pack")


def tone(seconds: float = 1.0, level: float = 0.5) -> Sound:
    return Sound((level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 8000)) / 8000)).astype(np.float32)[None], 8000)


def video(path: Path, sound: Sound, *, frames: int = 25) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 16, 16), np.uint8), sound, frames_per_second=25)


def test_a_pack_of_clips_holds_what_the_files_do(made: Path, packed: Pack) -> None:
    assert (packed.modality, packed.facts["splits"]) == ("video", {"train": 9, "test": 1})
    row = packed.row(3)
    assert row.tags["events"]
    path = made / row.file_name
    assert np.array_equal(packed.items("frames", 3), open_clip(path, FRAMING).frames)
    heard = open_sound(path, sample_rate_hz=8000).mono()
    assert np.abs(packed.items("samples", 3) / 32_767 - heard).max() < 1e-4
    assert Pack.open(packed.path).content_hash == packed.content_hash
    with pytest.raises(UserError, match="a pack of video, without pictures"):
        _ = packed.pictures


def test_windows_of_picture_and_sound_are_of_the_same_time(packed: Pack) -> None:
    batch = batch_of(packed, np.asarray([3, 4, 5]), ["", "", ""], places=np.asarray([0.0, 0.5, 0.999]))
    assert batch.inputs["video"].shape == (3, 20, 3, 32, 32)
    assert batch.inputs["audio"].shape == (3, 12_800)
    for number, (index, first) in enumerate(((3, 0), (4, 15), (5, 30))):
        assert np.array_equal(batch.inputs["video"][number].numpy(), packed.items("frames", index)[first : first + 20])
        assert np.allclose(batch.inputs["audio"][number].numpy() * 32_767, packed.items("samples", index)[first * 640 :][:12_800], atol=1e-2)


def test_windows_depend_on_seed_and_position_alone(packed: Pack) -> None:
    one, many = (Loader(packed, packed.indices("train"), batch_size=size, seed=3) for size in (1, 12))
    batch = many.batch(5)
    singles = [one.batch(position) for position in range(5, 17)]
    assert all(np.array_equal(batch.targets["audio"][i], single.targets["audio"][0]) for i, single in enumerate(singles))
    assert batch.inputs["text"][0]


def test_a_short_clip_goes_on_with_its_last_frame_and_silence(tmp_path: Path) -> None:
    video(tmp_path / "set" / "a.mp4", tone())
    short = pack(tmp_path / "set", framing=FRAMING, out=tmp_path / "pack")
    batch = batch_of(short, np.asarray([0]), [""], places=np.asarray([0.9]))
    assert (batch.inputs["video"][0, 12] == batch.inputs["video"][0, -1]).all()
    assert not batch.inputs["audio"][0, 8000:].any()
    assert batch.inputs["audio"][0, :8000].abs().max() > 0.4


def test_findings(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    video(folder / "good.mp4", tone())
    video(folder / "silent.mp4", tone(level=0.0))
    video(folder / "clipped.mp4", tone(level=3.0))
    video(folder / "short.mp4", tone(0.5))
    video(folder / "one.mp4", tone(), frames=1)
    video(folder / "test" / "double.mp4", tone())
    video(folder / "drifts.mp4", tone(4.16), frames=100)
    video(folder / "long.mp4", tone(2.0))
    damaged(folder / "good.mp4", folder / "damaged.mp4")
    (folder / "broken.mp4").write_bytes((folder / "good.mp4").read_bytes()[:900])
    shutil.copy(folder / "good.mp4", folder / "mute.mp4")
    _without_sound(folder / "mute.mp4")
    report = check(folder)
    unreadable = dict.fromkeys(("broken.mp4", "damaged.mp4"), "unreadable or cut off")
    assert report.problems == unreadable | {"mute.mp4": "no sound track", "one.mp4": "one frame"}
    assert report.remarks == {
        "silent": ["silent.mp4"],
        "clipped": ["clipped.mp4"],
        "sound shorter than picture": ["short.mp4"],
        "sound longer than picture": ["drifts.mp4", "long.mp4"],
        "drift (lengths of sound and picture differ a little)": ["drifts.mp4"],
    }
    assert report.duplicates == (("good.mp4", "test/double.mp4"),)
    assert report.has_errors
    kept = pack(folder, framing=FRAMING, out=tmp_path / "pack", max_broken_rate=0.5)
    assert set(kept.facts["skipped"]) == set(report.problems)


def damaged(clip: Path, path: Path) -> None:
    """Copy a clip whose frames in the middle are no longer what they were."""
    data = bytearray(clip.read_bytes())
    with av.open(clip) as container:
        named = [(entry.pos, entry.size) for entry in container.streams.video[0].index_entries]
    for first, size in named[8:14]:
        data[first : first + size] = b"U" * size
    path.write_bytes(data)


def _without_sound(path: Path) -> None:
    beside = path.with_name("beside.mp4")
    with av.open(path) as source, av.open(beside, "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    beside.replace(path)


def test_sound_of_the_same_name_and_folders_of_sounds(tmp_path: Path) -> None:
    from tonggan.modalities.provenance import Provenance
    from tonggan.modalities.sound_files import save_sound

    said = Provenance(None, None, 0, "", "", {}, None, "", "")
    video(tmp_path / "set" / "train" / "a.mp4", tone(level=0.1))
    (tmp_path / "set" / "train" / "a.txt").write_text("a tone")
    save_sound([tone(level=0.9)], tmp_path / "set" / "audio" / "a.wav", said)
    row = next(recognise(tmp_path / "set").rows())
    assert (row.captions["en"], row.split, row.sound) == (("a tone",), "train", tmp_path / "set" / "audio" / "a.wav")
    apart = pack(tmp_path / "set", framing=FRAMING, out=tmp_path / "pack")
    assert np.abs(apart.items("samples", 0)).max() > 0.8 * 32_767
    sounds = recognise(tmp_path / "set" / "audio")
    assert sounds.modality == "audio"
    alone = ensure_pack(tmp_path / "set" / "audio", framing=FRAMING, cache=tmp_path)
    assert batch_of(alone, np.asarray([0]), [""]).inputs.keys() == {"text", "audio"}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("set.tsv", "id\tlabel\tsplit\na\tdog barking\ttest\n"),
        ("set.csv", "name,caption\na,dog barking\n"),
        ("set.csv", "id,file,caption,split\n7,clips/a.mp4,dog barking,test\n"),
        ("set.tsv", "id\tfile\tcaption\tsplit\n7\tclips/a.mp4\tdog barking\ttest\n"),
        ("vggsound.csv", "b,30,dog barking,test\n"),
        ("vggsound.csv", 'b,30,"dog barking",test\nb,30,"child speech, kid speaking",train\n'),
    ],
)
def test_tables_of_clips(tmp_path: Path, name: str, table: str) -> None:
    video(tmp_path / "clips" / ("b_000030.mp4" if name == "vggsound.csv" else "a.mp4"), tone())
    (tmp_path / name).write_text(table)
    found = recognise(tmp_path)
    row = next(found.rows())
    assert (found.layout, found.modality, found.missing_pictures) == ("table", "video", ())
    assert row.captions == {"en": ("dog barking",)}
    assert row.source.path.is_file()
    assert row.split == ("test" if "test" in table else "train")


def test_clips_that_a_table_names_are_looked_for_in_any_folder(tmp_path: Path) -> None:
    video(tmp_path / "downloads" / "b" / "-b_000030.mp4", tone())
    (tmp_path / "vggsound.csv").write_text('-b,30,"child speech, kid speaking",train\nc,1,dog barking,test\n')
    found = recognise(tmp_path)
    rows = list(found.rows())
    assert (found.modality, found.missing_pictures) == ("video", ("c_000001",))
    assert rows[0].source.path == tmp_path / "downloads" / "b" / "-b_000030.mp4"
    assert rows[0].captions == {"en": ("child speech, kid speaking",)}
    assert [row.split for row in rows] == ["train", "test"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")
def test_game_clips_as_they_are() -> None:
    found = recognise(SHARED / "game_clips")
    rows = list(found.rows())
    assert (found.modality, len(rows), found.missing_pictures) == ("video", 844, ())
    assert rows[0].tags["events"][0] == [0.6, "shot"]
    assert rows[0].captions["en"][0].startswith("first-person shooter")


def test_folders_of_sounds_are_of_splits_in_any_case(tmp_path: Path) -> None:
    folders = {"Train": "train", "Test": "test", "dev-clean": "validation", "dogs": "train"}
    for folder in folders:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").write_bytes(b"x")
    assert {row.file_name: row.split for row in recognise(tmp_path).rows()} == {f"{folder}/a.wav": split for folder, split in folders.items()}
