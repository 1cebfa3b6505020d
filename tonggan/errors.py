"""What a user can get wrong: one exception, one sentence, exit code 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake the user can mend. The message says what is wrong, where, and what to do; the command line prints it alone and exits with 2."""


class DiskFullError(UserError):
    """The disk is full: what was being written is not there, what was whole before is."""


class UnusableFileError(UserError):
    """A file that cannot be used. `problem` tells in a word or two which kind it is of ("empty", "missing"), for those that count files instead of ending."""

    def __init__(self, message: str, *, problem: str = "broken") -> None:
        super().__init__(message)
        self.problem = problem


def did_you_mean(name: str, choices: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return " Did you mean 'x'?" for the choice that resembles `name` most, by a ratio of `likeness` at least (`difflib`, to 1); empty where none does."""
    close = get_close_matches(name, sorted(choices), n=1, cutoff=likeness)
    return f" Did you mean '{close[0]}'?" if close else ""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return what `did_you_mean` does, followed by all choices; empty where there are none."""
    known = sorted(choices)
    return f"{did_you_mean(name, known)} Known: {', '.join(known)}." if known else ""
