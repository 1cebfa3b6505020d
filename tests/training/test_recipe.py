from pathlib import Path

import pytest
from pydantic import ValidationError

from tonggan.errors import UserError
from tonggan.goals import ObjectivesConfig
from tonggan.training.recipe import load_recipe, recipe_files, resolved_yaml


def test_other_data_is_not_said_to_come_from_where_the_recipes_own_does(tmp_path: Path) -> None:
    assert "Noto" in load_recipe("emoji-64").data.source
    assert load_recipe("emoji-64", overrides=["data.path=mine"]).data.source == ""
    assert load_recipe("emoji-64", overrides=["data.path=mine", "data.source=my own"]).data.source == "my own"
    for said, source in (("", ""), ("  source: my own\n", "my own")):
        recipe = tmp_path / "mine.yaml"
        recipe.write_text(f"base: emoji-64\ndata:\n  path: mine\n{said}", encoding="utf-8")
        assert load_recipe(str(recipe)).data.source == source
    assert "Noto" in load_recipe("emoji-64-words").data.source


@pytest.mark.parametrize(
    ("recipe", "overrides", "length"),
    [
        ("flickr8k-64", ["schedule.samples=500"], (500, None)),
        ("flickr8k-64", ["schedule.epochs=null", "schedule.samples=500"], (500, None)),
        ("emoji-64", ["schedule.epochs=3"], (None, 3)),
        ("emoji-64", ["schedule.epochs=null"], (230_000, None)),
    ],
)
def test_the_length_that_is_asked_for_replaces_the_recipes(
    recipe: str, overrides: list[str], length: tuple[int | None, float | None], tmp_path: Path
) -> None:
    schedule = load_recipe(recipe, overrides=overrides).schedule
    assert (schedule.samples, schedule.epochs) == length
    lines = "".join(f"  {each.removeprefix('schedule.').replace('=', ': ')}\n" for each in overrides)
    (tmp_path / "mine.yaml").write_text(f"base: {recipe}\nschedule:\n{lines}", encoding="utf-8")
    schedule = load_recipe(str(tmp_path / "mine.yaml")).schedule
    assert (schedule.samples, schedule.epochs) == length


def test_a_section_that_is_left_empty_is_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: emoji-64\ndata:\n", encoding="utf-8")
    with pytest.raises(UserError, match="data: "):
        load_recipe(str(recipe))


@pytest.mark.parametrize(
    ("recipe", "override", "said"),
    [
        ("foley", "data.frames_per_second=12.5", r"model\.encoders\.video\.frames_per_second is 25 and data\.frames_per_second 12\.5: .* the same"),
        ("foley", "data.sample_rate_hz=8000", r"model\.decoders\.audio\.mel\.sample_rate_hz is 16000"),
        ("foley", "data.clip_seconds=1.28", r"model\.decoders\.audio\.clip_seconds is 2\.56"),
        ("emoji-64", "data.size=32", r"size is 64 and data\.size 32"),
        ("emoji-64", "model.space.width=256", r"model\.decoders\.image\.latent_width is 320 and model\.space\.width 256"),
        ("emoji-64", "model.encoders.text.width=250", "text_transformer: width 250 cannot be split into 4 heads"),
        ("emoji-64", "model.decoders.image.heads=32", "image_flow: width 320 in 32 heads is 10 each, .* a multiple of 4"),
        ("foley", "model.decoders.audio.heads=256", "audio_flow: width 256 in 256 heads is 1 each, .* a multiple of 2"),
        ("emoji-64", "model.encoders.text.vocabulary=200", r"model\.encoders\.text\.vocabulary: 200 pieces are too few"),
        ("emoji-64", "model.encoders.text.max_tokens=2", r"model\.encoders\.text\.max_tokens: .*greater than or equal to 3"),
        ("emoji-64", "model.encoders.text.heads=0", r"model\.encoders\.text\.heads: .*greater than or equal to 1 \(got 0\)"),
        ("emoji-64", "model.decoders.image.layers=0", "layers: .*greater than or equal to 1"),
        ("emoji-64", "model.decoders.image.stem_blocks=0", "stem_blocks: .*greater than or equal to 1"),
        ("emoji-64", "model.decoders.image.stem_channels=[0, 8]", r"stem_channels\.0: .*greater than or equal to 1"),
        ("emoji-64", "model.decoders.image.look_every=-1", "look_every: .*greater than or equal to 0"),
        ("emoji-64", "model.space.condition_dropout=10", "condition_dropout: .*less than 1"),
        ("emoji-64", "model.space.condition_dropout=1", "condition_dropout: .*less than 1"),
        ("emoji-64", "model.memory.dropout=3", "dropout: .*less than or equal to 1"),
        ("spoken-digits", "model.decoders.text.label_smoothing=3", "label_smoothing: .*less than or equal to 1"),
        ("emoji-64-gan", "objectives.adversarial.features={blocks: []}", "blocks: .*at least 1 item"),
        ("emoji-64", "seed=-1", "seed: .*greater than or equal to 0"),
        ("emoji-64", "optimizer.clip_norm=-1", "clip_norm: .*greater than 0"),
        ("emoji-64", "ema_decay=2", "ema_decay: .*less than 1"),
        ("emoji-64", "data.max_broken_rate=.nan", "max_broken_rate: .*nan"),
        ("emoji-64", "model.decoders.image.time_shift=0", "time_shift: .*greater than 0"),
        ("emoji-64", "model.decoders.image.solver=eulr", r"solver 'eulr' is not known\. Did you mean 'euler'"),
        ("foley", "model.decoders.audio.guidance_interval=[0.3, 0]", "guidance_interval: 0.3 to 0 is no interval of times"),
        ("foley", "objectives.arrows={}", "nothing would be learned"),
        ("emoji-64", "objectives.arrows={'text->image': -1}", "text->image: .*greater than or equal to 0"),
        ("emoji-64", "model.decoders.image.layer=3", r"model\.decoders\.image: unknown key 'layer'\. Did you mean 'layers'\? Known: .*, width\."),
        ("emoji-64", "batch_size=3", r"unknown key 'batch_size'\. Did you mean 'schedule\.batch_size'\?$"),
        ("emoji-64", "lr=3", r"unknown key 'lr'\. Did you mean 'objectives\.adversarial\.learning_rate' or 'optimizer\.learning_rate'\?$"),
        ("emoji-64", "optimizer.lr=3", r"unknown key 'optimizer\.lr'\. Did you mean 'learning_rate'\? Known: betas, "),
        ("emoji-64", "data.augment={probability: 2}", "probability: .*less than or equal to 1"),
        ("emoji-64", "data.augment={rotate: -8}", "rotate: .*greater than or equal to 0"),
        ("emoji-64", "data.augment={scale: 40}", "scale: .*less than or equal to 2"),
        ("emoji-64", "schedule={samples: 5, epochs: 2}", r"both set: leave one out, or set it to null \(schedule\.epochs=null\)"),
        ("emoji-64", "schedule.samples=null", r"set either samples or epochs, such as schedule\.epochs=20"),
        ("emoji-64", "data.phrasings={en: {templates: []}}", "templates: .*at least 1 item"),
        ("emoji-64", "data.phrasings={en: {weight: -1}}", "weight: .*greater than or equal to 0"),
        ("emoji-64", "data.balance={by: style}", r"data\.balance\.by: 'style' is the same for every row\. .*: '\{style\}'"),
        ("emoji-64", "frozen=encoders.text", r"frozen is a list: write frozen=\[encoders\.text\]"),
        ("emoji-64", "bogus=3", r"unknown key 'bogus'\. Known: data, device, "),
        ("emoji-64", "model.encoders=3", r": model\.encoders is a section: "),
    ],
)
def test_settings_that_do_not_go_together_are_said_before_anything_runs(recipe: str, override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_recipe(recipe, overrides=[override])


def test_a_rate_of_muon_is_refused_where_nothing_is_moved_by_it() -> None:
    with pytest.raises(UserError, match=r"optimizer\.muon_learning_rate=0\.1: optimizer\.kind is adamw, .* Set optimizer\.learning_rate"):
        load_recipe("emoji-64", overrides=["optimizer.kind=adamw", "optimizer.muon_learning_rate=0.1"])
    assert load_recipe("emoji-64", overrides=["optimizer.kind=adamw"]).optimizer.kind == "adamw"  # the recipe has a rate of Muon
    assert load_recipe("emoji-64", overrides=["optimizer.muon_learning_rate=0.1"]).optimizer.muon_learning_rate == 0.1


def test_two_lengths_asked_for_at_once_are_an_error() -> None:
    with pytest.raises(UserError, match="samples and epochs are both set"):
        load_recipe("flickr8k-64", overrides=["schedule.samples=5", "schedule.epochs=2"])


def test_a_smoke_form_that_is_no_section_is_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: emoji-64\nsmoke: 3\n", encoding="utf-8")
    with pytest.raises(UserError, match="smoke is a section"):
        load_recipe(str(recipe), smoke=True)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["schedule.batch_size=abc", "seed=1"], "schedule.batch_size=abc: "),
        (["seed=1", "schedule={samples: x}"], "schedule={samples: x}: "),
        (["model.decoders.image.width=3.5"], "model.decoders.image.width=3.5: "),
        (["data.size=32"], "emoji-64.yaml: "),
    ],
)
def test_what_is_wrong_on_the_command_line_is_not_blamed_on_the_recipe(overrides: list[str], named: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe("emoji-64", overrides=overrides)
    assert str(error.value).split("/")[-1].startswith(named)


def test_an_arrow_without_a_weight_is_not_trained() -> None:
    both = {"arrows": {"text->image": 0.0, "image->text": 1.0}}
    assert ObjectivesConfig.model_validate(both).trained() == ["image->text"]
    distil = {"distil": {"teacher": "emoji-64"}}
    assert ObjectivesConfig.model_validate(both | distil).decoder_alone() == "distil"  # one of the two has a weight: that is one arrow
    for arrows, named in (({"text->image": 1.0, "image->text": 1.0}, "text->image, image->text"), ({"text->image": 0.0}, "none")):
        with pytest.raises(ValidationError, match=f"distil trains the decoder of one arrow, and .* there are: {named}"):
            ObjectivesConfig.model_validate({"arrows": arrows, "align": 0.1} | distil)


def test_a_key_that_stands_twice_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: emoji-64\nschedule:\n  samples: 5\n  batch_size: 2\n  samples: 50\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml, line 5: 'samples' stands in a section that has it already, in line 3"):
        load_recipe(str(recipe))
    with pytest.raises(UserError, match=r"'schedule=\{.*\}', line 1: 'samples'"):
        load_recipe("emoji-64", overrides=["schedule={samples: 5, samples: 6}"])


def test_whole_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: emoji-64\nschedule: {samples: 1e5}\n", encoding="utf-8")
    assert load_recipe(str(recipe)).schedule.samples == 100_000
    read = load_recipe("emoji-64", overrides=["schedule.samples=2e5", "schedule.warmup_samples=1.5e3", "optimizer.learning_rate=1e-3"])
    assert (read.schedule.samples, read.schedule.warmup_samples, read.optimizer.learning_rate) == (200_000, 1500, 0.001)
    with pytest.raises(UserError, match=r"schedule\.samples=1e-1: "):
        load_recipe("emoji-64", overrides=["schedule.samples=1e-1"])


def test_a_base_is_sought_beside_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, seed in ((tmp_path / "mine", 3), (tmp_path, 4)):
        folder.mkdir(exist_ok=True)
        (folder / "above.yaml").write_text(f"base: emoji-64\nseed: {seed}\n", encoding="utf-8")
    recipe = tmp_path / "mine" / "below.yaml"
    recipe.write_text("base: above.yaml\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("mine/below.yaml").seed == 3
    (tmp_path / "mine" / "above.yaml").unlink()
    assert load_recipe("mine/below.yaml").seed == 4


@pytest.mark.parametrize("name", sorted(recipe_files()))
def test_a_resolved_recipe_stands_alone_and_is_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(resolved_yaml(name), encoding="utf-8")
    assert load_recipe(str(tmp_path / "mine.yaml")) == load_recipe(name)
