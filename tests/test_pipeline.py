from pathlib import Path

import pytest
from PIL import Image

from tonggan.errors import UserError
from tonggan.pipeline import Tonggan


@pytest.mark.parametrize("inputs", [[], ()])
def test_nothing_has_no_points(describer: Tonggan, inputs: list[str] | tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="nothing to begin with"):
        describer.encode(inputs)


def test_a_path_is_what_the_file_holds_and_a_string_that_names_one_is_refused(describer: Tonggan, tmp_path: Path) -> None:
    picture, file = Image.new("RGB", (80, 60), "red"), tmp_path / "red.png"
    picture.save(file)
    assert (describer.encode(file) == describer.encode(picture)).all()
    assert describer.generate([file, picture], to="text")[0] == describer.generate(picture, to="text")[0]
    with pytest.raises(UserError, match=r"is a file, and a string is a caption. Give Path\('.*red.png'\)"):
        describer.encode(str(file))
    with pytest.raises(UserError, match="a list of image and text: inputs of one call are of one kind"):
        describer.encode([picture, "red"])
    with pytest.raises(UserError, match=r"notes\.txt: no kind of file that is known\. Known: \.png"):
        describer.encode(tmp_path / "notes.txt")
    with pytest.raises(UserError, match=r"none\.png"):
        describer.encode(tmp_path / "none.png")


def test_more_than_a_batch_is_made_as_one_is(drawer: Path, describer: Tonggan, monkeypatch: pytest.MonkeyPatch) -> None:
    model, captions = Tonggan.from_pretrained(drawer), ["red square", "blue bar", "green frame"]
    start = model.generate("red circle", to="image", seed=9)[0]
    how = {"n": 2, "seed": 3, "negative": "blue", "start": start, "settings": {"strength": 0.6}}
    at_once = model.generate(captions, to="image", **how)
    best = model.candidates(captions, to="image", seed=1, best_of=3)
    said = describer.generate(at_once, to="text")
    monkeypatch.setattr("tonggan.pipeline.AT_ONCE", 4)
    one_by_one = model.generate(captions, to="image", **how)
    assert max(abs(a - b) for x, y in zip(at_once, one_by_one, strict=True) for a, b in zip(x.tobytes(), y.tobytes(), strict=True)) <= 1
    assert [each.seed for each in model.candidates(captions, to="image", seed=1, best_of=3)] == [each.seed for each in best]
    assert describer.generate(at_once, to="text") == said


def test_a_negative_prompt_needs_guidance(drawer: Path, describer: Tonggan) -> None:
    model = Tonggan.from_pretrained(drawer)
    with pytest.raises(UserError, match=r"guidance is what leads away from a negative prompt.*leave guidance_scale at"):
        model.generate("red square", to="image", negative="blue", settings={"guidance_scale": 1})
    with pytest.raises(UserError, match="without guidance"):
        describer.generate(model.generate("red square", to="image")[0], to="text", negative="blue")


def test_overrides_are_for_the_decoders_that_have_them() -> None:
    model = Tonggan.from_pretrained("emoji-64")
    model.overrides = {"num_inference_steps": 1, "guidance_scale": 3.0, "num_beams": 1}
    assert len(model.generate(Image.new("RGB", (64, 64), "red"), to="image")) == 1  # by way of a sentence
    assert model.settings("text")["num_beams"] == 1
    assert model.settings("image")["guidance_scale"] == 3.0
    assert "num_beams" not in model.settings("image")
    model.overrides = {"guidance": 3.0}
    for make in (lambda: model.generate("red", to="image"), lambda: model.morph("red", "blue"), model.settings):
        with pytest.raises(UserError, match=r"no decoder of emoji-64 has a setting 'guidance'\. Did you mean 'guidance_scale'"):
            make()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"seed": 2**64}, "seed 18446744073709551616 has more than 64 bits"),
        ({"seed": 2**64 - 1, "n": 2}, "seed 18446744073709551616 has more than 64 bits"),
        ({"seed": 1.5}, r"seed=1\.5: seeds are whole numbers"),
        ({"seeds": [2**64]}, "seed 18446744073709551616 has more than 64 bits"),
        ({"seeds": ["7"]}, r"seeds=\['7'\]: seeds are whole numbers"),
        ({"seeds": 7}, "seeds=7: seeds are whole numbers"),
        ({"references": Path("x.png")}, r"references are a list, not one \w*Path: put it in brackets"),
        ({"references": Image.new("RGB", (64, 64))}, "references are a list, not one Image"),
        ({"start": [Image.new("RGB", (64, 64))]}, "all outputs start from one: give start an output or a Path, not a list"),
    ],
)
def test_what_is_no_seed_and_no_list_of_references_is_one_line(how: dict[str, object], said: str) -> None:
    model = Tonggan.from_pretrained("emoji-64-gan")
    with pytest.raises(UserError, match=said):
        model.generate("a red heart", to="image", **how)


def test_a_walk_needs_a_seed() -> None:
    with pytest.raises(UserError, match=r"seed=0\.5: seeds are whole numbers"):
        Tonggan.from_pretrained("emoji-64-gan").morph("a red heart", "a frog", seed=0.5)  # type: ignore[arg-type]


def test_the_best_are_ranked_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Tonggan.from_pretrained("emoji-64-gan")
    at_once = model.candidates("a red heart", to="image", best_of=6, n=6)
    encode, read = model.model.encode, list[int]()
    monkeypatch.setattr(model.model, "encode", lambda inputs, source, **how: (read.append(len(inputs)), encode(inputs, source, **how))[1])
    monkeypatch.setattr("tonggan.pipeline.AT_ONCE", 4)
    in_turns = model.candidates("a red heart", to="image", best_of=6, n=6)
    assert read == [1, 4, 2]
    assert [each.score for each in in_turns] == pytest.approx([each.score for each in at_once], abs=1e-4)
