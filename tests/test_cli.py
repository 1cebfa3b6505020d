import json
import subprocess
import sys
from pathlib import Path

import pytest

from tonggan.model_folder import shipped_models


def tonggan(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tonggan.cli", *arguments], capture_output=True, text=True, check=False)


def test_help_does_not_import_torch() -> None:
    code = "import sys; import tonggan.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "draw" in tonggan("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "emoji-46"], "Did you mean 'emoji-64'"),
        (["train", "emoji-64", "optimizer.learning_rat=1"], "Did you mean 'learning_rate'"),
        (["train", "emoji-64", "model.decoders.image.layer=1"], "unknown key"),
        (["train", "emoji-64", "data.path=nowhere"], "nowhere: no such file or folder"),
        (["draw", "a heart", "--model", "emoji-46"], "neither a folder nor a model that ships"),
        (["data", "pack", "nowhere", "--out", "x"], "nowhere: no such file or folder"),
        (["draw"], "give a caption"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_two(arguments: list[str], said: str, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "run")] if arguments[0] == "train" else []
    done = tonggan(*arguments, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_pack_and_errors_of_tables(shapes: Path, tmp_path: Path) -> None:
    assert tonggan("data", "pack", str(shapes), "--out", str(tmp_path / "pack")).returncode == 0
    assert json.loads((tmp_path / "pack" / "pack.json").read_text())["splits"] == {"train": 12, "test": 4}
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "metadata.jsonl").write_text('{"file_name": "a.png", "te')
    done = tonggan("data", "pack", str(tmp_path / "cut"), "--out", str(tmp_path / "no"))
    assert done.returncode == 2
    assert "line 1" in done.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.skipif("emoji-64" not in shipped_models(), reason="no weights ship yet")
def test_draw_writes_a_picture_that_says_how_it_was_made(tmp_path: Path) -> None:
    target = tmp_path / "heart.png"
    assert tonggan("draw", "red heart, noto style", "-o", str(target), "--seed", "7").returncode == 0
    told = json.loads(tonggan("inspect", str(target)).stdout)
    assert "red heart, noto style" in json.dumps(told, ensure_ascii=False)
    empty = tonggan("draw", "  ", "-o", str(tmp_path / "no.png"))
    assert empty.returncode == 2
    assert "caption is empty" in empty.stderr
