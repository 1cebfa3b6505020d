import json
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tonggan.data.check import check
from tonggan.data.loader import Balance, Language, Loader, all_phrasings, chosen_caption, first_caption, hold_out
from tonggan.data.order import permuted
from tonggan.data.pack import Pack, PackedRow, ensure_pack, most_broken, pack
from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.training.recipe import load_recipe

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize("count", [1, 2, 3, 17, 1000])
def test_order_is_a_permutation_of_each_epoch(count: int) -> None:
    epochs = [permuted(np.arange(count), count, seed=5, epochs=np.full(count, epoch)) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(count)) for order in epochs)
    if count > 16:
        assert not np.array_equal(*epochs)


def test_samples_depend_on_seed_and_position_alone(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    rows = packed.indices("train")
    one, many = (Loader(packed, rows, batch_size=size, seed=3) for size in (1, 20))
    batch = many.batch(7)
    singles = [one.batch(position) for position in range(7, 27)]
    assert batch.inputs["text"] == [single.inputs["text"][0] for single in singles]
    assert batch.indices.tolist() == [int(single.indices[0]) for single in singles]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_small_groups_are_drawn_more_often(shapes: Path, tmp_path: Path, alpha: float) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    rows = packed.indices("train")
    rows = np.concatenate([np.repeat(rows[:1], 9), rows[1:]])  # the first is a group of nine
    loader = Loader(packed, rows, batch_size=len(rows), seed=3, balance=Balance("{label.zh}", alpha))
    epochs = 60
    drawn = np.concatenate([loader.batch(epoch * len(rows)).indices for epoch in range(epochs)])
    total = 9**alpha + len(rows) - 9
    for row in set(rows.tolist()):
        expected = epochs * len(rows) * (9**alpha if row == rows[0] else 1) / total
        assert abs((drawn == row).sum() - expected) < 0.1 * expected
    one = Loader(packed, rows, batch_size=1, seed=3, balance=Balance("{label.zh}", alpha))
    assert [int(one.batch(position).indices[0]) for position in range(9)] == drawn[:9].tolist()


def test_balance_by_what_no_row_has_says_so(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    with pytest.raises(UserError, match=r"no row to train on has what '\{colour\}' asks for"):
        Loader(packed, packed.indices("train"), batch_size=2, seed=3, balance=Balance("{colour}"))


def test_a_packed_picture_is_the_picture(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    for index in range(len(packed)):
        truth = np.asarray(Image.open(shapes / packed.row(index).file_name)).transpose(2, 0, 1)
        assert np.array_equal(packed.pictures[index], truth)
    assert Pack.open(tmp_path / "pack").content_hash == packed.content_hash


def test_phrasings_fill_from_tags_and_skip_what_is_missing(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    phrasings = {"zh": Language(1.0, ("{none} x", "图：{label.zh}"))}
    assert (first_caption(packed.row(0), "zh", phrasings) or "").startswith("图：")
    assert first_caption(packed.row(0), "fr", phrasings) is None


def test_rows_without_the_tags_of_a_recipe_are_phrased_as_they_are() -> None:
    phrasings = load_recipe("emoji-64").data.loader_phrasings()
    row = PackedRow("cats/2.jpg", {"en": ("a black cat",), "zh": ("一只黑猫", "黑猫")}, "train", {})
    drawn = [chosen_caption(row, phrasings, draw) for draw in np.random.default_rng(0).integers(2**63, size=400).tolist()]
    assert {(caption.language, str(caption)) for caption in drawn} == {("en", "a black cat"), ("zh", "一只黑猫"), ("zh", "黑猫")}
    assert first_caption(row, "zh", phrasings) == "一只黑猫"
    assert all_phrasings(row, phrasings) == ["a black cat", "一只黑猫", "黑猫"]
    korean = PackedRow("cats/3.jpg", {"ko": ("검은 고양이",)}, "train", {})
    assert chosen_caption(korean, phrasings, 7) == "검은 고양이"
    assert all_phrasings(korean, phrasings) == ["검은 고양이"]


def test_a_pack_is_made_anew_when_a_file_far_down_changes(shapes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data" / "deep"
    shutil.copytree(shapes, data / "train")
    first = ensure_pack(data, framing=Framing(8), cache=tmp_path)
    assert ensure_pack(data, framing=Framing(8), cache=tmp_path).path == first.path
    table = data / "train" / "metadata.jsonl"
    table.write_text(table.read_text().replace("red square", "red box!!"))
    again = ensure_pack(data, framing=Framing(8), cache=tmp_path)
    assert again.path != first.path
    assert again.content_hash != first.content_hash


def linked(shapes: Path, folder: Path) -> Path:
    (folder / "set").mkdir(parents=True)
    shutil.copytree(shapes, folder / "elsewhere")
    for picture in (folder / "elsewhere").glob("*.png"):
        picture.with_suffix(".txt").write_text(picture.stem)
    (folder / "elsewhere" / "metadata.jsonl").unlink()
    (folder / "set" / "pictures").symlink_to(folder / "elsewhere")
    return folder / "set"


def table_alone(shapes: Path, folder: Path) -> Path:
    shutil.copytree(shapes, folder / "elsewhere")
    return folder / "elsewhere" / "metadata.jsonl"


@pytest.mark.parametrize("arranged", [linked, table_alone])
def test_a_pack_is_made_anew_when_a_picture_changes_that_lies_elsewhere(arranged: Callable[[Path, Path], Path], shapes: Path, tmp_path: Path) -> None:
    data = arranged(shapes, tmp_path / "data")
    first = ensure_pack(data, framing=Framing(8), cache=tmp_path)
    assert ensure_pack(data, framing=Framing(8), cache=tmp_path).path == first.path
    Image.new("RGB", (24, 24), "grey").save(tmp_path / "data" / "elsewhere" / "red-bar.png")
    assert ensure_pack(data, framing=Framing(8), cache=tmp_path).content_hash != first.content_hash


def test_links_that_lead_nowhere_or_back_are_passed_over(shapes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    (data / ".#metadata").symlink_to("nobody@host.1234")
    (data / "again").symlink_to(data)
    assert len(ensure_pack(data, framing=Framing(8), cache=tmp_path)) == len(pack(shapes, framing=Framing(8), out=tmp_path / "plain"))


def test_held_out_rows_are_apart(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    rows = packed.digests(packed.indices("train"))
    assert 0 < hold_out(rows, share=0.3, seed=0).sum() < len(rows)
    assert hold_out(rows, share=1e-9, seed=0).sum() == 1
    assert not hold_out(rows, share=0.0, seed=0).any()
    assert not hold_out(rows[:1], share=0.3, seed=0).any()


def test_rows_are_held_out_by_what_is_in_them(shapes: Path, tmp_path: Path) -> None:
    """Whatever stands before them, and rows that are alike together."""
    shutil.copytree(shapes, tmp_path / "more")
    lines = (shapes / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    shutil.copy(shapes / "red-bar.png", tmp_path / "more" / "twin.png")
    twin = json.dumps({"file_name": "twin.png", "text": "a twin", "split": "train"})
    (tmp_path / "more" / "metadata.jsonl").write_text("\n".join([twin, *reversed(lines)]), encoding="utf-8")
    one, more = pack(shapes, out=tmp_path / "a"), pack(tmp_path / "more", out=tmp_path / "b")

    def held(packed: Pack, seed: int) -> set[str]:
        rows = packed.indices("train")
        return {packed.row(int(index)).file_name for index in rows[hold_out(packed.digests(rows), share=0.3, seed=seed)]}

    for seed in range(8):
        assert held(more, seed) == held(one, seed) | ({"twin.png"} if "red-bar.png" in held(one, seed) else set())


def test_rows_that_were_seen_before_are_not_held_out_while_there_are_others(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    rows = packed.digests(packed.indices("train"))
    for share, count in ((0.2, 2), (0.9, 4)):
        held = hold_out(rows, share=share, seed=0, seen=rows[:8])
        assert held.sum() == count
        assert not held[:8].any()
    assert hold_out(rows, share=0.3, seed=0, seen=rows).tolist() == hold_out(rows, share=0.3, seed=0).tolist()


def test_broken_pictures_are_named_and_above_the_rate_refused(shapes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for file in shapes.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    broken = ["red-circle.png", "red-bar.png"]
    for name in broken:
        (folder / name).write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"2 of 16 .*limit 1.*red-bar\.png.*data\.max_broken_rate=0\.125 behind train, --max-broken-rate 0\.125"):
        pack(folder, out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    assert list(pack(folder, out=tmp_path / "kept", max_broken_rate=0.125).facts["skipped"]) == broken
    assert list(ensure_pack(folder, cache=tmp_path, max_broken_rate=0.125).facts["skipped"]) == broken
    with pytest.raises(UserError, match=r"red-bar\.png"):
        ensure_pack(folder, cache=tmp_path)


def test_a_broken_file_whose_name_is_no_text_is_named(shapes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number, name in enumerate([*sorted(file.stem for file in shapes.glob("*.png")), os.fsdecode(b"caf\xe9")]):
        (folder / f"{name}.png").write_bytes((shapes / f"{name}.png").read_bytes() if number < 16 else b"no picture")
        (folder / f"{name}.txt").write_text("a thing")
    packed = pack(folder, out=tmp_path / "pack")
    assert (len(packed), list(packed.facts["skipped"])) == (16, ["caf?.png"])


@pytest.mark.parametrize(("total", "rate", "most"), [(60, 0.01, 5), (16, 0.01, 1), (9, 0.01, 0), (10_000, 0.01, 100), (100, 0.29, 29), (60, 0.0, 0)])
def test_a_few_broken_files_are_left_out_whatever_their_share(total: int, rate: float, most: int) -> None:
    assert most_broken(total, rate) == most


def test_check_says_what_pack_does_with_broken_files(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    shutil.copytree(shapes, folder)
    (folder / "red-bar.png").unlink()
    check(folder).print(Console())
    assert "train and data pack leave them out" in capsys.readouterr().out
    assert len(pack(folder, out=tmp_path / "kept")) == 15
    (folder / "red-frame.png").write_bytes(b"not a picture")
    check(folder).print(Console())
    assert "only with data.max_broken_rate=0.125 behind train" in capsys.readouterr().out
    with pytest.raises(UserError, match="cannot be read"):
        pack(folder, out=tmp_path / "refused")


def test_a_pack_is_looked_through_as_one(shapes: Path, tmp_path: Path) -> None:
    made = pack(shapes, out=tmp_path / "pack")
    report = check(tmp_path / "pack")
    assert (report.layout, report.splits, report.has_errors) == ("pack", {"train": 12, "test": 4}, False)
    assert {name: each.captions for name, each in report.languages.items()} == {"en": 16, "zh": 16}
    assert report.description == f"pack of pictures (64 x 64, crop), made of: {made.facts['description']}"
    with pytest.raises(UserError, match="is a pack already"):
        pack(tmp_path / "pack", out=tmp_path / "again")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")
def test_emoji_as_it_is(tmp_path: Path) -> None:
    packed = ensure_pack(SHARED / "emoji", framing=Framing(64, "pad"), cache=tmp_path)
    assert packed.facts["splits"] == {"train": 13609, "test_concept": 628, "test_pair": 693}
    assert "zh" in packed.row(0).captions


@pytest.mark.parametrize("splits", [256, 257])
def test_a_pack_holds_as_many_splits_as_it_has_numbers_for(splits: int, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"file_name": f"{number}.png", "text": "grey", "split": f"part-{number:03d}"} for number in range(splits)]
    for number, row in enumerate(rows):
        Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(data / row["file_name"])
    (data / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if splits == 256:
        assert pack(data, framing=Framing(8), out=tmp_path / "pack").indices("part-255").tolist() == [255]
        return
    with pytest.raises(UserError, match=r"257 splits \('part-000', .* a pack holds 256"):
        pack(data, framing=Framing(8), out=tmp_path / "pack")
    assert list(tmp_path.iterdir()) == [data]


def test_a_pack_of_something_else_is_refused_by_name(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    packed.require("image", arrow="text->image")
    with pytest.raises(UserError, match="is a pack of image: video->audio needs one of video"):
        packed.require("video", arrow="video->audio")


def test_runs_that_begin_at_once_share_one_pack(shapes: Path, tmp_path: Path) -> None:
    gate = Barrier(4)

    def begin() -> Path:
        gate.wait()
        return ensure_pack(shapes, framing=Framing(8), cache=tmp_path / "packs").path

    with ThreadPoolExecutor(4) as runs:
        made = {each.result() for each in [runs.submit(begin) for _ in range(4)]}
    assert [path for path in (tmp_path / "packs").iterdir() if path.is_dir()] == list(made)


def test_what_a_killed_process_left_of_a_pack_is_removed_by_the_next(shapes: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, running, other = (tmp_path / f".{name}.partial" for name in (f"pack.{ended.pid}", f"pack.{os.getppid()}", f"pack.b.{ended.pid}"))
    for folder in (left, running, other):
        folder.mkdir()
    pack(shapes, out=tmp_path / "pack")
    assert {path.name for path in tmp_path.iterdir()} == {"pack", running.name, other.name}


def test_a_cache_that_may_not_be_written_to_is_said(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "packs").write_text("a file")
    with pytest.raises(UserError, match="packs may not be written to"):
        ensure_pack(shapes, framing=Framing(8), cache=tmp_path / "packs")
