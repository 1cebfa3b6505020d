"""One competitor's whole part: pilots, the race, the last look, and the record of it."""

import gc
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from training_efficiency import matrix_rate

from peers.clock import spent_seconds
from peers.judging import Judge
from peers.peer import Arena, Entry, Pace, Peer, PeerDrawer
from peers.race import Clock, Course, Progress, has_checkpoint, resume, run_race, save
from tonggan.data.loader import first_caption
from tonggan.errors import UserError
from tonggan.evaluation.machine import machine_facts, versions
from tonggan.files import replacing

COUNTED_STEPS = 4
"""Steps whose operations are counted: a discriminator's penalties come every fourth step (`objectives.adversarial.penalty_every`)."""
DRIFT = 0.05
"""Change of the machine's matrix rate over a race from which its figures are flagged."""


@dataclass(frozen=True)
class Wishes:
    """What the command line asks of every contest."""

    course: Course
    pilot_minutes: float
    preparation_seconds: float
    command: str
    clock: str = "wall"
    matrix_repeats: int = 12


@dataclass(frozen=True)
class Pilot:
    """A short race with one learning rate."""

    learning_rate: float
    measure: str
    value: float


def contest(entry: Entry, *, arena: Arena, judge: Judge, out: Path, wishes: Wishes, asked_to_stop: Callable[[], bool]) -> bool:
    """Let a competitor race in `out`/name, from where it stopped before; returns whether it is through. Writes result.json."""
    folder = out / entry.name
    record = _read(folder / "result.json")
    if record.get("finished"):
        arena.console.print(f"{entry.name}: through already; remove {folder} to race again.")
        return True
    before = matrix_rate(wishes.matrix_repeats, now=spent_seconds)
    if "learning_rate" not in record:
        if not has_checkpoint(folder):
            shutil.rmtree(folder, ignore_errors=True)
        tuned = _pilots(entry, arena=arena, judge=judge, out=out, wishes=wishes, asked_to_stop=asked_to_stop)
        record |= {"name": entry.name, "label": entry.label, "source": entry.source} | tuned
        _write(folder / "result.json", record)
    clock = Clock(wishes.preparation_seconds)
    resumed = has_checkpoint(folder)
    if not resumed:
        _clean(folder)
    peer = entry.build(arena, folder, record["learning_rate"], resumed)
    progress = resume(peer, folder, clock) if resumed else Progress()
    if not resumed:
        with clock.stopped():
            save(peer, folder, progress)
    if entry.trains:
        if not resumed:
            record["gflop_per_sample"] = _gflop_per_sample(peer, arena, progress, clock)
            _write(folder / "result.json", record)

        def look(peer: Peer, mark: float) -> dict[str, float]:
            found = judge.look(PeerDrawer(peer, arena.phrasings), folder / "marks" / f"{mark:g}")
            arena.console.print(f"{entry.name}, {mark:g} min: {_told(found)}")
            return found

        loader = arena.loader(peer.batch_size)
        say = arena.console.print
        progress = run_race(
            peer, loader, course=wishes.course, clock=clock, folder=folder, progress=progress, look=look, asked_to_stop=asked_to_stop, say=say
        )
    else:
        progress = replace(progress, finished=True, spent_seconds=clock.seconds)
    after = matrix_rate(wishes.matrix_repeats, now=spent_seconds)
    sittings = [*record.get("sittings", []), {"matrix_gflops": [before / 1e9, after / 1e9], "drift": abs(after / before - 1) > DRIFT}]
    record |= _facts(peer, progress, arena, wishes) | {"sittings": sittings}
    if progress.finished:
        record |= _last_look(peer, progress, judge, folder, tuned=record["tuning_seconds"])
        if entry.trains:
            save(peer, folder, progress)
    _write(folder / "result.json", record | {"finished": progress.finished})
    del peer
    gc.collect()
    return progress.finished


def _pilots(entry: Entry, *, arena: Arena, judge: Judge, out: Path, wishes: Wishes, asked_to_stop: Callable[[], bool]) -> dict[str, Any]:
    """Race every learning rate for some minutes and return the best; the time is told apart from the budget."""
    began, pilots = spent_seconds(), list[Pilot]()
    if wishes.pilot_minutes > 0:
        for rate in entry.learning_rates:
            budget = wishes.pilot_minutes * 60
            folder, clock = out / entry.name / "pilot", Clock()
            peer = entry.build(replace(arena, budget_seconds=budget), folder, rate, False)
            run_race(peer, arena.loader(peer.batch_size), course=Course(budget), clock=clock, asked_to_stop=asked_to_stop)
            if asked_to_stop():
                raise UserError(f"stopped in a pilot of {entry.name}; its pilots begin anew the next time.")
            pilots.append(Pilot(rate, *judge.pilot_score(peer)))
            arena.console.print(f"{entry.name}, pilot at {rate:g}: {pilots[-1].measure} {pilots[-1].value:.4f}")
            shutil.rmtree(folder, ignore_errors=True)
            del peer
    usual = entry.learning_rates[0] if entry.learning_rates else 0.0
    # A pilot that diverged or collapsed has a value that is not finite.
    sound = [pilot for pilot in pilots if math.isfinite(pilot.value)]
    best = min(sound, key=lambda pilot: pilot.value).learning_rate if sound else usual
    return {"learning_rate": best, "pilots": [asdict(pilot) for pilot in pilots], "tuning_seconds": spent_seconds() - began if pilots else 0.0}


def _gflop_per_sample(peer: Peer, arena: Arena, progress: Progress, clock: Clock) -> float:
    """Take the first steps of the race with the operations counted (torch's FlopCounterMode: matrix products and convolutions)."""
    loader = arena.loader(peer.batch_size)
    with FlopCounterMode(display=False) as counter:
        for step in range(COUNTED_STEPS):
            progress.loss = peer.step(loader.batch(step * peer.batch_size), Pace(step, clock.seconds / arena.budget_seconds))
            progress.step = step + 1
    return counter.get_total_flops() / progress.samples(peer) / 1e9


def _facts(peer: Peer, progress: Progress, arena: Arena, wishes: Wishes) -> dict[str, Any]:
    minutes, samples = progress.spent_seconds / 60, progress.samples(peer)
    return {
        "minutes": minutes,
        "budget_minutes": arena.budget_seconds / 60,
        "samples": samples,
        "samples_per_second": samples / max(progress.spent_seconds, 1e-9),
        "batch_size": peer.batch_size,
        "parameters": peer.parameter_count(),
        "loss": progress.loss,
        "dtype": arena.dtype,
        "threads": torch.get_num_threads(),
        "clock": wishes.clock,
        "content_hash": arena.pack.content_hash,
        "curve": progress.curve,
        "machine": asdict(machine_facts()),
        "versions": versions(),
        "command": wishes.command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _last_look(peer: Peer, progress: Progress, judge: Judge, folder: Path, *, tuned: float) -> dict[str, Any]:
    """End the curve as it was drawn on the way, then choose guidance on held-out rows and draw the whole split: that is the result."""
    minutes, phrasings = progress.spent_seconds / 60, judge.arena.phrasings
    at_the_end = {"minutes": minutes, "samples": progress.samples(peer), **judge.look(PeerDrawer(peer, phrasings), folder / "marks" / "end")}
    began = spent_seconds()
    guidance = judge.tune_guidance(peer)
    seconds = spent_seconds() - began if guidance else 0.0
    rate = _pictures_per_second(peer, judge) if progress.samples(peer) else 0.0
    card = judge.card(PeerDrawer(peer, phrasings), folder / "final", limit=judge.final_limit)
    figures = {figure.name: asdict(figure) for figure in card.figures}
    judge.arena.console.print(f"{peer.name}, all of {card.data.samples} captions: {_told({name: each['value'] for name, each in figures.items()})}")
    return {
        "curve": [*progress.curve, at_the_end],
        "figures": figures,
        "floors": {column.name: {figure.name: figure.value for figure in column.figures} for column in card.columns},
        "captions": card.data.samples,
        "pictures_per_second": rate,
        "curve_captions": judge.limit,
        "settings": peer.settings(),
        "guidance": guidance,
        "tuning_seconds": tuned + seconds,
    }


def _pictures_per_second(peer: Peer, judge: Judge) -> float:
    """Return how fast a competitor draws a batch of held-out captions, by the race's clock; the second time, for the first is slow."""
    arena = judge.arena
    rows = (arena.held if len(arena.held) else arena.rows)[: judge.batch_size]
    captions = [str(first_caption(arena.pack.row(int(row)), "en", arena.phrasings) or "") for row in rows]
    peer.draw(captions[:1], [0])
    began = spent_seconds()
    peer.draw(captions, list(range(len(captions))))
    return len(captions) / max(spent_seconds() - began, 1e-9)


def _told(figures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())


def _clean(folder: Path) -> None:
    """Leave nothing in `folder` of a race that ended before its first checkpoint, but the record of its pilots."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name != "result.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write(path: Path, record: dict[str, Any]) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
