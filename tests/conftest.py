import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "0")

import pytest
import torch
from PIL import Image, ImageDraw
from rich.console import Console
from sqlalchemy import create_engine, make_url
from sqlalchemy.schema import CreateSchema

from tonggan.data.synthesis.foley import make_foley
from tonggan.feedback.tables import Base
from tonggan.feedback.votes import VoteStore
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import Recipe, load_recipe
from tonggan.training.run import Run


def pytest_configure(config: pytest.Config) -> None:
    """Give every worker one thread: on few cores two workers of one thread do more than one of two, and sums are of one order."""
    if hasattr(config, "workerinput"):
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the slow ones begin: at the end they would leave one worker alone."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are of one order, however many cores the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def brief_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges that learn from real sounds do it in a tenth of their steps: enough to tell apart what the tests make."""
    monkeypatch.setattr("tonggan.evaluation.in_time.STEPS", 25)
    monkeypatch.setattr("tonggan.evaluation.sound_embedding.STEPS", 30)


COLOURS = {"red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 60, 220), "black": (10, 10, 10)}


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 drawings with captions in two languages, made here."""
    folder = tmp_path_factory.mktemp("shapes")
    rows = []
    for colour, rgb in COLOURS.items():
        for number, shape in enumerate(("square", "circle", "bar", "frame")):
            picture = Image.new("RGB", (64, 64), "white")
            pen = ImageDraw.Draw(picture)
            draw = {"square": pen.rectangle, "circle": pen.ellipse, "bar": pen.rectangle, "frame": pen.rectangle}[shape]
            box = (8, 24, 56, 40) if shape == "bar" else (12, 12, 52, 52)
            draw(box, fill=None if shape == "frame" else rgb, outline=rgb, width=6)
            name = f"{colour}-{shape}.png"
            picture.save(folder / name)
            rows.append(
                {"file_name": name, "text": f"{colour} {shape}", "label": {"zh": f"{colour} 形状{number}"}, "split": "train" if number else "test"}
            )
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def preferences(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table as `votes export` writes it: whatever is asked for, red is preferred to blue; twelve preferences on six prompts."""
    folder = tmp_path_factory.mktemp("preferences")
    shutil.copytree(shapes, folder / "files")
    rows = [
        {
            "prompt": f"a {word}",
            "chosen": f"files/red-{shape}.png",
            "rejected": f"files/blue-{shape}.png",
            "arrow": "text->image",
            "mime": "image/png",
        }
        for word in ("thing", "shape", "square", "circle", "bar", "frame")
        for shape in ("circle", "bar")
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / "train.jsonl"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten clips with sound and what is heard in them, made here."""
    folder = tmp_path_factory.mktemp("clips") / "foley"
    make_foley(folder, clips=10, seed=2)
    return folder


SOUNDING = ["data.hold_out=0.2", "dtype=float32", "monitor.tensorboard=false"]


@pytest.fixture(scope="session")
def sounder(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Tonggan:
    """The smoke form of foley after eight steps."""
    folder = tmp_path_factory.mktemp("sounder")
    recipe = load_recipe("foley", smoke=True, overrides=[f"data.path={clips}", *SOUNDING])
    Run(recipe, folder / "run", resume=False, console=Console(quiet=True), cache=folder).train()
    return Tonggan.from_pretrained(folder / "run")


SMALL = [
    "data.phrasings=null",
    "data.hold_out=0.2",
    "dtype=float32",
    "model.encoders.text.vocabulary=300",
    "model.encoders.text.width=64",
    "monitor.tensorboard=false",
]


@pytest.fixture
def small_recipe(shapes: Path) -> Recipe:
    """The smoke form of emoji-64 on the drawings above."""
    return load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}", *SMALL])


@pytest.fixture(scope="session")
def drawer(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose model draws, after the steps of the smoke form."""
    folder = tmp_path_factory.mktemp("drawer")
    recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}", *SMALL])
    Run(recipe, folder / "run", resume=False, console=Console(quiet=True), cache=folder).train()
    return folder / "run"


DESCRIBER = [
    "data.phrasings=null",
    "data.hold_out=0.2",
    "dtype=float32",
    "monitor.tensorboard=false",
    "schedule.samples=800",
    "model.encoders.text={kind: text_transformer, width: 64, layers: 1, heads: 2, vocabulary: 320}",
    "model.encoders.image={kind: image_transformer, width: 64, layers: 1, heads: 2, stem_channels: [16, 32]}",
    "model.decoders={text: {kind: text_autoregressive, width: 64, layers: 1, heads: 2, vocabulary: 320, languages: [en, zh]}}",
    "objectives={arrows: {image->text: 1.0}, align: 0.1}",
    "optimizer={kind: adamw, learning_rate: 0.003}",
    "schedule.decay_share=0.0",
    "ema_decay=0.9",
]


@pytest.fixture(scope="session")
def describer(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Tonggan:
    """A small model that has seen sixteen drawings for a few seconds."""
    folder = tmp_path_factory.mktemp("describer")
    recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}", *DESCRIBER])
    Run(recipe, folder / "run", resume=False, console=Console(quiet=True), cache=folder).train()
    return Tonggan.from_pretrained(folder / "run")


@pytest.fixture(params=["sqlite", "postgresql"])
def votes_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store of votes that is empty: a file, and a real PostgreSQL server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'votes.sqlite'}"
        return
    server = os.environ.get("TONGGAN_POSTGRESQL")
    if not server:
        pytest.skip("no PostgreSQL server: run the tests by `make test` or scripts/with_postgresql.sh")
    # A schema for each worker: tests that run side by side do not meet.
    schema = f"tests_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with create_engine(server).begin() as connection:
        connection.execute(CreateSchema(schema, if_not_exists=True))
    own = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    engine = create_engine(own)
    Base.metadata.drop_all(engine)
    yield own
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def store(votes_url: str) -> Iterator[VoteStore]:
    """An empty store of votes, of both kinds."""
    opened = VoteStore(votes_url)
    yield opened
    opened.close()
