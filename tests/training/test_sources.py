import json
import re
import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tonggan.data.pack import ensure_pack
from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.training.recipe import load_recipe
from tonggan.training.sources import open_data, open_pack


def test_a_folder_without_english_is_previewed_by_the_captions_it_has(shapes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "形状"
    shutil.copytree(shapes, folder)
    rows = [json.loads(line) for line in (shapes / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    chinese = [{"file_name": row["file_name"], "text": {"zh": row["label"]["zh"]}} for row in rows]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chinese), encoding="utf-8")
    recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={folder}", "data.hold_out=0.2", "model.encoders.text.vocabulary=300"])
    assert recipe.data.phrasings is not None
    assert next(iter(recipe.data.phrasings)) == "en"
    console = Console(file=StringIO(), width=300)
    previews = open_data(recipe, cache=tmp_path, console=console).previews
    assert re.search(r"a held-out loss over \d rows? says little", console.file.getvalue())
    assert set(previews.inputs["text"]) <= {row["text"]["zh"] for row in chinese}


def test_a_pack_of_another_form_than_the_recipes_is_refused(shapes: Path, tmp_path: Path) -> None:
    pack = ensure_pack(shapes, framing=Framing(size=32), cache=tmp_path)
    with pytest.raises(UserError, match="is packed with size 32, the recipe wants 64"):
        open_pack(load_recipe("emoji-64", overrides=[f"data.path={pack.path}"]), cache=tmp_path)


def test_the_advice_for_a_pack_of_another_rate_can_be_followed(clips: Path, tmp_path: Path) -> None:
    made = ensure_pack(clips, framing=Framing(frames_per_second=12.5), cache=tmp_path)
    with pytest.raises(UserError, match=r"Set (.*) behind train, all of them, or pack again with --frames-per-second 25\.0") as refused:
        open_pack(load_recipe("foley", overrides=[f"data.path={made.path}"]), cache=tmp_path)
    advice = str(refused.value).partition("Set ")[2].partition(" behind train")[0].split()
    assert advice == ["data.frames_per_second=12.5", "model.encoders.video.frames_per_second=12.5"]
    assert len(open_pack(load_recipe("foley", overrides=[f"data.path={made.path}", *advice]), cache=tmp_path)) == len(made)
    with pytest.raises(UserError, match=r"Set all of data\.frames_per_second, model\.encoders\.video\.frames_per_second to what the data has"):
        load_recipe("foley", overrides=advice[:1])
