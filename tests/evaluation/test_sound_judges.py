import numpy as np
import pytest
import torch

from tonggan.data.pack import Pack, pack
from tonggan.data.synthesis.foley import make_foley
from tonggan.errors import UserError
from tonggan.evaluation import in_time, materials, sound_embedding
from tonggan.evaluation.hearing import EDGE_SECONDS, Windows
from tonggan.evaluation.sound_judges import sound_judges
from tonggan.modalities import Framing


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("judges")
    framing = Framing(size=16, clip_seconds=2.56)
    make_foley(folder / "foley", clips=20, seed=3, framing=Framing(size=16, clip_seconds=4.0))
    return pack(folder / "foley", framing=framing, out=folder / "pack")


def test_materials_are_named_by_the_sound_alone(packed: Pack) -> None:
    rows = packed.indices("train")[:12]
    windows = Windows.of(packed, rows)
    tags = [packed.row(int(row)).tags for row in rows]
    judge = materials.material_judge(packed, reference="train", tags=tags, begins=windows.begins, edge_seconds=EDGE_SECONDS)
    assert judge is not None
    true = judge(windows.waveforms)
    assert true.value > 0.9
    assert true.samples == sum(
        EDGE_SECONDS < event[0] - begin < 2.56 - EDGE_SECONDS for each, begin in zip(tags, windows.begins, strict=True) for event in each["events"]
    )
    assert judge(windows.waveforms.roll(1, 0)).value < 0.6
    silence = judge(torch.zeros_like(windows.waveforms))
    assert silence.value < 0.6
    late = judge(windows.waveforms.roll(400, -1))  # 25 ms
    assert late.value > 0.75
    assert judge(windows.waveforms) == true


def test_rows_without_materials_are_not_judged(packed: Pack) -> None:
    tags = [{"events": [[0.6, "shot"]]}] * 2
    assert materials.blows_of(tags[0]) == []
    assert materials.blows_of({"events": [[0.6, "wood impact"]], "materials": ["wood"]}) == [materials.Blow(0.6, "wood")]
    assert materials.blows_of({"events": "many", "materials": []}) == []
    for events in ([0.5, 1.0], [["early", "wood"]], 3):
        with pytest.raises(UserError, match=r'events of a row must be \[\[second, "what"\]'):
            materials.blows_of({"events": events, "materials": ["wood"]})
    assert materials.material_judge(packed, reference="train", tags=tags, begins=np.zeros(2), edge_seconds=EDGE_SECONDS) is None


def test_without_a_training_split_nobody_judges(packed: Pack) -> None:
    windows = Windows.of(packed, packed.indices("test"))
    tags = [packed.row(int(row)).tags for row in packed.indices("test")]
    asked = {"frames": windows.frames, "real": windows.waveforms, "tags": tags, "begins": windows.begins, "edge_seconds": EDGE_SECONDS}
    assert sound_judges(packed, reference="none", **asked) == []


def test_a_true_pair_is_told_from_shifted_ones(packed: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_time, "STEPS", 60)
    windows = Windows.of(packed, packed.indices("train"))
    judge = in_time.synchrony_judge(packed, reference="train", frames=windows.frames)
    true = judge(windows.waveforms)
    assert true.value > 0.75
    assert judge(torch.zeros_like(windows.waveforms)).value == 0.5
    shifted = judge(windows.waveforms.roll(8 * 640, -1))
    assert shifted.value < true.value - 0.2
    again = in_time.synchrony_judge(packed, reference="train", frames=windows.frames)(windows.waveforms)
    assert again.value == pytest.approx(true.value, abs=0.02)


def test_the_embedding_hears_what_sounds_but_not_when(packed: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_embedding, "STEPS", 20)
    real = Windows.of(packed, packed.indices("train")).waveforms
    judge = sound_embedding.embedding_judge(packed, reference="train", real=real)
    same, later, noise = (judge(each).value for each in (real, real.roll(8000, -1), 0.1 * torch.randn_like(real)))
    assert abs(later - same) < 0.1 * (noise - same)
    assert judge(torch.zeros_like(real)).value > 10 * abs(later)
    again = sound_embedding.embedding_judge(packed, reference="train", real=real)(0.5 * real)
    assert again.value == pytest.approx(judge(0.5 * real).value, rel=1e-3)
    assert again.key == "kernel_distance @ embedding of sounds"


def test_the_ear_learns_which_pieces_are_of_one_clip(packed: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    rate, losses = packed.framing.sample_rate_hz, []
    halves = [sound_embedding.levels_of(half, sample_rate_hz=rate) for half in Windows.of(packed, packed.indices("train")).waveforms.chunk(2, -1)]
    for steps in (1, 40):
        monkeypatch.setattr(sound_embedding, "STEPS", steps)
        losses.append(sound_embedding.learned(packed, "train").loss(*halves).item())
    assert losses[1] < 0.9 * losses[0]


def test_the_agreement_at_a_shift_is_that_of_the_shifted_sound() -> None:
    torch.manual_seed(0)
    towers, small, levels = in_time.Towers(), torch.randn(1, 40, 3, 16, 16), torch.randn(1, 64, 60)
    windows = [towers(in_time.movement(small), levels[..., first : first + 40], longest=6)[0] for first in (8, 10)]
    assert torch.allclose(windows[0][5:10], windows[1][3:8], atol=1e-5)  # away from the ends, what is 3 frames off in one is 1 frame off in the other
    assert not torch.allclose(windows[0][5:10], windows[1][5:10], atol=1e-5)
