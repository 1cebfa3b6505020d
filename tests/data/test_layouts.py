import io
import json
import re
import shutil
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tonggan.data.check import check
from tonggan.data.layouts import recognise
from tonggan.data.layouts.splits import split_named
from tonggan.data.layouts.tables import read_table
from tonggan.data.pack import pack
from tonggan.errors import UserError

SHARED = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")


def picture(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8)).save(path)


@real
def test_coco_in_its_own_layout() -> None:
    found = recognise(SHARED / "coco_mini")
    rows = list(found.rows())
    assert found.layout == "coco"
    assert [sum(row.split == split for row in rows) for split in ("train", "validation")] == [80, 79]
    assert sum(len(texts) for row in rows for texts in row.captions.values()) == 400 + 395
    assert len(found.uncaptioned) == 80
    truth = json.loads((SHARED / "coco_mini" / "annotations" / "captions_train2017.json").read_text())
    first = truth["annotations"][0]
    name = next(image["file_name"] for image in truth["images"] if image["id"] == first["image_id"])
    assert " ".join(first["caption"].split()) in next(row for row in rows if row.file_name == name).captions["en"]


@real
@pytest.mark.parametrize(("name", "count"), [("flickr8k_1k", 1000), ("openclipart", 5534), ("emoji", 14930)])
def test_real_tables(name: str, count: int) -> None:
    found = recognise(SHARED / name)
    assert found.layout == "table"
    assert sum(1 for _ in found.rows()) == count
    assert not found.missing_pictures


def test_flickr8k_in_both_forms(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "Images" / f"{name}.jpg")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,A dog , running\na.jpg,Two\nb.jpg,A cat\n")
    assert next(recognise(tmp_path).rows()).captions["en"] == ("A dog , running", "Two")
    (tmp_path / "Flickr8k.token.txt").write_text("a.jpg#0\tA dog\na.jpg#1\tTwo\nb.jpg#0\tA cat\n")
    (tmp_path / "Flickr_8k.testImages.txt").write_text("b.jpg\n")
    found = recognise(tmp_path)
    assert found.layout == "flickr8k"
    assert [(row.file_name, row.split) for row in found.rows()] == [("a.jpg", "train"), ("b.jpg", "test")]


def test_rows_of_a_table_that_name_the_same_file_are_one(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    rows = ["a.png,a dog,train,1", "a.png,two dogs,train,2", "b.png,a cat,train,3", "a.png,a dog,train,4", "a.png,seen again,test,5"]
    (tmp_path / "pairs.csv").write_text("\n".join(["file,caption,split,place", *rows]))
    found = recognise(tmp_path)
    assert "5 rows of 3 pictures" in found.description
    assert [(row.file_name, row.split, row.captions["en"], row.tags["place"]) for row in found.rows()] == [
        ("a.png", "train", ("a dog", "two dogs"), "1"),
        ("b.png", "train", ("a cat",), "3"),
        ("a.png", "test", ("seen again",), "5"),
    ]
    assert check(tmp_path).duplicates == (("a.png", "b.png", "a.png"),)


def test_pictures_alike_under_two_names_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("a cat")
    assert check(tmp_path).repeated == (("a.png", "b.png"),)


def test_sidecar_and_its_orphans(tmp_path: Path) -> None:
    for name in ("1", "2"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "1.txt").write_text("a cat")
    (tmp_path / "9.txt").write_text("alone")
    found = recognise(tmp_path)
    assert [row.captions["en"] for row in found.rows()] == [("a cat",)]
    assert (found.missing_pictures, found.uncaptioned) == (("9.txt",), ("2.png",))


def test_sidecars_are_found_however_deep_and_go_by_the_nearest_split(tmp_path: Path) -> None:
    for place in ("1.png", "cats/2.png", "Test/cats/black/3.png", "a/b/val/4.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        picture(tmp_path / place)
        (tmp_path / place).with_suffix(".txt").write_text("a cat")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "cats", target_is_directory=True)
    found = {row.file_name: row.split for row in recognise(tmp_path).rows()}
    assert found == {
        "1.png": "train",
        "cats/2.png": "train",
        "elsewhere/2.png": "train",
        "Test/cats/black/3.png": "test",
        "a/b/val/4.png": "validation",
    }


def test_webdataset(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    with tarfile.open(tmp_path / "train-000.tar", "w") as shard:
        for name, data in {"a.png": buffer.getvalue(), "a.txt": b"red", "b.png": buffer.getvalue(), "b.json": b'{"caption": "two", "x": 1}'}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
        for name in ("c.txt", "d.png"):
            member = tarfile.TarInfo(name)
            member.size = len(buffer.getvalue())
            shard.addfile(member, io.BytesIO(buffer.getvalue()))
    found = recognise(tmp_path)
    assert (found.missing_pictures, found.uncaptioned) == (("c in train-000.tar",), ("d.png",))
    rows = list(found.rows())[:2]
    assert [row.captions["en"] for row in rows] == [("red",), ("two",)]
    assert rows[0].source.read() == buffer.getvalue()
    assert rows[1].tags == {"x": 1}
    for name in ("cc3m-validation-0000.tar", "val_0001.tar", "Dev/0.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "train-000.tar", tmp_path / name)
    assert Counter(row.split for row in recognise(tmp_path).rows()) == {"train": 3, "validation": 9}
    assert {row.split for row in recognise(tmp_path / "val_0001.tar").rows()} == {"validation"}


def test_csv_and_tsv(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "list.tsv").write_text("filepath\ttitle\na.png\ta dog\n")
    assert next(recognise(tmp_path).rows()).captions["en"] == ("a dog",)


def test_a_table_for_each_split_and_pictures_that_none_names(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "pictures" / f"{name}.png")
    (tmp_path / "train.csv").write_text("path,caption\npictures/a.png,a dog\n")
    (tmp_path / "test.csv").write_text("path,caption\npictures/b.png,a cat\n")
    (tmp_path / "notes.csv").write_text("who,what\nme,nothing\n")
    found = recognise(tmp_path)
    assert {row.file_name: row.split for row in found.rows()} == {"pictures/a.png": "train", "pictures/b.png": "test"}
    assert found.uncaptioned == ("pictures/c.png",)
    assert found.notes == (f"{tmp_path}: tables left aside: notes.csv. Of several, those named after splits (train.csv, test.csv) are read.",)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Train.csv", "Test.csv"), ("train", "test")),
        (("captions_train.csv", "captions-VAL2017.csv"), ("train", "validation")),
        (("captions.csv", "captions_test.csv"), ("train", "test")),
        (("a.train.jsonl.csv", "a.train-val.csv"), ("train", "validation")),
        (("attested.csv", "devices.csv"), ("train", None)),
    ],
)
def test_tables_named_after_splits_in_any_case(names: tuple[str, str], splits: tuple[str, str | None], tmp_path: Path) -> None:
    for name, letter in zip(names, "ab", strict=True):
        picture(tmp_path / f"{letter}.png")
        (tmp_path / name).write_text(f"path,caption\n{letter}.png,a dog\n")
    (tmp_path / "sums.csv").write_text("who,what\nme,nothing\n")
    found = recognise(tmp_path)
    read = {row.file_name: row.split for row in found.rows()}
    assert read == {f"{letter}.png": split for letter, split in zip("ab", splits, strict=True) if split}
    assert ("sums.csv" in found.notes[0], names[1] in found.notes[0]) == (True, splits[1] is None)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("test", "test"),
        ("Test", "test"),
        ("val2017", "validation"),
        ("test-clean", "test"),
        ("cc3m-validation-0000", "validation"),
        ("val_0001", "validation"),
        ("Training set", "train"),
        ("train-val", "validation"),
        ("test_of_train", "test"),
        ("contest", None),
        ("00000", None),
        ("", None),
    ],
)
def test_words_of_names_that_stand_for_a_split(name: str, split: str | None) -> None:
    assert split_named(name) == split


def test_a_data_set_is_not_of_a_split_for_a_word_of_its_own_name(tmp_path: Path) -> None:
    for root, split in (("test-pictures", "train"), ("Test", "test")):
        picture(tmp_path / root / "a.png")
        (tmp_path / root / "metadata.csv").write_text("file_name,text\na.png,a dog\n")
        assert [row.split for row in recognise(tmp_path / root).rows()] == [split]
    assert [row.split for row in recognise(tmp_path / "Test" / "metadata.csv").rows()] == ["test"]


def test_whole_paths_in_a_table_are_of_the_pictures_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "data" / "a.png")
    (tmp_path / "data" / "train.csv").write_text(f"path,caption\n{tmp_path / 'data' / 'a.png'},a dog\n")
    monkeypatch.chdir(tmp_path)
    found = recognise(Path("data"))
    assert (found.missing_pictures, found.uncaptioned) == ((), ())


def test_a_table_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path) -> Iterator[dict[str, Any]]:
        read.append(path.name)
        return read_table(path)

    monkeypatch.setattr("tonggan.data.layouts.tables.read_table", counted)
    picture(tmp_path / "a.png")
    for name in ("test", "train"):
        (tmp_path / f"{name}.csv").write_text("path,caption\na.png,a dog\n")
    found = recognise(tmp_path)
    assert [row.split for _ in range(2) for row in found.rows()] == ["test", "train"] * 2
    assert read == ["test.csv", "train.csv"]


VGGSOUND = "abc,30,dog barking,train\n"


def test_blank_lines_of_vggsound_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "vggsound.csv").write_text(f'\n{VGGSOUND}\n , ,\n\ndef,7,"wind, rain",test\n\n')
    rows = list(read_table(tmp_path / "vggsound.csv"))
    assert rows == [{"id": "abc_000030", "label": "dog barking", "split": "train"}, {"id": "def_000007", "label": "wind, rain", "split": "test"}]


@pytest.mark.parametrize("odd", ["def,7,wind", "def,7,wind,test,more", "def,seven,wind,test", "def,,wind,test"])
def test_an_odd_line_of_vggsound_is_named(odd: str, tmp_path: Path) -> None:
    table = tmp_path / "vggsound.csv"
    table.write_text(f"{VGGSOUND}\n{odd}\n{VGGSOUND}")
    with pytest.raises(UserError, match=re.escape(f"{table}, line 3: not YouTube's number, start in seconds, label, split")):
        recognise(tmp_path)


def test_columns_that_only_look_like_languages(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    row = {"file_name": "a.png", "text": "a dog", "origin": {"id": "7", "url": "somewhere"}, "label": {"zh": "狗", "pt_BR": "cão"}}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    assert dict(next(recognise(tmp_path).rows()).captions) == {"en": ("a dog",), "zh": ("狗",), "pt_BR": ("cão",)}


def test_coco_captions_of_pictures_that_were_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    picture(tmp_path / "train2017" / "train.jpg")
    for name in ("train", "val"):
        whole = {"images": [{"id": 1, "file_name": f"{name}.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}
        (tmp_path / "annotations" / f"captions_{name}2017.json").write_text(json.dumps(whole), encoding="utf-8")
    found = recognise(tmp_path)
    assert [row.file_name for row in found.rows()] == ["train.jpg"]
    assert found.missing_pictures == ()
    assert "left out, without pictures: captions_val2017.json" in found.description


def test_coco_with_pictures_and_entries_missing(tmp_path: Path) -> None:
    picture(tmp_path / "train2017" / "1.jpg")
    whole = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2)],
        "annotations": [{"image_id": number, "caption": "a dog"} for number in (1, 2, 3)],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_train2017.json").write_text(json.dumps(whole))
    assert recognise(tmp_path).missing_pictures == ("2.jpg", "image_id 3 of captions_train2017.json")
    with pytest.raises(UserError, match=r"1 of 2 files cannot be read .*2\.jpg"):
        pack(tmp_path, out=tmp_path / "pack")
    assert pack(tmp_path, out=tmp_path / "pack", max_broken_rate=0.5).facts["skipped"].keys() == {"2.jpg"}


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    picture(tmp_path / "a.png")
    parquet.write_table(arrow.table({"file_name": ["a.png"], "text": ["a dog"]}), tmp_path / "metadata.parquet")
    assert next(recognise(tmp_path).rows()).captions["en"] == ("a dog",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metadata.jsonl", "", "the file is empty"),
        ("metadata.jsonl", '{"file_name": "a.png", "te', "line 1: JSON that is cut off"),
        ("metadata.jsonl", '{"file_name": "a.png", "captoin": "x"}', "captoin"),
        (
            "metadata.csv",
            "file_name,text\na.png,red\nb.png,a red, big triangle\n",
            "line 3: 3 cells, and the head has 2. Put texts that hold ',' in quotes",
        ),
        ("annotations/captions_train.json", '{"images": [', "JSON that is cut off"),
        ("other.dat", "x", "Looked for: annotations/captions_"),
    ],
)
def test_errors_say_what_and_where(name: str, content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    with pytest.raises(UserError, match=said):
        list(recognise(tmp_path).rows())


def test_check_names_what_is_odd_and_what_is_broken(tmp_path: Path) -> None:
    for name, mode in {"cmyk.jpg": "CMYK", "palette.png": "P", "alpha.png": "RGBA", "deep.png": "I;16", "same.png": "RGB"}.items():
        picture(tmp_path / name, mode)
    noise = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(noise, "PNG")
    (tmp_path / "cut.png").write_bytes(noise.getvalue()[:1500])
    rotated = Image.Exif()
    rotated[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "rotated.jpg", exif=rotated)
    (tmp_path / "same2.png").write_bytes((tmp_path / "same.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no")
    deep = np.zeros((4, 4, 3), dtype=">u2").tobytes()
    lines = b"".join(b"\0" + deep[row * 24 : row * 24 + 24] for row in range(4))
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(lines), b"IEND": b""}
    parts = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks.items())
    (tmp_path / "deep-colours.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    names = [file.name for file in sorted(tmp_path.iterdir())]
    rows = [{"file_name": name, "text": name, "split": "test" if name == "same2.png" else "train"} for name in [*names, "gone.png"]]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    report = check(tmp_path)
    assert report.problems == {"broken.png": "broken", "cut.png": "truncated"}
    assert report.missing_pictures == ("gone.png",)
    expected = {
        "cmyk": ["cmyk.jpg"],
        "palette": ["palette.png"],
        "alpha": ["alpha.png"],
        "16-bit": ["deep-colours.png", "deep.png"],
        "exif-rotated": ["rotated.jpg"],
    }
    assert expected == report.remarks
    assert ("same.png", "same2.png") in [names[-2:] for names in report.duplicates]
    assert report.has_errors


def test_pictures_within_parquet_shards(shapes: Path, tmp_path: Path) -> None:
    """As `datasets` writes them: bytes and path in the table, a shard's split in its name, several row groups."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pictures = sorted(shapes.glob("*.png"))[:5]
    cells = [{"bytes": path.read_bytes(), "path": path.name if number else None} for number, path in enumerate(pictures)]
    table = arrow.table({"image": cells, "text": [f"a {path.stem}" for path in pictures], "size": list(range(5))})
    (tmp_path / "set" / "data").mkdir(parents=True)
    parquet.write_table(table.slice(0, 4), tmp_path / "set" / "data" / "train-00000-of-00001-0a1b.parquet", row_group_size=3)
    parquet.write_table(table.slice(4), tmp_path / "set" / "data" / "validation-00000-of-00001.parquet")
    dataset = recognise(tmp_path / "set")
    rows = list(dataset.rows())
    assert [row.file_name for row in rows] == ["train-00000-of-00001-0a1b/000001", *(path.name for path in pictures[1:])]
    assert [row.source.read() for row in rows] == [path.read_bytes() for path in pictures]
    assert [(row.split, row.captions, row.tags) for row in rows[3:]] == [
        ("train", {"en": (f"a {pictures[3].stem}",)}, {"size": 3}),
        ("validation", {"en": (f"a {pictures[4].stem}",)}, {"size": 4}),
    ]
    packed = pack(tmp_path / "set", out=tmp_path / "pack")
    assert [np.asarray(packed.pictures[i]).transpose(1, 2, 0).tolist() for i in (0, 4)] == [
        np.asarray(Image.open(pictures[i]).convert("RGB")).tolist() for i in (0, 4)
    ]


def test_an_empty_cell_is_a_broken_picture(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"image": [b"x", None], "text": ["one", "two"]}), tmp_path / "metadata.parquet")
    one, two = recognise(tmp_path).rows()
    assert one.source.read() == b"x"
    with pytest.raises(UserError, match="row 2 of row group 1 has nothing in 'image'"):
        two.source.read()


def test_a_row_may_have_what_the_first_one_has_not(tmp_path: Path) -> None:
    rows = [
        {"file_name": "cats/0001.jpg", "text": "a grey cat on a sofa"},
        {"file_name": "cats/0002.jpg", "text": {"en": "a black cat", "zh": "一只黑猫"}, "split": "test"},
        {"image": "cats/0003.jpg", "caption": "a white cat", "split": "TEST"},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    read = list(recognise(tmp_path).rows())
    assert [row.split for row in read] == ["train", "test", "test"]
    assert [row.file_name for row in read] == [f"cats/000{number}.jpg" for number in (1, 2, 3)]
    assert [row.captions.get("en") for row in read] == [("a grey cat on a sofa",), ("a black cat",), ("a white cat",)]
    assert [dict(row.tags) for row in read] == [{}, {}, {}]


def test_a_table_with_semicolons(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name;text\n1.png;red, big\n", encoding="utf-8")
    assert [row.captions for row in recognise(tmp_path).rows()] == [{"en": ("red, big",)}]


def test_sidecars_in_capitals_count_and_empty_ones_are_named(tmp_path: Path) -> None:
    for name, text in {"1.txt": "a cat", "2.TXT": "a dog", "3.txt": " \n", "4.TXT": "alone"}.items():
        (tmp_path / name).write_text(text)
        if text != "alone":
            picture(tmp_path / f"{name[0]}.png")
    report = check(tmp_path)
    assert (report.languages["en"].captions, report.uncaptioned, report.missing_pictures) == (2, ("3.png",), ("4.TXT",))
    packed = pack(tmp_path, out=tmp_path / "pack")
    assert (len(packed), packed.facts["uncaptioned"]) == (2, 1)


def test_usual_names_of_splits_and_captions_in_columns_by_language(tmp_path: Path) -> None:
    cells = {"training": "train", "Train": "train", "val": "validation", "dev": "validation", "testing": "test", "extra": "extra"}
    lines = [f"{number}.png,a dog,一只狗,un perro,7,{cell}" for number, cell in enumerate(cells)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,text,text_zh,caption_es,text_id,split", *lines]), encoding="utf-8")
    rows = list(recognise(tmp_path).rows())
    assert [row.split for row in rows] == list(cells.values())
    assert dict(rows[0].captions) == {"en": ("a dog",), "zh": ("一只狗",), "es": ("un perro",)}
    (tmp_path / "metadata.csv").write_text("file_name,text_en,text_zh\na.png,a dog,\n", encoding="utf-8")
    assert dict(next(recognise(tmp_path).rows()).captions) == {"en": ("a dog",)}


def test_what_of_another_layout_is_left_aside_is_said(tmp_path: Path) -> None:
    for name in ("1", "2"):
        picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("a cat")
    assert recognise(tmp_path).notes == ()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "text": "a dog"}\n')
    (tmp_path / "3.wav").write_bytes(b"x")
    [note] = check(tmp_path).notes
    assert note.endswith("(metadata.jsonl); left aside: 2 captions in .txt files beside pictures, 1 file of clips or sounds.")
    assert pack(tmp_path, out=tmp_path / "pack").facts["notes"] == [note]


@pytest.mark.parametrize("place", ["pictures", "../elsewhere", "."])
def test_files_that_lie_elsewhere_than_a_table_says(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    picture(folder / place / "a.png")
    folder.mkdir(exist_ok=True)
    (folder / "metadata.csv").write_text("file_name,text\nimages/b.png,a cat\nimages/a.png,a dog\n")
    said = f"but 1 of 2 are in .*: name them as {re.escape(str(Path(place) / 'a.png'))}"
    with pytest.raises(UserError, match=f"nothing to pack .*{said}"):
        pack(folder, out=tmp_path / "pack")
    (folder / place / "a.png").unlink()
    assert recognise(folder).notes == ()
