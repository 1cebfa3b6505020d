"""What is said on stderr while a verb works: bars on a terminal, elsewhere (in a log) a line now and then, and lines of warning."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Show = Callable[[str, int, int], None]
SECONDS_A_LINE = 30.0
"""How often a log is told where what goes on stands; what is shorter is not told."""


@contextmanager
def progress_bars() -> Iterator[Show]:
    """Yield `show(what, done, total)`: one bar for each `what`, made when it is first shown."""
    if not sys.stderr.isatty():
        yield _logged()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


def _logged() -> Show:
    """Return a `Show` that prints a line at most every `SECONDS_A_LINE`."""
    told = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS_A_LINE:
            told = time.monotonic()
            warn(f"{what}: {done:,} of {total:,}")

    return show


def counted(count: int, what: str) -> str:
    """Return a count with what is counted: a plural with s, and perhaps words behind it, of which one is said in the singular."""
    first, *rest = what.split(" ")
    return " ".join([f"{count:,}", first.removesuffix("s") if count == 1 else first, *rest])


def warn(line: str) -> None:
    """Say something that stops nothing."""
    print(f"tonggan: {line}", file=sys.stderr)
