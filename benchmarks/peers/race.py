"""The race: one loop for every competitor. It knows steps, a clock that stops while pictures are judged, marks and checkpoints."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers.clock import spent_seconds
from peers.peer import Pace, Peer
from tonggan.data.loader import Loader
from tonggan.training.checkpoint import Checkpoint, checkpoint_folders, load_checkpoint, save_checkpoint

SAVE_SECONDS = 300.0
LINE_SECONDS = 30.0
Look = Callable[[Peer, float], dict[str, float]]
"""(competitor, mark in minutes) -> figures."""


class Clock:
    """Seconds that count against the budget; those in which the process was stopped from outside do not."""

    def __init__(self, spent: float = 0.0, *, now: Callable[[], float] = spent_seconds) -> None:
        self._now = now
        self.reset(spent)

    def reset(self, spent: float) -> None:
        """Set the seconds and go on from there."""
        self._spent, self._began = spent, self._now()

    @property
    def seconds(self) -> float:
        """Seconds spent."""
        return self._spent + self._now() - self._began

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock for what is not training."""
        spent = self.seconds
        try:
            yield
        finally:
            self.reset(spent)


@dataclass(frozen=True)
class Course:
    """How long, and when to look: `marks_minutes` in order, the last of them the budget; `session_seconds` ends this sitting, not the race."""

    budget_seconds: float
    marks_minutes: tuple[float, ...] = ()
    session_seconds: float | None = None


@dataclass
class Progress:
    """What a race has come to; all of it is in its checkpoints."""

    step: int = 0
    spent_seconds: float = 0.0
    loss: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False

    def samples(self, peer: Peer) -> int:
        """Return the samples seen."""
        return self.step * peer.batch_size


def has_checkpoint(folder: Path) -> bool:
    """Return whether a race in `folder` can go on."""
    return bool(checkpoint_folders(folder / "checkpoints"))


def resume(peer: Peer, folder: Path, clock: Clock) -> Progress:
    """Bring a competitor and the clock back to the newest checkpoint."""
    checkpoint = load_checkpoint(folder / "checkpoints")
    peer.restore(checkpoint)
    progress = Progress(**json.loads(json.dumps(checkpoint.facts["race"])))
    clock.reset(progress.spent_seconds)
    return progress


def save(peer: Peer, folder: Path, progress: Progress) -> None:
    """Write a checkpoint; only the newest is kept."""
    state = peer.snapshot()
    facts = dict(state.facts) | {"race": vars(progress)}
    save_checkpoint(folder / "checkpoints", Checkpoint(state.step, state.tensors, facts), keep=1)


def run_race(
    peer: Peer,
    loader: Loader,
    *,
    course: Course,
    clock: Clock,
    folder: Path | None = None,
    progress: Progress | None = None,
    look: Look | None = None,
    asked_to_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> Progress:
    """Step `peer` until the budget is spent, this sitting is over, or the user stops it; look at it at every mark.

    Batch number i is a function of the loader's seed and i alone. Without `folder` nothing is saved (a pilot).
    """
    progress = progress or Progress(spent_seconds=clock.seconds)
    sitting_began, saved, told = clock.seconds, clock.seconds, clock.seconds
    while clock.seconds < course.budget_seconds:
        if asked_to_stop() or (course.session_seconds is not None and clock.seconds - sitting_began >= course.session_seconds):
            _keep(peer, folder, progress, clock)
            return progress
        pace = Pace(progress.step, clock.seconds / course.budget_seconds)
        loss = peer.step(loader.batch(progress.samples(peer)), pace)
        progress.step += 1
        progress.loss = loss if progress.step == 1 else progress.loss + 0.02 * (loss - progress.loss)
        if clock.seconds - told > LINE_SECONDS:
            say(f"{peer.name}: {clock.seconds / 60:.1f} min, {progress.samples(peer):,} samples, loss {progress.loss:.4f}")
            told = clock.seconds
        due = [mark for mark in course.marks_minutes if _seen(progress) < mark <= clock.seconds / 60 and mark * 60 < course.budget_seconds]
        if due and look:
            _look(peer, progress, clock, due[-1], look)
        if (due and look) or clock.seconds - saved > SAVE_SECONDS:
            _keep(peer, folder, progress, clock)
            saved = clock.seconds
    progress.finished = True
    _keep(peer, folder, progress, clock)
    return progress


def _seen(progress: Progress) -> float:
    return float(progress.curve[-1]["minutes"]) if progress.curve else 0.0


def _look(peer: Peer, progress: Progress, clock: Clock, mark: float, look: Look) -> None:
    with clock.stopped():
        progress.curve.append({"minutes": mark, "samples": progress.samples(peer), **look(peer, mark)})


def _keep(peer: Peer, folder: Path | None, progress: Progress, clock: Clock) -> None:
    progress.spent_seconds = clock.seconds
    if folder is not None:
        with clock.stopped():
            save(peer, folder, progress)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether the user asked to stop (Ctrl-C, SIGTERM); a second Ctrl-C stops at once."""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
