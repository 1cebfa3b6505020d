from pathlib import Path

import numpy as np
import pytest
import torch

from tonggan.errors import UserError
from tonggan.latent.memory import Memorable, Memory, MemoryConfig
from tonggan.latent.record import Latent, References, blend, stack

COLOURS = {"red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 60, 220)}


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.asarray(colour, dtype=np.uint8)[:, None, None], (3, 16, 16))


def remembering(**settings: float) -> Memory:
    made = Memory(MemoryConfig(dropout=0.5, **settings), modality="image", references=2)
    made.fit(Memorable(10 + i, f"{name}.png", [f"{name} circle"], plain(colour)) for i, (name, colour) in enumerate(COLOURS.items()))
    return made


@pytest.fixture
def memory() -> Memory:
    return remembering()


@pytest.mark.parametrize(("least", "second"), [(0.15, True), (0.25, False)])
def test_a_caption_recalls_its_picture(least: float, second: bool) -> None:
    # What "circle" is worth once the blue one has it is a tenth: enough for a later row where the first needs 0.15, too little where it needs 0.25.
    found = remembering(least=least).recall(["blue circle", "zeppelin"])
    assert found is not None
    assert found.present.tolist() == [[True, second], [False, False]]
    colour = (found.values[0, 0].mean((1, 2)) + 1) * 127.5
    torch.testing.assert_close(colour, torch.tensor([40.0, 60.0, 220.0]), atol=6, rtol=0)
    assert not found.values[1].any()


def test_a_row_never_recalls_itself(memory: Memory) -> None:
    assert memory.names[memory.find("red circle")[0]] == "red.png"
    assert all(memory.names[place] != "red.png" for place in memory.find("red circle", excluded=10))


def test_training_does_without_for_a_share(memory: Memory) -> None:
    found = memory.recall(["red circle"] * 200, randomness=torch.Generator().manual_seed(0))
    assert found is not None
    assert 60 < int(found.present[:, 0].sum()) < 140


def test_a_stored_memory_is_the_same(memory: Memory, tmp_path: Path) -> None:
    memory.save(tmp_path)
    again = Memory(memory.config, modality="image", references=2)
    again.load(tmp_path)
    assert again.names == memory.names
    one, two = (each.recall(["red circle", "a green thing"], excluded=[11, 12]) for each in (memory, again))
    assert one is not None
    assert two is not None
    assert torch.equal(one.values, two.values)
    assert torch.equal(one.present, two.present)


def test_a_missing_and_a_damaged_memory_are_named(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        memory.load(tmp_path)
    memory.save(tmp_path)
    path = tmp_path / memory.file
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="is damaged"):
        memory.load(tmp_path)


def test_an_empty_memory_recalls_nothing() -> None:
    assert Memory(MemoryConfig(), modality="image", references=2).recall(["red"]) is None


def some(rows: int, references: References | None) -> Latent:
    x = torch.randn(rows, 3, 8)
    return Latent(x, torch.ones(rows, 3, dtype=torch.bool), torch.nn.functional.normalize(x.mean(1), dim=-1), references=references)


def test_references_go_where_their_latents_go(memory: Memory) -> None:
    found = memory.recall(["red circle", "blue circle"])
    assert found is not None
    both = stack(some(2, found), some(1, None)).references
    assert both is not None
    assert both.present[:, 0].tolist() == [True, True, False]
    assert not both.values[2].any()
    repeated = some(2, found).repeat(3).references
    assert repeated is not None
    assert torch.equal(repeated.values[2], found.values[0])
    fading = [blend(some(2, found), some(2, None), weight).references for weight in (0.0, 0.25, 1.0)]
    assert all(each is not None for each in fading)
    assert torch.equal(fading[0].values, found.values)
    assert torch.allclose(fading[1].values, 0.75 * found.values)
    assert torch.equal(fading[1].present, found.present)
    assert not fading[2].present.any()
    assert not found.first(0).present.any()
    assert not found.where(torch.tensor([True, False])).values[1].any()
