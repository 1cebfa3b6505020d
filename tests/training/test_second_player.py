import copy
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import soundfile
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from tonggan.discriminators.vitals import REFERENCE, WARM_UP
from tonggan.errors import UserError
from tonggan.modalities.audio import open_sound
from tonggan.objectives.terms import LossTerms
from tonggan.pipeline import Tonggan
from tonggan.training.checkpoint import checkpoint_folders
from tonggan.training.preflight import overfit
from tonggan.training.recipe import Recipe, load_recipe, parse_recipe
from tonggan.training.run import InterruptedRunError, Run

QUIET = Console(quiet=True)
SMALL = [
    "data.phrasings=null",
    "data.hold_out=0.2",
    "dtype=float32",
    "model.encoders.text={kind: text_transformer, width: 64, layers: 1, vocabulary: 300}",
]


def recipe(shapes: Path, *overrides: str, name: str = "emoji-64-gan") -> Recipe:
    small = [*SMALL, "objectives.adversarial.augment={kind: ada, samples: 40, target: 0.01}", "monitor.tensorboard=false"]
    return load_recipe(name, smoke=True, overrides=[f"data.path={shapes}", *small, *overrides])


def lines(out: Path, kind: str) -> list[dict[str, float]]:
    return [line for line in map(json.loads, (out / "journal.jsonl").read_text().splitlines()) if line["kind"] == kind]


def state(out: Path) -> Path:
    return checkpoint_folders(out / "checkpoints")[-1] / "state.safetensors"


def run(recipe: Recipe, out: Path, *, resume: bool = False) -> Run:
    return Run(recipe, out, resume=resume, console=QUIET, cache=out.parent)


def stopped_and_gone_on(recipe: Recipe, out: Path, *, after: int) -> None:
    """Train a run that is stopped after so many steps, then go on with it to its end."""
    stopped = run(recipe, out)
    real = stopped.learner.advance

    def advance(loader: object) -> object:
        stopped.stop_asked = stopped.learner.step == after
        return real(loader)  # type: ignore[arg-type]

    stopped.learner.advance = advance  # type: ignore[method-assign,assignment]
    with pytest.raises(InterruptedRunError):
        stopped.train()
    run(recipe, out, resume=True).train()


def test_a_stopped_game_goes_on_with_the_same_bits(shapes: Path, tmp_path: Path) -> None:
    played = recipe(
        shapes, "model.decoders.image.path_length=0.1", "model.decoders.image.path_length_every=2", "objectives.adversarial.penalty_every=3"
    )
    run(played, tmp_path / "a").train()
    stopped_and_gone_on(played, tmp_path / "b", after=4)
    first, second = (load_file(state(tmp_path / name)) for name in "ab")
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert float(first["player.discriminator.augment.probability"]) > 0
    assert int(first["player.discriminator.turns"]) == 8
    assert any(name.startswith("optimizer.discriminator.") for name in first)
    assert lines(tmp_path / "a", "discriminator") == lines(tmp_path / "b", "discriminator")


def test_both_players_move_and_the_journal_tells_them_apart(shapes: Path, tmp_path: Path) -> None:
    begun = run(recipe(shapes), tmp_path / "run")
    before = {name: tensor.clone() for player in begun.learner.players for name, tensor in player.module.state_dict().items()}
    begun.train()
    after = {name: tensor for player in begun.learner.players for name, tensor in player.module.state_dict().items()}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("decoders.image.layers") for name in moved)
    assert any(name.startswith("discriminator.blocks") for name in moved)
    trained = lines(tmp_path / "run", "train")
    assert {
        "loss",
        "gradient_norm",
        "text->image adversarial",
        "discriminator loss",
        "discriminator gradient_norm",
        "discriminator margin",
    } <= trained[0].keys()
    assert "discriminator r1" in trained[0]
    held_out = lines(tmp_path / "run", "held_out")[-1]
    assert "text->image adversarial" not in held_out
    assert {"diversity_captions", "diversity_seeds", "memorised"} <= lines(tmp_path / "run", "discriminator")[-1].keys()
    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert not any("discriminator" in name for name in weights)


def test_a_discriminator_has_a_learning_rate_of_its_own(shapes: Path, tmp_path: Path) -> None:
    own = (
        "objectives.adversarial.learning_rate=0.004",
        "optimizer.kind=adamw",
        "optimizer.weight_decay=0.05",
    )  # adam, which the discriminator has, has no decay
    learner = run(recipe(shapes, *own), tmp_path / "run").learner
    assert [learner.optimizers[name][0].defaults["lr"] for name in ("model", "discriminator")] == [learner.recipe.optimizer.learning_rate, 0.004]


def test_a_checkpoint_without_its_discriminator_draws_and_is_not_gone_on_from(shapes: Path, tmp_path: Path) -> None:
    played = recipe(shapes)
    run(played, tmp_path / "run").train()
    kept = {name: tensor for name, tensor in load_file(state(tmp_path / "run")).items() if not name.startswith("player.")}
    save_file(kept, state(tmp_path / "run"))
    assert Tonggan.from_pretrained(tmp_path / "run").generate("red square", to="image", seed=3)[0].size == (64, 64)
    with pytest.raises(UserError, match=r"lacks tensors of the discriminator .*first: augment\.probability\).*initial=RUN"):
        run(played, tmp_path / "run", resume=True)
    again = run(played.model_copy(update={"initial": str(tmp_path / "run")}), tmp_path / "again")
    assert again.before is not None


def test_a_game_goes_on_from_a_checkpoint_that_was_watched_by_less(shapes: Path, tmp_path: Path) -> None:
    played = recipe(shapes)
    run(played, tmp_path / "run").train()
    kept, before = load_file(state(tmp_path / "run")), "player.discriminator.vitals."
    kept[f"{before}verdicts"], kept[f"{before}strikes"] = kept[f"{before}verdicts"][:3].clone(), torch.ones(5, dtype=torch.long)
    save_file(kept, state(tmp_path / "run"))
    game = run(played, tmp_path / "run", resume=True).learner.players[1].module.state_dict()
    assert not game["vitals.verdicts"].any()
    assert not game["vitals.strikes"].any()
    assert torch.equal(game["vitals.norms"], kept[f"{before}norms"])
    assert int(game["turns"]) == 8
    weight = next(name for name in kept if name.startswith("player.discriminator.discriminator.") and kept[name].ndim > 1)
    save_file(kept | {weight: kept[weight][:1].clone()}, state(tmp_path / "run"))
    with pytest.raises(UserError, match=r"has tensors of the discriminator in another shape \(1, first: discriminator\..*initial=RUN"):
        run(played, tmp_path / "run", resume=True)


def test_a_checkpoint_without_its_optimizers_is_not_gone_on_from(shapes: Path, tmp_path: Path) -> None:
    played = recipe(shapes)
    run(played, tmp_path / "run").train()
    kept = {name: tensor for name, tensor in load_file(state(tmp_path / "run")).items() if not name.startswith("optimizer.")}
    save_file(kept, state(tmp_path / "run"))
    with pytest.raises(UserError, match=r"lacks the state of the optimizers.*initial=RUN"):
        run(played, tmp_path / "run", resume=True)


def test_a_game_that_collapses_ends_with_what_was_made_before_it_kept(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["frozen=[decoders.image.linear]", "monitor.validate_every=2", "schedule.samples=64", "objectives.adversarial.patience=2"]
    begun = run(recipe(shapes, *settings, name="article-gan"), tmp_path / "run")
    sound = begun._look

    def look_then_collapse() -> bool:
        found = sound()
        if begun.learner.step == 2:
            torch.nn.init.zeros_(begun.model.decoders["image"].linear.weight)  # type: ignore[arg-type,union-attr]
            for _ in range(WARM_UP + REFERENCE):  # enough turns to tell by
                for player in range(2):
                    begun.learner.players[1].module.vitals.moved(player, 0.3)  # type: ignore[union-attr,operator]
        return found

    monkeypatch.setattr(begun, "_look", look_then_collapse)
    with pytest.raises(
        UserError, match=r"step 6: mode collapse: what is made for different captions.*the best state so far is in .*initial=THIS_RUN"
    ):
        begun.train()
    assert [line["step"] for line in lines(tmp_path / "run", "discriminator")] == [2, 4, 6]
    assert Tonggan.from_pretrained(tmp_path / "run").config["trained"]["samples"] == 16
    assert state(tmp_path / "run").parent.name == "step-000000006"
    begun.lock.release()
    again = run(begun.recipe, tmp_path / "run", resume=True)
    assert (begun._sound, again._sound) == (False, False)  # what is resumed keeps nothing, either, until a look sees no trouble


def test_a_run_that_has_ended_is_not_looked_at_again(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["frozen=[decoders.image.linear]", "monitor.validate_every=5", "schedule.samples=64", "objectives.adversarial.patience=2"]
    ended = run(recipe(shapes, *settings, "monitor.checkpoint_every=100", name="article-gan"), tmp_path / "run")
    look = ended._look

    def look_then_collapse() -> bool:
        found = look()
        if ended.learner.step == 5:
            torch.nn.init.zeros_(ended.model.decoders["image"].linear.weight)  # type: ignore[arg-type,union-attr]
            for _ in range(WARM_UP + REFERENCE):
                for player in range(2):
                    ended.learner.players[1].module.vitals.moved(player, 0.3)  # type: ignore[union-attr,operator]
        return found

    monkeypatch.setattr(ended, "_look", look_then_collapse)
    ended.train()
    seen = lines(tmp_path / "run", "discriminator")
    assert [line["step"] for line in seen] == [5, 8]
    again = run(ended.recipe, tmp_path / "run", resume=True)
    strikes = again.learner.players[1].module.vitals.strikes  # type: ignore[union-attr]
    assert strikes.max() == 1  # type: ignore[operator]
    again.train()  # a second look would end it, by two strikes
    assert strikes.max() == 1  # type: ignore[operator]
    assert lines(tmp_path / "run", "discriminator") == seen


def test_the_loss_does_not_choose_where_a_discriminator_judges(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the held-out loss says nothing of a game"):
        run(recipe(shapes, "monitor.best_by=loss"), tmp_path / "run")


VOICE = ["dtype=float32", "monitor.tensorboard=false", "data.hold_out=0.2"]


def voice(clips: Path, *overrides: str) -> Recipe:
    return load_recipe("foley-voice", smoke=True, overrides=[f"data.path={clips}", *VOICE, *overrides])


def test_a_vocoder_plays_goes_on_with_the_same_bits_and_nothing_else_moves(clips: Path, tmp_path: Path) -> None:
    settings = ["schedule.samples=48", "monitor.validate_every=2", "monitor.checkpoint_every=2"]
    whole = run(voice(clips, *settings), tmp_path / "a")
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    whole.train()
    moved = {name for name, value in whole.model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("decoders.audio.vocoder.") for name in moved)
    assert {"video->audio mel", "video->audio spectra", "video->audio adversarial"} <= set(lines(tmp_path / "a", "train")[0])
    assert {"margin", "diversity_captions", "memorised"} <= set(lines(tmp_path / "a", "discriminator")[0])
    stopped_and_gone_on(voice(clips, *settings), tmp_path / "b", after=3)
    first, second = (load_file(state(tmp_path / name)) for name in "ab")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_no_encoder_is_run_for_a_vocoder_alone(clips: Path, tmp_path: Path) -> None:
    alone = run(voice(clips, "objectives.adversarial=null", "objectives.kl=0.1", "model.space.variational=true"), tmp_path / "alone")
    both = run(voice(clips, "objectives.adversarial=null", "frozen=[encoders, space]"), tmp_path / "both")
    asked: list[str] = []
    for name, each in (("alone", alone), ("both", both)):

        def heard(*_: object, name: str = name, model: torch.nn.Module = each.model) -> None:
            if model.training:  # previews ask, too
                asked.append(name)

        each.model.encoders["video"].register_forward_hook(heard)
        each.train()
        terms = set(lines(tmp_path / name, "train")[0])
        assert {"video->audio mel", "video->audio spectra"} <= terms
        assert ("video->audio flow" in terms) == (name == "both")
    assert set(asked) == {"both"}


def test_an_encoder_learns_through_a_frozen_decoder_of_sounds(clips: Path, tmp_path: Path) -> None:
    frozen = voice(clips, "objectives.adversarial=null", "monitor.best_by=loss", "frozen=[decoders.audio]")
    begun = run(frozen, tmp_path / "run")
    before = {name: value.clone() for name, value in begun.model.state_dict().items()}
    begun.train()
    moved = {name for name, value in begun.model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("encoders.video.") for name in moved)
    assert not any(name.startswith("decoders.") for name in moved)
    assert set(lines(tmp_path / "run", "held_out")[-1]) == {"step", "kind", "loss", "video->audio flow"}
    for number, still in enumerate(("[decoders, encoders, space]", "[decoders.audio, encoders.video, space]")):
        with pytest.raises(UserError, match="leave nothing of the model that could learn"):
            run(voice(clips, "objectives.adversarial=null", f"frozen={still}"), tmp_path / "none" / str(number))
    distilled = ["objectives.distil={teacher: foley, guidance_scale: 1.0, steps: 16}", "frozen=[decoders.audio.network]"]
    with pytest.raises(UserError, match="leave nothing of the model that could learn"):  # a vocoder learns nothing from a teacher
        run(voice(clips, "objectives.adversarial=null", *distilled), tmp_path / "none" / "distilled")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("adversarial", ["{}", "null"])
def test_sounds_alone_teach_a_vocoder(adversarial: str, clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, clip in enumerate(sorted(clips.rglob("*.mp4"))):
        sound = open_sound(clip)
        soundfile.write(folder / f"{number}.wav", sound.samples.T, sound.sample_rate_hz)
    how = [] if adversarial == "{}" else [f"objectives.adversarial={adversarial}"]
    told = StringIO()
    Run(voice(folder, *how), tmp_path / "run", resume=False, console=Console(file=told, width=400), cache=tmp_path).train()
    assert "video->audio mel" in lines(tmp_path / "run", "train")[0]
    assert "nothing teaches encoders.video" in told.getvalue()
    assert not (tmp_path / "run" / "samples").exists()


def test_sounds_alone_do_not_teach_what_is_seen(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(4):
        soundfile.write(folder / f"{number}.wav", torch.rand(16_000 * 3).numpy() - 0.5, 16_000)
    overrides = [f"data.path={folder}", "data.augment=null", "data.hold_out=0", "dtype=float32", "monitor.tensorboard=false"]
    with pytest.raises(UserError, match=r"the data has no video; it has .*audio"):
        run(load_recipe("foley-fast", smoke=True, overrides=overrides), tmp_path / "run").train()


def test_mistakes_of_a_voice(clips: Path, tmp_path: Path) -> None:
    mistakes = (
        ("objectives.adversarial.discriminator={channels: 16}", r"adversarial\.discriminator has no use here, where sounds are judged"),
        ("objectives.adversarial.voice={resolutions: [[256, 0]]}", r"resolutions.*greater than 0"),
        ("objectives.adversarial.mismatched=0.5", "a voice is judged by itself"),
        ("objectives.adversarial.augment={kind: ada}", "augment changes pictures; sounds are judged"),
        ("model.decoders.audio.vocoder=null", "of sounds the vocoder is judged, and this model has none"),
        ("frozen=[decoders.audio]", "of sounds the vocoder is judged, and this model has none"),
    )
    for number, (override, said) in enumerate(mistakes):
        with pytest.raises(UserError, match=said):
            run(voice(clips, override), tmp_path / str(number)).train()


def test_who_broke_is_named(shapes: Path, tmp_path: Path) -> None:
    learner = run(recipe(shapes), tmp_path / "run")
    loss = learner.learner.players[1].loss
    broken = replace(learner.learner.players[1], loss=lambda batch, randomness: LossTerms({"bad": loss(batch, randomness).total * torch.nan}))
    learner.learner.players[1] = broken
    with pytest.raises(UserError, match=r"a lower objectives\.adversarial\.learning_rate or a higher penalty \(the discriminator broke\)"):
        learner.train()


def test_mistakes_of_a_recipe(shapes: Path, tmp_path: Path) -> None:
    said = "model.decoders.text={kind: text_autoregressive, latent_width: 320, width: 64, layers: 1, heads: 2, vocabulary: 300, languages: [en]}"
    both = "objectives.arrows={text->image: 1.0, image->text: 1.0}"

    def begin(*overrides: str, name: str = "emoji-64-gan") -> None:
        run(recipe(shapes, *overrides, name=name), tmp_path / "none")

    with pytest.raises(UserError, match="there is no discriminator for text, only for image, audio"):
        begin(said, "model.decoders.image={kind: image_deconv, latent_width: 320}", both, "objectives.adversarial.arrow=image->text")
    with pytest.raises(UserError, match=r"'image->text' is not trained in this recipe\. Known: text->image"):
        begin("objectives.adversarial.arrow=image->text")
    with pytest.raises(UserError, match=r"'image_stylegan' learns from a discriminator alone\. Give the recipe objectives\.adversarial"):
        begin("objectives.adversarial=null")
    with pytest.raises(UserError, match=r"set model\.decoders\.image\.guidance_scale=1"):
        begin("model.decoders.image={kind: image_flow, width: 80, layers: 1, guidance_scale: 2.0}")
    with pytest.raises(UserError, match=r"weight: .*finite"):
        begin("objectives.adversarial.weight=.inf")
    with pytest.raises(UserError, match=r"set model\.space\.condition_dropout=0"):
        begin("model.space.condition_dropout=0.1")
    with pytest.raises(UserError, match="no arrow is trained whose outputs could be judged"):
        begin("objectives.arrows={text->image: 0.0}")
    with pytest.raises(UserError, match=r"objectives\.adversarial\.features has no use here, where pictures are judged"):
        begin("objectives.adversarial.features={width: 64}")
    assert not (tmp_path / "none").exists()  # all of this is said before anything is made
    with pytest.raises(UserError, match="cannot be split into 3 heads"):
        begin("objectives.adversarial.discriminator.heads=3")
    with pytest.raises(UserError, match=r"truncation.*less than or equal to 1"):
        begin("model.decoders.image.truncation=1.5")
    with pytest.raises(UserError, match="adversarial and prefer are two goals"):
        begin("objectives.prefer={preferences: none.jsonl}")
    with pytest.raises(UserError, match=r"'lates' is not measured.*Did you mean 'latest'"):
        begin("monitor.best_by=lates")


@pytest.mark.parametrize("solver", ["euler", "ancestral"])
def test_few_steps_are_finished_before_a_discriminator_on_the_teachers_features(small_recipe: Recipe, tmp_path: Path, solver: str) -> None:
    run(small_recipe, tmp_path / "teacher").train()
    settings = small_recipe.model_dump(mode="json") | {"initial": str(tmp_path / "teacher")}
    settings["objectives"] |= {
        "align": 0.0,
        "distil": {"teacher": str(tmp_path / "teacher"), "guidance_scale": 1.5, "steps": 4},
        "adversarial": {"loss": "hinge", "mismatched": 0.0, "features": {"blocks": [0], "width": 16}},
    }
    settings["model"]["decoders"]["image"] |= {"num_inference_steps": 2, "guidance_scale": 1.0, "solver": solver}
    begun = run(parse_recipe(settings, where="test"), tmp_path / "student")
    decoder, discriminator = (player.module for player in begun.learner.players)
    assert decoder is begun.model.decoders["image"]
    parameters = [name for name, _ in discriminator.named_parameters()]
    assert all(name.startswith(("discriminator.heads", "discriminator.verdicts", "discriminator.points")) for name in parameters)
    begun.train()
    teacher, student = (Tonggan.from_pretrained(tmp_path / name).model.state_dict() for name in ("teacher", "student"))
    moved = {name for name in teacher if not torch.equal(teacher[name], student[name])}
    assert moved
    assert all(name.startswith("decoders.image.") for name in moved)
    trained = lines(tmp_path / "student", "train")
    assert {"flow", "adversarial", "discriminator r1", "discriminator made"} <= trained[0].keys()
    assert trained[-1]["discriminator margin"] > trained[0]["discriminator margin"]
    wrong = copy.deepcopy(settings)
    wrong["model"]["decoders"]["image"]["guidance_scale"] = 2.0
    with pytest.raises(UserError, match=r"distil teaches guidance, which model\.decoders\.image\.guidance_scale would add again"):
        run(parse_recipe(wrong, where="test"), tmp_path / "other")
    wrong = copy.deepcopy(settings)
    wrong["objectives"]["adversarial"]["arrow"] = "image->image"
    with pytest.raises(UserError, match=r"'image->image' is not trained in this recipe"):
        run(parse_recipe(wrong, where="test"), tmp_path / "other")
    settings["objectives"]["adversarial"]["features"]["blocks"] = [7]
    with pytest.raises(UserError, match="has blocks 0 to 0, not 7"):
        run(parse_recipe(settings, where="test"), tmp_path / "other")


def test_truncation_is_a_setting_of_drawing(shapes: Path, tmp_path: Path) -> None:
    run(recipe(shapes), tmp_path / "run").train()
    model = Tonggan.from_pretrained(tmp_path / "run")
    with pytest.raises(UserError, match=r"truncation: .*less than or equal to 1 .*1\.5"):
        model.generate("red square", to="image", settings={"truncation": 1.5})
    one, other = (model.generate("red square", to="image", seed=1, settings={"truncation": value})[0].tobytes() for value in (0.0, 1.0))
    assert one != other


@pytest.mark.slow
def test_four_samples_are_learned_by_heart_beside_a_discriminator(shapes: Path, tmp_path: Path) -> None:
    played = recipe(shapes, "objectives.adversarial.augment={kind: none}", "model.decoders.image.channels=64", name="article-gan")
    assert overfit(played, count=4, out=tmp_path / "out", cache=tmp_path, console=Console())
