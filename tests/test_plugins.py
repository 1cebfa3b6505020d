import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tonggan.data.loader import Batch
from tonggan.decoders import DECODERS
from tonggan.encoders import ENCODERS
from tonggan.errors import UserError
from tonggan.goals import TERMS, DistilConfig, ObjectivesConfig
from tonggan.model import CrossModalModel, ModelConfig
from tonggan.model_folder import load_model
from tonggan.pipeline import Tonggan
from tonggan.players import check_objectives, check_used
from tonggan.plugins import REGISTRIES, import_kept, import_plugins
from tonggan.training.recipe import load_recipe
from tonggan.training.run import Run

TOUR = (Path(__file__).parents[1] / "docs" / "tour.md").read_text(encoding="utf-8").partition("# Your own parts")[2]
EXAMPLE = {language: re.findall(rf"```{language}\n(.*?)```", TOUR, re.DOTALL)[0] for language in ("python", "yaml", "bash")}
TERM = re.findall(r"`(TERMS\[.*?)`", TOUR)[0]
SMALL = ["data.phrasings=null", "data.hold_out=0.2", "dtype=float32", "model.encoders.text.vocabulary=300", "model.encoders.text.width=64"]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = [(registry, dict(registry)) for registry, _ in REGISTRIES.values()]
    yield
    forget()
    for registry, parts in before:
        registry.clear()
        registry.update(parts)


def forget() -> None:
    """Leave this process as one in which no plugin file was run."""
    ENCODERS.pop("patches", None)
    for name in [name for name in sys.modules if name.startswith("tonggan_plugin_")]:
        del sys.modules[name]


def write_example(folder: Path) -> Path:
    """Write the example of docs/tour.md, and return its recipe."""
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "patches.py").write_text(EXAMPLE["python"], encoding="utf-8")
    (folder / "own.yaml").write_text(EXAMPLE["yaml"], encoding="utf-8")
    return folder / "own.yaml"


@pytest.fixture(scope="module")
def trained(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the example, trained through the command line."""
    folder = tmp_path_factory.mktemp("own")
    write_example(folder)
    command = ["train", "own.yaml", "--smoke", f"data.path={shapes}", *SMALL, "monitor.tensorboard=false", "--out", "runs/own"]
    done = tonggan(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "own"


def tonggan(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tonggan", *words], cwd=cwd, capture_output=True, text=True, check=False)


def plugin(folder: Path, code: str, *, name: str = "mine.py") -> list[str]:
    (folder / name).write_text(code, encoding="utf-8")
    return [str(folder / name)]


@pytest.mark.slow
def test_the_tours_example_is_trained_and_used_elsewhere_by_those_who_allow_it(trained: Path, shapes: Path, tmp_path: Path) -> None:
    verbs = [line.split()[1] for line in EXAMPLE["bash"].splitlines()]
    assert verbs == ["train", "draw", "evaluate"]
    assert all("--trust-code" in line for line in EXAMPLE["bash"].splitlines()[1:])
    shutil.copytree(trained / "model", tmp_path / "given")  # the folder alone, elsewhere
    draw = ["draw", "red circle", "--model", "given", "--num-inference-steps", "1", "-o", "red.png"]
    refused = tonggan(*draw, cwd=tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "given/patches.py" in refused.stderr
    assert "--trust-code" in refused.stderr
    assert not (tmp_path / "red.png").exists()
    allowed = tonggan(*draw, "--trust-code", cwd=tmp_path)
    assert allowed.returncode == 0, allowed.stderr
    assert (tmp_path / "red.png").is_file()
    evaluate = ["evaluate", "given", "--data", str(shapes), "--out", "judged", "--num-inference-steps", "1"]
    assert tonggan(*evaluate, cwd=tmp_path).returncode == 2
    done = tonggan(*evaluate, "--trust-code", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "judged" / "card.json").is_file()


@pytest.mark.slow
def test_nothing_that_a_model_brings_is_run_unless_it_is_allowed(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "model", tmp_path / "given")
    file = tmp_path / "given" / "patches.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    for refused in (lambda: Tonggan.from_pretrained(tmp_path / "given"), lambda: load_model(str(tmp_path / "given"))):
        with pytest.raises(UserError, match=r"given/patches\.py.*trust_code=True"):
            refused()
    assert not (tmp_path / "ran").exists()
    model = Tonggan.from_pretrained(tmp_path / "given", trust_code=True)
    assert (tmp_path / "ran").exists()
    assert type(model.model.encoders["image"]).__name__ == "Patches"
    model.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "patches.py").read_bytes() == file.read_bytes()
    assert Tonggan.from_pretrained(tmp_path / "again").name == "own"  # what runs already needs no leave


@pytest.mark.slow
def test_a_model_says_which_code_it_was_trained_with_and_its_run_goes_on_with_no_other(trained: Path, shapes: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["recipe"]["plugins"] == ["patches.py"]  # beside it
    assert len(config["trained"]["plugin patches.py"]) == 64
    assert "`patches.py`: read it" in (trained / "model" / "README.md").read_text(encoding="utf-8")
    recipe = write_example(tmp_path)
    overrides = [f"data.path={shapes}", *SMALL, "monitor.tensorboard=false"]
    Run(load_recipe(str(recipe), smoke=True, overrides=overrides), tmp_path / "run", resume=False, console=Console(quiet=True)).train()
    assert (tmp_path / "run" / "assets" / "patches.py").read_text(encoding="utf-8") == EXAMPLE["python"]
    forget()
    (tmp_path / "parts" / "patches.py").write_text(EXAMPLE["python"] + "# changed\n", encoding="utf-8")
    changed = load_recipe(str(recipe), smoke=True, overrides=overrides)
    with pytest.raises(UserError, match=r"patches\.py holds other code than"):
        Run(changed, tmp_path / "run", resume=True, console=Console(quiet=True))


@pytest.mark.slow
def test_a_recipe_that_begins_from_a_model_with_code_names_it(trained: Path, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name it under plugins"):
        load_model(str(trained))
    recipe = load_recipe("emoji-64", overrides=[f"plugins=[{trained / 'model' / 'patches.py'}]", "model.encoders.image={kind: patches}"])
    assert recipe.model.encoders["image"].kind == "patches"
    assert load_model(str(trained)).config["name"] == "own"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "cannot be read: No such file"),
        ("def broken(:\n    pass", "fails: SyntaxError: "),
        ("x = 1\nraise KeyError('no')\n", "fails in line 2: KeyError: 'no'"),
        ("import not_there_at_all", "fails in line 1: ModuleNotFoundError: "),
        (
            "from tonggan.encoders import ENCODERS\nENCODERS['text_transformer'] = ENCODERS['image_transformer']",
            "'text_transformer', which exists already",
        ),
        ("from tonggan.goals import TERMS\nTERMS['mine'] = 3.0", "the loss term 'mine', which is no function"),
        ("from tonggan.decoders import DECODERS\nDECODERS['mine'] = dict", "'mine', which is no class derived from Decoder"),
        ("from tonggan.encoders import ENCODERS\nfrom tonggan.parts import Encoder\nENCODERS['mine'] = Encoder", "a modality and a Config"),
        ("from tonggan.encoders import ENCODERS\nENCODERS['mine'] = ENCODERS['text_transformer']\n1 / 0", "fails in line 3: ZeroDivisionError"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_line_and_leaves_nothing(code: str | None, said: str, tmp_path: Path) -> None:
    named = [str(tmp_path / "mine.py")] if code is None else plugin(tmp_path, code)
    before = [dict(ENCODERS), dict(DECODERS)]
    for _ in range(2):  # a second call fails as the first
        with pytest.raises(UserError, match=re.escape(said)) as refused:
            import_plugins(named)
        assert str(refused.value).startswith(f"plugin {named[0]} ")
        assert "\n" not in str(refused.value)
    assert before == [dict(ENCODERS), dict(DECODERS)]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["no_such_package.parts"], r"plugin no_such_package\.parts cannot be found\. Install it"),
        ("mine.py", r"plugins is a list of modules and \.py files, such as .*, not 'mine\.py'"),
        ([7], "plugins is a list"),
        (["a/mine.py", "b/mine.py"], r"two files are called mine\.py"),
    ],
)
def test_names_of_plugins_that_lead_nowhere_are_one_line(named: object, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"base: emoji-64\nplugins: {json.dumps(named)}\n", encoding="utf-8")
    with pytest.raises(UserError, match=said):
        load_recipe(str(tmp_path / "own.yaml"))


def test_a_module_that_python_finds_is_a_plugin_and_asks_for_leave_in_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts_of_mine").mkdir()
    (tmp_path / "parts_of_mine" / "patches.py").write_text(EXAMPLE["python"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    named = ["parts_of_mine.patches"]
    with pytest.raises(UserError, match=r"parts_of_mine\.patches\. Read it"):
        import_kept(named, tmp_path, trust_code=False)
    assert "parts_of_mine.patches" not in sys.modules
    recipe = load_recipe("emoji-64", overrides=["plugins=[parts_of_mine.patches]", "model.encoders.image={kind: patches}"])
    assert recipe.plugins == ("parts_of_mine.patches",)
    assert import_kept(named, tmp_path, trust_code=False) == {}  # imported already
    for name in ("parts_of_mine.patches", "parts_of_mine"):
        monkeypatch.delitem(sys.modules, name)


def test_a_models_plugin_is_looked_for_in_its_folder_alone(tmp_path: Path) -> None:
    plugin(tmp_path, "")
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match=r"model/mine\.py cannot be read"):
        import_kept(["../mine.py"], tmp_path / "model", trust_code=True)


@pytest.fixture
def drawn() -> tuple[CrossModalModel, Batch]:
    """A small model, and four pictures with their captions."""
    text = {"kind": "text_transformer", "width": 32, "layers": 1, "heads": 2, "vocabulary": 300}
    decoders = {"image": {"kind": "image_deconv", "latent_width": 32, "channels": 8}}
    config = {"encoders": {"text": text, "image": {"kind": "image_convolutional", "channels": [8]}}, "space": {"width": 32}, "decoders": decoders}
    values = {"text": ["red", "green", "blue", "a bar"], "image": torch.rand(4, 3, 64, 64)}
    model, batch = CrossModalModel(ModelConfig.model_validate(config)), Batch(values, values, np.arange(4))
    model.fit(lambda: [batch])
    return model, batch


def test_the_tours_term_is_descended_by_its_weight(drawn: tuple[CrossModalModel, Batch], tmp_path: Path) -> None:
    import_plugins(plugin(tmp_path, f"from tonggan.goals import TERMS\n{TERM}\n"))
    model, batch = drawn
    objectives = ObjectivesConfig(arrows={}, extra={"spread": 0.5, "unused": 0.0})
    check_objectives(model, objectives)
    assert model.can_learn(objectives)
    loss = model.loss(batch, objectives, randomness=torch.Generator().manual_seed(0))
    assert loss.terms.keys() == {"extra spread"}
    spread = loss.detached()["extra spread"]
    assert spread < 0
    assert loss.detached()["loss"] == pytest.approx(0.5 * spread)
    loss.total.backward()
    assert any(parameter.grad is not None for parameter in model.encoders["image"].parameters())


def test_a_term_that_is_unknown_or_no_number_is_one_line(drawn: tuple[CrossModalModel, Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = drawn
    objectives = ObjectivesConfig(extra={"spread": 0.5})
    with pytest.raises(UserError, match="no plugin of this recipe has a term 'spread'"):
        check_objectives(model, objectives)
    monkeypatch.setitem(TERMS, "spread", lambda latents, batch, randomness: latents["image"].pooled)
    with pytest.raises(UserError, match=r"objectives\.extra\.spread gives 4 x 32 numbers"):
        model.loss(batch, objectives, randomness=torch.Generator())
    with pytest.raises(UserError, match=r"objectives\.extra\.spread would have no effect"):
        check_used(ObjectivesConfig(extra={"spread": 0.5}, distil=DistilConfig(teacher="emoji-64")))
