"""Which commit of the code runs."""

import subprocess
from functools import lru_cache
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


@lru_cache
def commit(checkout: Path = CHECKOUT) -> str | None:
    """Return the commit that the code runs from, with `-dirty` behind it where tracked files differ from it; None where it is no git checkout."""
    if not (checkout / ".git").exists():  # installed, and perhaps within somebody else's checkout
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
