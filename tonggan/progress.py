"""What is said on stderr while a verb works: bars on a terminal (elsewhere they are silent), and lines of warning."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Show = Callable[[str, int, int], None]


@contextmanager
def progress_bars() -> Iterator[Show]:
    """Yield `show(what, done, total)`: one bar for each `what`, made when it is first shown."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


def warn(line: str) -> None:
    """Say something that stops nothing."""
    print(f"tonggan: {line}", file=sys.stderr)
