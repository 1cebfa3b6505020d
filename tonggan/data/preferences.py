"""Preferences `prompt, chosen, rejected` in the form that `tonggan votes export` writes, as pairs of outputs that a model can learn from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tonggan.data.layouts.tables import read_table
from tonggan.data.order import mix, permuted
from tonggan.errors import UserError
from tonggan.files import inside
from tonggan.modalities import Framing, Modality, modalities
from tonggan.modalities.text import clean_caption

COLUMNS = ("prompt", "chosen", "rejected")
STREAM = 7_919
"""Added to the seed of the samples' order, so that preferences come in an order of their own."""


@dataclass(frozen=True)
class Pairs:
    """A batch of preferences: `prompts` (batch,) as encoders take them, `chosen` and `rejected` (batch, *shape of one output) as decoders give them."""

    prompts: Any
    chosen: Any
    rejected: Any


@dataclass(frozen=True)
class Preferred:
    """One preference: what was asked for, and the files of two outputs, of which one was preferred."""

    prompt: str
    chosen: Path
    rejected: Path


@dataclass(frozen=True)
class Preferences:
    """Preferences on outputs of one modality, read from their files when they are asked for."""

    rows: tuple[Preferred, ...]
    source: Modality
    target: Modality
    framing: Framing
    digest: str
    """SHA-256 of all prompts and files."""
    others: int = 0
    """Rows of the table that are of other arrows, and were left out."""

    def __len__(self) -> int:
        return len(self.rows)

    def pairs(self, positions: np.ndarray, *, seed: int) -> Pairs:
        """Return the preferences number `positions` of an endless stream: epoch after epoch, each in its own order, a function of (seed, position)."""
        count = len(self.rows)
        return self.at(permuted(positions % count, count, seed=seed + STREAM, epochs=positions // count))

    def at(self, places: Sequence[int] | np.ndarray) -> Pairs:
        """Return the preferences at these places of the table."""
        rows = [self.rows[int(place)] for place in places]
        prompts = self.source.to_inputs([row.prompt for row in rows], self.framing)
        return Pairs(prompts, self._values([row.chosen for row in rows]), self._values([row.rejected for row in rows]))

    def _values(self, files: Sequence[Path]) -> Any:
        assert self.target.open is not None
        return self.target.to_inputs([self.target.open(file, self.framing) for file in files], self.framing)

    def hold_out(self, share: float, *, seed: int) -> tuple["Preferences", "Preferences"]:
        """Part them into (learned from, held out), prompt by prompt: what is said of one prompt is not independent."""
        prompts = sorted({row.prompt for row in self.rows})
        numbers = np.asarray([int(hashlib.sha256(prompt.encode()).hexdigest()[:16], 16) for prompt in prompts], dtype=np.uint64)
        with np.errstate(over="ignore"):
            draws = mix(numbers + np.uint64(seed)) >> np.uint64(11)
        count = max(1, round(share * len(prompts))) if share and len(prompts) > 1 else 0
        held = {prompts[place] for place in np.argsort(draws)[:count]}
        kept, out = (tuple(row for row in self.rows if (row.prompt in held) == wanted) for wanted in (False, True))
        return replace(self, rows=kept), replace(self, rows=out)


def read_preferences(path: Path, *, source: str, target: str, framing: Framing) -> Preferences:
    """Read a table of preferences on outputs of modality `target`, asked for in modality `source`; every file is opened once.

    A row's `arrow` and `mime`, where it has them, say what it is about; rows of another arrow are left out. Raises `UserError`, with file and row, for a table
    that is missing, empty or broken, for a row without one of the three columns, with a file that is missing, broken or of another size than models
    of this framing make, and where no row is of this arrow.
    """
    wanted, kinds = f"{source}->{target}", modalities()
    if kinds[source].open is not None or kinds[target].open is None:
        raise UserError(f"a decoder can learn from preferences on files that words were asked for, such as text->image, not from {wanted}.")
    if not path.is_file():
        raise UserError(f"{path}: no such file. Write votes into it with 'tonggan votes export -o {path}', or name the file of preferences.")
    rows, others, digest = list[Preferred](), dict[str, int](), hashlib.sha256()
    checked: set[Path] = set()
    for number, row in enumerate(read_table(path), 1):
        about = _about(row, wanted)
        if about != wanted:
            others[about] = others.get(about, 0) + 1
            continue
        where = f"{path}, row {number}"
        found = _read(row, path.parent, where)
        for file in {found.chosen, found.rejected} - checked:
            _check(file, kinds[target], framing, where)
            checked.add(file)
        for part in (found.prompt.encode(), *(file.read_bytes() for file in (found.chosen, found.rejected))):
            digest.update(hashlib.sha256(part).digest())
        rows.append(found)
    if not rows:
        raise UserError(f"{path} holds preferences on {', '.join(sorted(others))}; none is on {wanted}. Name a file of votes on that arrow.")
    return Preferences(tuple(rows), kinds[source], kinds[target], framing, digest.hexdigest(), sum(others.values()))


def _about(row: Mapping[str, Any], wanted: str) -> str:
    """Return the arrow of a row, as far as it tells."""
    arrow, kind = str(row.get("arrow") or wanted), str(row.get("mime") or "").partition("/")[0]
    return arrow if not kind or kind == wanted.partition("->")[2] else f"{arrow.partition('->')[0]}->{kind}"


def _read(row: Mapping[str, Any], folder: Path, where: str) -> Preferred:
    texts = {name: text_of(row.get(name)) for name in COLUMNS}
    texts["prompt"] = clean_caption(texts["prompt"])
    empty = [name for name, text in texts.items() if not text]
    if empty:
        raise UserError(f"{where}: no {' and no '.join(empty)}. Preferences are rows of {', '.join(COLUMNS)}.")
    chosen, rejected = (inside(folder, texts[name], where=where) for name in ("chosen", "rejected"))
    if chosen == rejected:
        raise UserError(f"{where}: chosen and rejected are the same. Remove the row.")
    return Preferred(texts["prompt"], chosen, rejected)


def _check(file: Path, kind: Modality, framing: Framing, where: str) -> None:
    """Raise `UserError` where a file is none that a model of this framing made."""
    assert kind.open is not None
    if not _is_file(file):
        raise UserError(f"{where}: no such file: '{str(file)[:200]}'. Chosen and rejected name files of {kind.name}s beside the table.")
    try:
        misfit = kind.misfit(kind.open(file, framing), framing) if kind.misfit is not None else ""
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if misfit:
        raise UserError(f"{where}: {file} has {misfit} as the model makes. Leave the row out.")


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a sentence in place of a name may be too long for one
        return False


def text_of(value: Any) -> str:
    """Return a text, without NUL (PostgreSQL has none); of a conversation (a list of messages) the content of the last message."""
    if isinstance(value, list) and value and isinstance(value[-1], Mapping):
        value = value[-1].get("content")
    return value.replace("\0", "") if isinstance(value, str) else ""
