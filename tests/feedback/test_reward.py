import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from tonggan.choosing import best, ranking
from tonggan.data.preferences import read_preferences
from tonggan.errors import UserError
from tonggan.evaluation.drawing import BestOf
from tonggan.feedback.reward import HELD_OUT, learn_reward
from tonggan.modalities.image import open_picture
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import load_recipe
from tonggan.training.run import Run

SMALL = ["data.phrasings=null", "data.hold_out=0.2", "dtype=float32", "model.encoders.text.vocabulary=300", "model.encoders.text.width=64"]


def drawer(shapes: Path, folder: Path, *overrides: str) -> Tonggan:
    recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}", "monitor.tensorboard=false", *SMALL, *overrides])
    Run(recipe, folder / "run", resume=False, console=Console(quiet=True), cache=folder).train()
    return Tonggan.from_pretrained(folder / "run")


@pytest.fixture(scope="module")
def model(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Tonggan:
    return drawer(shapes, tmp_path_factory.mktemp("drawer"))


@pytest.fixture(scope="module")
def head(model: Tonggan, preferences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that learned to prefer red to blue."""
    path = tmp_path_factory.mktemp("head") / "reward.safetensors"
    learned = learn_reward(model, preferences, path)
    assert learned.preferences + learned.held_out == 12
    assert learned.agreed == learned.held_out_agreed == 1.0
    return path


def test_a_head_prefers_what_people_did_where_it_never_looked(model: Tonggan, head: Path, shapes: Path) -> None:
    rank = ranking(model.model, source="text", target="image", reward=head)
    pictures = [open_picture(shapes / f"{colour}-{shape}.png") for shape in ("frame", "square") for colour in ("red", "blue")]
    tensor = torch.stack([torch.as_tensor(list(picture.tobytes())).reshape(64, 64, 3).permute(2, 0, 1) / 127.5 - 1 for picture in pictures])
    scores = rank(tensor, model._latent(["something new"] * 4))
    assert scores[0] > scores[1]
    assert scores[2] > scores[3]


def test_what_is_held_out_is_never_looked_at(model: Tonggan, preferences: Path, head: Path, tmp_path: Path) -> None:
    held = read_preferences(preferences, source="text", target="image", framing=model.framing).hold_out(HELD_OUT, seed=0)[1]
    asked = {row.prompt for row in held.rows}
    rows = [json.loads(line) for line in preferences.read_text().splitlines()]
    turned = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} if row["prompt"] in asked else row for row in rows]
    assert 0 < sum(one != other for one, other in zip(rows, turned, strict=True)) < len(rows)
    shutil.copytree(preferences.parent / "files", tmp_path / "files")
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in turned))
    learned = learn_reward(model, tmp_path / "train.jsonl", tmp_path / "reward.safetensors")
    assert (learned.agreed, learned.held_out_agreed) == (1.0, 0.0)  # the opposite of what was learned
    before, now = load_file(head), load_file(tmp_path / "reward.safetensors")
    assert all(torch.equal(before[name], now[name]) for name in before)


def test_the_best_of_n_are_those_with_the_highest_scores(model: Tonggan, head: Path) -> None:
    every = model.candidates(["red square", "blue bar"], to="image", seed=3, n=4, best_of=4, reward=head)
    two = model.candidates(["red square", "blue bar"], to="image", seed=3, n=2, best_of=4, reward=head)
    assert [each.seed for each in two] == [every[place].seed for place in (0, 1, 4, 5)]
    assert sorted(each.seed for each in every) == list(range(3, 11))
    for part in (every[:4], every[4:]):
        assert [each.score for each in part] == sorted((each.score for each in part), reverse=True)
    made = model.generate(["red square", "blue bar"], to="image", seed=3, n=2, best_of=4, reward=head)
    assert [one.tobytes() for one in made] == [each.output.tobytes() for each in two]
    alone = model.generate("red square", to="image", seed=two[0].seed)[0]
    assert max(abs(a - b) for a, b in zip(alone.tobytes(), two[0].output.tobytes(), strict=True)) <= 1


def test_an_evaluation_keeps_the_pictures_that_draw_keeps(model: Tonggan) -> None:
    captions = ["red square", "blue bar", "green frame"]
    kept = BestOf(model, 2).generate(captions, to="image", seeds=[4, 0, 1])
    for caption, seed, picture in zip(captions, [8, 0, 2], kept, strict=True):
        best = model.candidates(caption, to="image", seed=seed, best_of=2)[0].output
        assert max(abs(a - b) for a, b in zip(best.tobytes(), picture.tobytes(), strict=True)) <= 1
    assert BestOf(model, 2).settings() == model.settings() | {"best_of": 2}


def test_without_a_head_closeness_in_the_space_ranks(model: Tonggan) -> None:
    found = model.candidates("red square", to="image", seed=0, n=3, best_of=3)
    points = model.encode([each.output for each in found])
    closeness = (points @ model.encode("red square").T).squeeze(1)
    torch.testing.assert_close(torch.tensor([each.score for each in found]), closeness, atol=2e-3, rtol=0)
    assert found[0].score >= found[1].score >= found[2].score


def test_of_equals_the_first_is_taken() -> None:
    assert [each.seed for each in best([*"abcd"], torch.tensor([1.0, 2.0, 2.0, 0.0]), [5, 6, 7, 8], of=4, n=2)] == [6, 7]


def test_mistakes(model: Tonggan, head: Path, shapes: Path, preferences: Path, tmp_path: Path) -> None:
    def rank(reward: Path, source: str = "text") -> None:
        ranking(model.model, source=source, target="image", reward=reward)

    other = drawer(shapes, tmp_path, "seed=5")
    with pytest.raises(UserError, match="space of another model"):
        other.generate("red square", to="image", best_of=2, reward=head)
    with pytest.raises(UserError, match=r"judges text->image, not image->image"):
        rank(head, source="image")
    with pytest.raises(UserError, match=r"no such file.*votes learn"):
        rank(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(head.read_bytes()[:300])
    with pytest.raises(UserError, match="damaged, or no reward head"):
        rank(tmp_path / "cut.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="but no reward head"):
        rank(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="best 3 of 2 is no choice"):
        model.generate("red square", to="image", n=3, best_of=2)
    with pytest.raises(UserError, match="give seed, not seeds"):
        model.generate("red square", to="image", seeds=[1], best_of=2)
    few = tmp_path / "train.jsonl"
    shutil.copytree(preferences.parent / "files", tmp_path / "files")
    few.write_text("".join(json.dumps(row) + "\n" for row in map(json.loads, preferences.read_text().splitlines()[:3])))
    with pytest.raises(UserError, match="holds 3 preferences on text->image; a reward head needs 8"):
        learn_reward(model, few, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_model_that_cannot_read_what_it_makes(sounder: Tonggan, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no encoder for 'audio'"):
        ranking(sounder.model, source="video", target="audio")
