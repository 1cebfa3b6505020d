"""A clock that stands still while its process does: a benchmark may be stopped (SIGSTOP) for other work and go on without having lost its minutes."""

import threading
import time
from collections.abc import Callable, Mapping

import torch

from tonggan.errors import UserError, nearest

TICK_SECONDS = 0.25
LONGEST_GAP_SECONDS = 1.0
"""A longer gap between two ticks is a stop, not a busy interpreter, and counts as this."""


class AwakeClock:
    """Counts wall-clock seconds by ticks of a thread of its own; a stop counts for `LONGEST_GAP_SECONDS` at the most."""

    def __init__(self, *, now: Callable[[], float] = time.perf_counter, ticking: bool = True) -> None:
        self._now, self._lock = now, threading.Lock()
        self._counted, self._last = 0.0, now()
        if ticking:
            threading.Thread(target=self._tick, name="awake-clock", daemon=True).start()

    def seconds(self) -> float:
        """Return the seconds since the clock was made in which the process ran."""
        with self._lock:
            now = self._now()
            self._counted += min(now - self._last, LONGEST_GAP_SECONDS)
            self._last = now
            return self._counted

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            self.seconds()


_clock: AwakeClock | None = None


def awake_seconds() -> float:
    """Return seconds on this process's `AwakeClock`, made at the first call: `time.perf_counter` for what may be stopped."""
    global _clock
    if _clock is None:
        _clock = AwakeClock()
    return _clock.seconds()


def processor_seconds() -> float:
    """Return the processor time of this process over its threads: seconds of a machine that has other work beside.

    Threads that wait must not spin, or waiting counts (`OMP_WAIT_POLICY=PASSIVE`); what runs on one thread alone counts less than its time.
    """
    return time.process_time() / torch.get_num_threads()


CLOCKS: Mapping[str, Callable[[], float]] = {"wall": awake_seconds, "processor": processor_seconds}
_chosen = "wall"


def clock_called(name: str) -> Callable[[], float]:
    """Return a clock of `CLOCKS`; raises `UserError` for another."""
    if name not in CLOCKS:
        raise UserError(f"no clock is called '{name}'.{nearest(name, CLOCKS)}")
    return CLOCKS[name]


def choose_clock(name: str) -> None:
    """Let `spent_seconds` of this process go by a clock of `CLOCKS`; raises `UserError` for another."""
    global _chosen
    clock_called(name)
    _chosen = name


def spent_seconds() -> float:
    """Return seconds on the clock that budgets of this process go by: wall-clock, unless another was chosen."""
    return CLOCKS[_chosen]()
