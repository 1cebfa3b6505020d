import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk
from PIL import Image

from tonggan.errors import DiskFullError, UserError
from tonggan.pipeline import Tonggan
from tonggan.searching import WHOLE, SearchIndex, VectorIndex


@pytest.fixture
def folder(shapes: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "pictures"
    shutil.copytree(shapes, copied)
    return copied


def names(index: SearchIndex, wanted: object, count: int = 16) -> list[str]:
    return [hit.name for hit in index.search(wanted, count)]


def test_a_picture_finds_itself_and_a_caption_finds_something(describer: Tonggan, folder: Path) -> None:
    index = SearchIndex(folder, describer)
    assert index.refresh() == (16, 0)
    for path in sorted(folder.glob("*.png"))[:4]:
        hit = index.search(Image.open(path).convert("RGB"), 1)[0]
        assert (hit.name, round(hit.score, 2)) == (path.name, 1.0)
    hits = index.search("red square", 3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_an_index_is_kept_current(describer: Tonggan, folder: Path) -> None:
    SearchIndex(folder, describer).refresh()
    again = SearchIndex(folder, describer)
    assert again.refresh() == (0, 0)
    (folder / "red-bar.png").unlink()
    shutil.copy(folder / "blue-bar.png", folder / "new.png")
    Image.new("RGB", (64, 64), "yellow").save(folder / "black-bar.png")
    (folder / "broken.png").write_bytes(b"no picture")
    later = SearchIndex(folder, describer)
    assert later.refresh() == (2, 2)
    assert list(later.problems) == ["broken.png"]
    found = names(later, Image.open(folder / "blue-bar.png").convert("RGB"))
    assert set(found[:2]) == {"blue-bar.png", "new.png"}
    assert "red-bar.png" not in found
    assert len(found) == len(set(found)) == 16


def test_two_that_bring_it_up_at_once_leave_a_whole_index(describer: Tonggan, folder: Path) -> None:
    one, other = SearchIndex(folder, describer), SearchIndex(folder, describer)
    assert one.refresh() == (16, 0)
    assert other.refresh() == (0, 0)
    assert names(other, "red square") == names(one, "red square")
    one, other = SearchIndex(folder, describer), SearchIndex(folder, describer)
    (folder / "red-bar.png").unlink()
    assert one.refresh() == (0, 1)
    shutil.copy(folder / "blue-bar.png", folder / "new.png")
    assert other.refresh() == (1, 0)
    assert sorted(names(SearchIndex(folder, describer), "red square")) == sorted(path.name for path in folder.glob("*.png"))


def test_lines_of_a_file_are_searched(describer: Tonggan, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("red square\n\nblue circle\nred square\n", encoding="utf-8")
    index = SearchIndex(captions, describer)
    assert index.refresh() == (2, 0)
    assert index.search("blue circle", 1)[0].name == "blue circle"
    captions.write_text("green bar\n", encoding="utf-8")
    changed = SearchIndex(captions, describer)
    assert changed.refresh() == (1, 2)
    assert names(changed, "blue circle") == ["green bar"]


def test_what_is_wrong_with_an_index_is_named(describer: Tonggan, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        SearchIndex(tmp_path / "nowhere", describer)
    made = SearchIndex(folder, describer)
    made.refresh()
    facts = json.loads((made.folder / "index.json").read_text())
    (made.folder / "index.json").write_text(json.dumps(facts | {"weights_hash": "other"}))
    with pytest.raises(UserError, match="made by another model"):
        SearchIndex(folder, describer)
    (made.folder / "index.json").write_text(json.dumps(facts))
    (made.folder / facts["vectors"]).write_bytes(b"cut")
    with pytest.raises(UserError, match="is damaged"):
        SearchIndex(folder, describer)
    (made.folder / "index.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        SearchIndex(folder, describer)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="nothing in it can be read"):
        SearchIndex(empty, describer).refresh()


def test_cells_find_what_a_whole_search_finds() -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(200, 16))
    vectors = (centres[generator.integers(200, size=WHOLE + 1000)] + 0.3 * generator.normal(size=(WHOLE + 1000, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = VectorIndex.build(vectors, np.arange(len(vectors)))
    hits = 0
    for query in vectors[:50]:
        exact = set(np.argsort(-(vectors @ query))[:10].tolist())
        hits += len(exact & {number for number, _ in index.nearest(query, 10)})
    assert hits > 400


def test_a_full_disk_leaves_the_index_that_was_there(describer: Tonggan, folder: Path) -> None:
    SearchIndex(folder, describer).refresh()
    (folder / "red-bar.png").unlink()
    before = {path.name: path.read_bytes() for path in (folder / ".tonggan-index").iterdir()}
    with full_disk(1024), pytest.raises(DiskFullError, match="no space left"):
        SearchIndex(folder, describer).refresh()
    assert {path.name: path.read_bytes() for path in (folder / ".tonggan-index").iterdir()} == before


def test_a_name_that_is_no_text_is_told_and_stops_nothing(describer: Tonggan, folder: Path) -> None:
    strange = os.fsdecode(b"caf\xe9.png")
    shutil.copy(folder / "red-bar.png", folder / strange)
    index = SearchIndex(folder, describer)
    assert index.refresh() == (16, 0)
    assert list(index.problems) == [strange]
    assert "its name is not UTF-8" in index.problems[strange]
    assert SearchIndex(folder, describer).refresh() == (0, 0)
