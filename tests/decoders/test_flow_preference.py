import copy
import math
from dataclasses import replace

import pytest
import torch

from tonggan.decoders.flow_preference import drawn_times
from tonggan.decoders.image_deconv import ImageDeconv
from tonggan.decoders.image_flow import ImageFlow, ImageFlowConfig
from tonggan.errors import UserError
from tonggan.goals import PreferConfig
from tonggan.latent.record import Latent
from tonggan.objectives import flow

SMALL = ImageFlowConfig(size=16, latent_width=8, width=32, layers=1, heads=2, stem_channels=(16, 16), num_inference_steps=4)
HOW = PreferConfig(preferences="", beta=100.0, times="drawing")


def noisy(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 3, 16, 16, generator=torch.Generator().manual_seed(seed)).tanh()


def asked(rows: int) -> Latent:
    tokens = torch.randn(rows, 3, 8, generator=torch.Generator().manual_seed(5))
    return Latent(tokens, torch.ones(rows, 3, dtype=torch.bool), torch.nn.functional.normalize(tokens.mean(1), dim=-1))


@pytest.fixture
def pair() -> tuple[ImageFlow, ImageFlow]:
    """A decoder and what it was."""
    torch.manual_seed(0)
    made = ImageFlow(SMALL)
    for parameter in made.parameters():
        if not parameter.any():  # what starts at zero would make every prediction the same
            torch.nn.init.normal_(parameter, std=0.1)
    return made, copy.deepcopy(made).requires_grad_(False)


def test_four_pairs_are_learned_by_heart(pair: tuple[ImageFlow, ImageFlow]) -> None:
    decoder, reference = pair
    chosen, rejected, latent = noisy(4, 1), noisy(4, 2), asked(4)
    before = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3)
    said: list[dict[str, float]] = []
    for step in range(60):
        terms = decoder.prefer(latent, chosen, rejected, reference=reference, how=HOW, randomness=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        said.append(terms.detached())
    assert said[0]["prefer"] == pytest.approx(math.log(2), rel=1e-5)
    last = {name: sum(each[name] for each in said[-10:]) / 10 for name in said[0]}
    assert last["margin"] > 3
    assert last["agreed"] > 0.95
    assert last["chosen"] < last["rejected"]
    assert last["loss"] == pytest.approx(last["prefer"])  # what is watched is not descended
    assert all(torch.equal(before[name], tensor) for name, tensor in reference.state_dict().items())


def test_chosen_and_rejected_get_the_same_noise_and_time(pair: tuple[ImageFlow, ImageFlow]) -> None:
    decoder, reference = pair
    for parameter in decoder.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape)
    same = noisy(4, 1)
    terms = decoder.prefer(asked(4), same, same, reference=reference, how=HOW, randomness=torch.Generator().manual_seed(1)).detached()
    assert abs(terms["margin"]) < 1e-4
    assert abs(terms["chosen"]) > 1e-4


def test_keeping_is_the_distance_from_the_reference(pair: tuple[ImageFlow, ImageFlow]) -> None:
    decoder, reference = pair

    def distance() -> float:
        randomness = torch.Generator().manual_seed(1)
        return float(decoder.keep(asked(4), noisy(4, 3), reference=reference, how=HOW, randomness=randomness))

    assert distance() < 1e-9
    decoder.network.out[-1].bias.data += 0.1
    # the predicted picture is 0.1 off everywhere, its velocity 0.1 / (1 - t)
    times = drawn_times(4, config=SMALL, how=HOW, randomness=torch.Generator().manual_seed(1))
    assert distance() == pytest.approx(float((0.01 / (1 - times) ** 2).mean()), rel=1e-3)


def test_times_are_those_of_drawing_or_of_training() -> None:
    randomness = torch.Generator().manual_seed(0)
    drawing = drawn_times(200, config=SMALL, how=HOW, randomness=randomness)
    assert set(drawing.tolist()) == set(flow.time_grid(4)[:-1].tolist())
    training = drawn_times(200, config=SMALL, how=HOW.model_copy(update={"times": "training"}), randomness=randomness)
    assert len(set(training.tolist())) == 200


def test_what_cannot_be_learned_beside(pair: tuple[ImageFlow, ImageFlow]) -> None:
    decoder, reference = pair
    decoder.check_reference(reference)
    with pytest.raises(UserError, match="its size is 32, this model's 16"):
        decoder.check_reference(ImageFlow(SMALL.model_copy(update={"size": 32})))
    other = ImageDeconv(ImageDeconv.Config(kind="image_deconv"))
    with pytest.raises(UserError, match="draws by 'image_deconv', not by flow"):
        decoder.check_reference(other)
    with pytest.raises(UserError, match="'image_deconv' cannot learn from preferences"):
        other.check_reference(decoder)


def test_the_prompt_matters(pair: tuple[ImageFlow, ImageFlow]) -> None:
    decoder, reference = pair
    for parameter in decoder.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape)
    latent = asked(2)
    elsewhere = replace(latent, pooled=-latent.pooled)

    def margin(place: Latent) -> float:
        how = {"reference": reference, "how": HOW, "randomness": torch.Generator().manual_seed(2)}
        return decoder.prefer(place, noisy(2, 1), noisy(2, 2), **how).detached()["margin"]

    assert margin(latent) != pytest.approx(margin(elsewhere), rel=1e-6)
