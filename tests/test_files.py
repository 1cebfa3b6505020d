import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from full_disk import full_disk
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from tonggan.errors import DiskFullError, UserError
from tonggan.files import inside, read_text, replacing


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as beside:
        beside.write_text(str(1 / 0))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("name", "said"), [("../b.png", "leads out of"), ("a\0.png", "is no name of a file"), ("\ud83d.png", "is no name of a file")]
)
def test_a_name_in_a_table_is_that_of_a_file_within(name: str, said: str, tmp_path: Path) -> None:
    assert inside(tmp_path, "a/../b.png", where="row 1") == tmp_path / "a/../b.png"
    with pytest.raises(UserError, match=f"row 1: .*{said}"):
        inside(tmp_path, name, where="row 1")


def test_weights_may_be_read_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "a.safetensors") as beside:
            save_file({"a": torch.zeros(1)}, str(beside))
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644


def test_text_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("红心".encode("gbk"))
    with pytest.raises(UserError, match="Save it as UTF-8"):
        read_text(tmp_path / "a.csv")


def save_index(path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatIP(16)
    index.add(np.zeros((1000, 16), np.float32))
    faiss.write_index(index, str(path))


def save_array(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros(10_000))


def save_folder(path: Path) -> None:
    path.mkdir()
    save_array(path / "a.npy")
    (path / "b.json").write_text("{}")


NOISE = np.random.default_rng(0).uniform(-1, 1, 20_000)
WRITERS: dict[str, Callable[[Path], None]] = {
    "safetensors": lambda path: save_file({"a": torch.zeros(10_000)}, str(path)),
    "libsndfile": lambda path: soundfile.write(path, NOISE, 16_000, format="WAV", subtype="PCM_16"),
    "libFLAC": lambda path: soundfile.write(path, NOISE, 16_000, format="FLAC", subtype="PCM_16"),
    "faiss": save_index,
    "tokenizers": lambda path: Tokenizer(models.BPE(vocab={f"piece{i}": i for i in range(2000)}, merges=[])).save(str(path)),
    "numpy": save_array,
    "folder": save_folder,
}


@pytest.mark.parametrize("library", WRITERS)
def test_a_full_disk_is_told_of_whatever_the_library_makes_of_it(library: str, tmp_path: Path) -> None:
    kept = tmp_path / "target"
    if library != "folder":
        kept.write_text("old")
    with full_disk(8192), pytest.raises(DiskFullError, match=f"no space left on the disk while writing {kept}"), replacing(kept) as beside:
        WRITERS[library](beside)
    assert [path.read_text() for path in tmp_path.iterdir()] == ([] if library == "folder" else ["old"])


@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory"), OSError("no such codec"), ValueError("odd"), UserError("'no space left' is no caption")]
)
def test_what_is_not_the_disks_fault_stays_what_it_is(error: Exception, tmp_path: Path) -> None:
    def write(beside: Path) -> None:
        beside.write_text("half")
        raise error

    with pytest.raises(type(error)) as raised, replacing(tmp_path / "a") as beside:
        write(beside)
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc here")
def test_a_folder_of_the_kernels_takes_no_picture() -> None:
    with (
        pytest.raises(UserError, match=r"^/proc/x.png may not be written to \(No such file or directory\)"),
        replacing(Path("/proc/x.png")) as beside,
    ):
        Image.new("RGB", (2, 2)).save(beside, format="PNG")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file/a.png", "file is a file, not a folder"),
        ("file/b/a.png", "file is a file, not a folder"),
        ("x" * 300 + ".png", "the name is too long"),
        ("folder", "folder is a folder"),
    ],
)
def test_a_path_that_no_file_can_have_is_named_and_not_what_is_written_beside_it(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=said) as raised, replacing(tmp_path / name) as beside:
        beside.write_text("new")
    assert "partial" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_disk_that_may_only_be_read_is_told_though_it_refuses_to_remove_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UserError, match=r"a\.png may not be written to \(Read-only file system\)"), replacing(tmp_path / "a.png") as beside:
        beside.write_text("new")


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_path_without_a_name_is_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"is a folder\. Name a file"), replacing(Path(name)) as beside:
        beside.write_text("new")
    assert not list(tmp_path.iterdir())
