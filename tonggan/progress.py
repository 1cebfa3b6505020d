"""What is said on stderr while a verb works: bars on a terminal, elsewhere (in a log) a line now and then, and lines of warning."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Show = Callable[[str, int, int], None]
"""Told what goes on, how much of it is done, and of how much."""
SECONDS_A_LINE = 30.0
"""How often a log is told where what goes on stands; what is shorter is not told."""


class Bars(Protocol):
    """A `Show` that takes figures to stand beside the bar, too."""

    def __call__(self, what: str, done: int, total: int, figures: str = "") -> None:
        """Show `what` as far as it is `done`."""


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Yield `show(what, done, total, figures)`: one bar for each `what`, made when it is first shown."""
    if not sys.stderr.isatty():
        yield _logged()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}", markup=False))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def show(what: str, done: int, total: int, figures: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, completed=done, figures=figures)
            bars.update(tasks[what], completed=done, total=total, figures=figures)

        yield show


def _logged() -> Bars:
    """Return a `Bars` that prints a line at most every `SECONDS_A_LINE`."""
    told = time.monotonic()
    begun = dict[str, tuple[float, int]]()

    def show(what: str, done: int, total: int, figures: str = "") -> None:
        nonlocal told
        now = time.monotonic()
        began, first = begun.setdefault(what, (now, done))
        if now - told >= SECONDS_A_LINE:
            told = now
            left = f", {(now - began) / (done - first) * max(0, total - done) / 60:.0f} min left" if done > first else ""
            warn(f"{what}: {done:,} of {total:,}{left}" + (f"  {figures}" if figures else ""))

    return show


def counted(count: int, what: str) -> str:
    """Return a count with what is counted: a plural with s, and perhaps words behind it, of which one is said in the singular."""
    first, *rest = what.split(" ")
    return " ".join([f"{count:,}", first.removesuffix("s") if count == 1 else first, *rest])


def warn(line: str) -> None:
    """Say something that stops nothing."""
    print(f"tonggan: {line}", file=sys.stderr)
