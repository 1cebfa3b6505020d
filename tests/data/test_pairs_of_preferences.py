import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tonggan.data.preferences import Preferences, read_preferences
from tonggan.errors import UserError
from tonggan.modalities import Framing

ROW = {"prompt": "heart", "chosen": "a.png", "rejected": "b.png", "arrow": "text->image", "mime": "image/png"}


def read(path: Path, **changes: str) -> Preferences:
    return read_preferences(path, framing=Framing(size=64), **({"source": "text", "target": "image"} | changes))


def written(folder: Path, *rows: object) -> Path:
    for name, colour, size in (("a", "red", 64), ("b", "blue", 64), ("wide", "red", 80)):
        Image.new("RGB", (size, 64), colour).save(folder / f"{name}.png")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:60])
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_pairs_are_what_the_rows_say(tmp_path: Path) -> None:
    pairs = read(written(tmp_path, ROW)).at([0])
    assert pairs.prompts == ["heart"]
    assert pairs.chosen[0, :, 0, 0].tolist() == [1, -1, -1]
    assert pairs.rejected[0, :, 0, 0].tolist() == [-1, -1, 1]


def test_rows_of_other_arrows_are_left_out(tmp_path: Path) -> None:
    sentence = {"prompt": "x.png", "chosen": "a heart", "rejected": "a dog", "arrow": "image->text", "mime": "text/plain"}
    found = read(written(tmp_path, sentence, ROW, sentence))
    assert (len(found), found.others) == (1, 2)
    with pytest.raises(UserError, match=r"holds preferences on image->text; none is on text->image"):
        read(written(tmp_path, sentence))
    with pytest.raises(UserError, match=r"holds preferences on text->audio"):
        read(written(tmp_path, ROW | {"mime": "audio/wav", "arrow": None}))


def test_the_order_is_a_function_of_seed_and_position(preferences: Path) -> None:
    found = read(preferences)
    whole = found.pairs(np.arange(24), seed=3)
    assert sorted(whole.prompts[:12]) == sorted(whole.prompts[12:])
    later = found.pairs(np.arange(8, 12), seed=3)
    assert later.prompts == whole.prompts[8:12]
    assert torch.equal(later.chosen, whole.chosen[8:12])
    assert found.pairs(np.arange(12), seed=4).prompts != whole.prompts[:12]


def test_held_out_are_whole_prompts(preferences: Path) -> None:
    found = read(preferences)
    learned, held = found.hold_out(0.34, seed=0)
    assert (len(learned), len(held)) == (8, 4)
    assert not {row.prompt for row in learned.rows} & {row.prompt for row in held.rows}
    assert len(found.hold_out(0.0, seed=0)[1]) == 0


def test_other_pictures_are_other_data(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    before = read(path).digest
    assert read(path).digest == before
    Image.new("RGB", (64, 64), "green").save(tmp_path / "b.png")
    assert read(path).digest != before


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "heart", "chosen": "a.png"}, "row 2: no rejected"),
        (ROW | {"prompt": "  "}, "no prompt"),
        (ROW | {"rejected": "gone.png"}, r"row 2: no such file: '.*gone\.png'"),
        (ROW | {"rejected": "word " * 200}, "row 2: no such file"),
        (ROW | {"rejected": "../../etc/passwd"}, "leads out of"),
        (ROW | {"rejected": "a.png"}, "are the same"),
        (ROW | {"rejected": "wide.png"}, r"wide\.png has 80 x 64 pixels, not 64 x 64"),
        (ROW | {"rejected": "cut.png"}, r"row 2: .*cut\.png: the picture is truncated"),
    ],
)
def test_a_row_that_nothing_can_be_learned_from(tmp_path: Path, row: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as found:
        read(written(tmp_path, ROW, row))
    assert "\n" not in str(found.value)


def test_a_table_that_nothing_can_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file.*votes export"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="the file is empty"):
        read(written(tmp_path))
    (tmp_path / "train.jsonl").write_text('{"prompt": "heart", "cho')
    with pytest.raises(UserError, match="line 1: JSON that is cut off"):
        read(tmp_path / "train.jsonl")
    with pytest.raises(UserError, match="not from video->audio"):
        read(written(tmp_path, ROW), source="video", target="audio")
