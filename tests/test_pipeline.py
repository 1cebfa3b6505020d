from pathlib import Path

import pytest

from tonggan.errors import UserError
from tonggan.pipeline import Tonggan


@pytest.mark.parametrize("inputs", [[], ()])
def test_nothing_has_no_points(describer: Tonggan, inputs: list[str] | tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="nothing to encode"):
        describer.encode(inputs)


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
