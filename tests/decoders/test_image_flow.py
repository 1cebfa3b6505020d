from dataclasses import replace

import pytest
import torch

from tonggan.decoders.image_deconv import ImageDeconv
from tonggan.decoders.image_flow import ImageFlow, ImageFlowConfig
from tonggan.decoders.smoothing import bilateral
from tonggan.errors import UserError
from tonggan.goals import DistilConfig
from tonggan.latent.record import Latent, References
from tonggan.objectives import flow

SMALL = ImageFlowConfig(size=16, latent_width=8, width=32, layers=1, heads=2, stem_channels=(16, 16), references=2, num_inference_steps=4)


def some(rows: int, seed: int = 0) -> Latent:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(rows, 3, 8, generator=generator)
    references = References(torch.randn(rows, 2, 3, 16, 16, generator=generator).tanh(), torch.ones(rows, 2, dtype=torch.bool))
    return Latent(tokens, torch.ones(rows, 3, dtype=torch.bool), torch.nn.functional.normalize(tokens.mean(1), dim=-1), references=references)


@pytest.fixture
def decoder() -> ImageFlow:
    torch.manual_seed(0)
    made = ImageFlow(SMALL)
    for parameter in made.parameters():
        if not parameter.any():  # what starts at zero would make every prediction the same
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def draw(decoder: ImageFlow, latent: Latent, **settings: object) -> torch.Tensor:
    with torch.no_grad():
        nothing = Latent(torch.zeros_like(latent.tokens), latent.mask, latent.pooled)
        return decoder.generate(latent, against=nothing, seeds=list(range(len(latent))), settings=decoder.settings_with(settings))


def test_references_are_seen(decoder: ImageFlow) -> None:
    latent = some(2)
    seen, alone = draw(decoder, latent), draw(decoder, latent, references=0)
    assert (seen - alone).abs().max() > 1e-3
    swapped = Latent(latent.tokens, latent.mask, latent.pooled, references=some(2, seed=1).references)
    assert (seen - draw(decoder, swapped)).abs().max() > 1e-3


def test_truncation_makes_seeds_alike(decoder: ImageFlow) -> None:
    latent = some(1).rows(torch.tensor([0, 0]))

    def apart(**settings: object) -> float:
        one, other = draw(decoder, latent, solver="ancestral", **settings)
        return float((one - other).abs().mean())

    none, half, whole = (apart(truncation=value) for value in (0.0, 0.5, 1.0))
    assert none == 0 < half < whole == apart()
    with pytest.raises(UserError, match=r"truncation: .*less than or equal to 1"):
        decoder.settings_with({"truncation": 1.5})


def test_more_references_than_there_is_room_for_are_refused(decoder: ImageFlow) -> None:
    assert decoder.settings_with({"references": 2})["references"] == 2
    with pytest.raises(UserError, match="references=3: the image decoder looks at 2 at the most"):
        decoder.settings_with({"references": 3})


def test_no_references_are_the_same_as_absent_ones(decoder: ImageFlow) -> None:
    latent = some(2)
    without = Latent(latent.tokens, latent.mask, latent.pooled)
    torch.testing.assert_close(draw(decoder, latent, references=0), draw(decoder, without))


def test_blocks_that_look_begin_as_if_they_did_not_and_then_see_what_is_there_alone(decoder: ImageFlow) -> None:
    torch.manual_seed(0)
    looking = ImageFlow(SMALL.model_copy(update={"look_every": 1}))
    known, latent = decoder.state_dict(), some(2)
    looking.load_state_dict(known, strict=False)
    assert not any("look" in name or "reference_tokens" in name for name in known)
    torch.testing.assert_close(draw(looking, latent), draw(decoder, latent))
    torch.nn.init.normal_(looking.network.blocks[0].look.out.weight, std=0.1)
    there = draw(looking, latent)
    assert (there - draw(decoder, latent)).abs().max() > 1e-3
    assert latent.references is not None
    hidden = latent.references.first(1)
    absent = replace(latent, references=replace(hidden, values=latent.references.values, present=hidden.present))
    hidden_tokens, absent_tokens = (looking.network._looks(each)[0] for each in (replace(latent, references=hidden), absent))
    queries = torch.randn(2, 4, 32)
    rotation = (looking.network.cosine, looking.network.sine)
    look = looking.network.blocks[0].look
    torch.testing.assert_close(look(queries, hidden_tokens, rotation), look(queries, absent_tokens, rotation))


def test_new_noise_at_every_step_is_of_each_rows_own_seed(decoder: ImageFlow) -> None:
    latent = some(3)
    whole = draw(decoder, latent, solver="ancestral")
    torch.testing.assert_close(draw(decoder, latent.rows(torch.arange(2)), solver="ancestral"), whole[:2])
    assert (whole - draw(decoder, latent, solver="euler")).abs().max() > 1e-3
    with pytest.raises(UserError, match="ancestral"):
        draw(decoder, latent, solver="ancestrel")


def test_half_precision_draws_nearly_the_same(decoder: ImageFlow) -> None:
    latent = some(2)
    whole, half = draw(decoder, latent, num_inference_steps=3), draw(decoder, latent, num_inference_steps=3, dtype="bfloat16")
    assert half.dtype == torch.float32
    assert 0 < (whole - half).abs().mean() < 0.05
    with pytest.raises(UserError, match=r"dtype 'bfloat61' is not known\. Did you mean 'bfloat16'"):
        draw(decoder, latent, dtype="bfloat61")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_inference_steps", 0, r"num_inference_steps: .*greater than or equal to 1 \(got 0\)"),
        ("num_inference_steps", "few", "num_inference_steps: .*integer.*'few'"),
        ("guidance_scale", "x", "guidance_scale: .*number.*'x'"),
        ("guidance_interval", 0.5, r"guidance_interval is a list: write guidance_interval=\[0\.5\]"),
        ("guidance_interval", (0.6, 0.2), "guidance_interval: 0.6 to 0.2 is no interval"),
        ("time_shift", 0.0, "time_shift: .*greater than 0"),
        ("strength", 7.0, "strength: .*less than or equal to 1"),
        ("guidance", 2.0, "no setting 'guidance'.*'guidance_scale'"),
    ],
)
def test_a_setting_that_cannot_be_is_named(decoder: ImageFlow, name: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw(decoder, some(1), **{name: value})


def test_steps_from_a_start_are_the_share_that_is_left(decoder: ImageFlow) -> None:
    latent, runs = some(1), list[int]()
    decoder.network.register_forward_hook(lambda *_: runs.append(1))
    settings = decoder.settings_with({"num_inference_steps": 10, "strength": 0.3, "guidance_scale": 1.0, "solver": "euler"})
    with torch.no_grad():
        decoder.generate(latent, against=latent, seeds=[0], settings=settings, start=torch.zeros(1, 3, 16, 16))
    assert len(runs) == 3


def test_guidance_outside_of_its_interval_costs_nothing_and_does_nothing(decoder: ImageFlow) -> None:
    latent, runs = some(2), list[int]()
    decoder.network.register_forward_hook(lambda _, inputs, __: runs.append(len(inputs[0])))
    never = draw(decoder, latent, num_inference_steps=4, guidance_scale=3.0, guidance_interval=(1.0, 1.0))
    assert runs == [2, 2, 2, 2]
    torch.testing.assert_close(never, draw(decoder, latent, num_inference_steps=4, guidance_scale=1.0))
    runs.clear()
    draw(decoder, latent, num_inference_steps=4, guidance_scale=3.0, guidance_interval=(0.2, 0.6))
    assert runs == [2, 4, 4, 2]


class Gaussian(torch.nn.Module):
    """Pictures of N(mean, deviation), for which all is known: the mean picture at x_t, and where the path through x_t leads.

    With `grid` it predicts what leads, in one step, to the next of these times on the true path; without, the mean.
    """

    mean, deviation = 0.4, 0.3

    def __init__(self, grid: torch.Tensor | None = None) -> None:
        super().__init__()
        self.grid = grid

    def prepare(self, latent: Latent) -> None:
        return None

    def spread(self, t: torch.Tensor) -> torch.Tensor:
        return (t**2 * self.deviation**2 + (1 - t) ** 2).sqrt()

    def forward(self, x: torch.Tensor, times: torch.Tensor, condition: None) -> torch.Tensor:
        t = flow.expand_as(times, x)
        if self.grid is None:
            return (t * self.deviation**2 * x + (1 - t) ** 2 * self.mean) / self.spread(t) ** 2
        then = flow.expand_as(self.grid[torch.searchsorted(self.grid, times, right=True)], x)
        there = then * self.mean + self.spread(then) / self.spread(t) * (x - t * self.mean)
        return x + (1 - t) * (there - x) / (then - t)


def test_a_student_that_leaps_along_the_true_path_cannot_be_bettered(decoder: ImageFlow) -> None:
    latent = some(64)
    pictures = Gaussian.mean + Gaussian.deviation * torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    grid = flow.time_grid(SMALL.num_inference_steps, shift=SMALL.time_shift)

    teacher = ImageFlow(SMALL)
    teacher.network = Gaussian()  # type: ignore[assignment]

    def loss(student: torch.nn.Module, teacher_steps: int, stride: int | None = None) -> float:
        decoder.network = student  # type: ignore[assignment]
        how, randomness = DistilConfig(teacher="", steps=teacher_steps, stride=stride), torch.Generator().manual_seed(1)
        terms = decoder.distil(latent, pictures, against=latent, teacher=teacher, how=how, randomness=randomness)
        return float(terms.total)

    coarse, fine = loss(Gaussian(grid), 4), loss(Gaussian(grid), 64)
    assert fine < 0.3 * coarse  # what is left is the error of the teacher's steps
    assert fine < 0.3 * loss(Gaussian(), 64)
    with pytest.raises(UserError, match=r"a multiple of the decoder's num_inference_steps=4"):
        decoder.check_distil(DistilConfig(teacher="", steps=6))
    assert loss(Gaussian(), 6, stride=1) < 1e-9 < loss(Gaussian(), 6, stride=3)  # with a stride of 1 the teacher itself cannot be bettered
    with pytest.raises(UserError, match=r"a multiple of objectives\.distil\.stride=4"):
        decoder.check_distil(DistilConfig(teacher="", steps=6, stride=4))


def test_other_decoders_cannot_be_distilled() -> None:

    made = ImageDeconv(ImageDeconv.Config(kind="image_deconv"))
    with pytest.raises(UserError, match="cannot be distilled"):
        made.check_distil(DistilConfig(teacher=""))


def test_smoothing_levels_grain_and_keeps_edges() -> None:
    grain = 0.03 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    halves = torch.ones(1, 3, 16, 16)
    halves[..., 8:] = -0.5
    smooth = bilateral(halves + grain, 0.16)
    assert (smooth - halves).abs().mean() < (grain.abs().mean() / 4)
    assert (smooth[..., 7] - smooth[..., 8]).min() > 1.4


def test_smoothing_is_a_setting_of_drawing(decoder: ImageFlow) -> None:
    latent = some(1)
    torch.testing.assert_close(draw(decoder, latent, smoothing=0.2), bilateral(draw(decoder, latent), 0.2))


@pytest.mark.parametrize("solver", ["ancestral", "dpm", "heun", "multistep"])
def test_without_strength_a_start_stays_as_it_is(decoder: ImageFlow, solver: str) -> None:
    latent, start = some(1), torch.rand(1, 3, 16, 16) * 2 - 1
    settings = decoder.default_settings() | {"solver": solver, "strength": 0.0}
    torch.testing.assert_close(decoder.generate(latent, against=latent, seeds=[0], settings=settings, start=start), start)


@pytest.mark.parametrize("solver", ["ancestral", "euler"])
def test_what_a_discriminator_sees_is_what_would_be_drawn(decoder: ImageFlow, solver: str) -> None:
    made = ImageFlow(SMALL.model_copy(update={"solver": solver, "guidance_scale": 1.0, "num_inference_steps": 3}))
    made.load_state_dict(decoder.state_dict())
    latent, how = some(1), DistilConfig(teacher="t", steps=3, stride=1)
    randomness = torch.Generator().manual_seed(0)
    played = made.finish(latent, torch.zeros(1, 3, 16, 16), against=latent, teacher=decoder, how=how, randomness=randomness)
    torch.testing.assert_close(played.made.detach().clamp(-1, 1), draw(made, latent), atol=1e-5, rtol=1e-4)
    assert "flow" in played.own.terms
    played.made.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())


def test_a_finish_without_a_teacher_is_of_the_first_step(decoder: ImageFlow) -> None:
    made = ImageFlow(SMALL.model_copy(update={"solver": "ancestral", "guidance_scale": 1.0, "num_inference_steps": 3}))
    made.load_state_dict(decoder.state_dict())
    latent = some(1)
    played = made.play(latent, torch.zeros(1, 3, 16, 16), randomness=torch.Generator().manual_seed(0))
    torch.testing.assert_close(played.made.detach().clamp(-1, 1), draw(made, latent, num_inference_steps=1), atol=1e-5, rtol=1e-4)
    assert not played.own.terms
    played.made.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())


def test_solvers_that_look_back_and_guidance_are_not_judged() -> None:
    unguided = {"guidance_scale": 1.0, "solver": "euler"}
    ImageFlow(SMALL.model_copy(update=unguided)).check_judged()
    with pytest.raises(UserError, match=r"set model\.decoders\.image\.solver=ancestral"):
        ImageFlow(SMALL.model_copy(update=unguided | {"solver": "multistep"})).check_judged()
    with pytest.raises(UserError, match=r"set model\.decoders\.image\.guidance_scale=1"):
        ImageFlow(SMALL.model_copy(update=unguided | {"guidance_scale": 2.0})).check_judged()
