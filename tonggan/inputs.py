"""What is given to a model: captions, pictures, clips and sounds, as values or as the paths of their files; and seeds."""

from collections.abc import Collection, Container, Sequence
from operator import index
from os.path import isfile
from pathlib import Path
from typing import Any

from tonggan.data.records import ENDINGS
from tonggan.errors import UserError
from tonggan.modalities import Framing, Modality, modalities


def listed(inputs: Any, *, framing: Framing, known: Container[str]) -> tuple[list[Any], Modality]:
    """Return one input, or a list of them, as a list, files opened, and the modality that all are of.

    `known` are the modalities that a file which may be of several is rather of. Raises `UserError` where the inputs are of no modality, or of several.
    """
    given = [opened(each, framing=framing, known=known) for each in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
    if not given:
        raise UserError("there is nothing to begin with: give at least one input.")
    kinds = {kind.name: kind for kind in map(_kind_of, given)}
    if len(kinds) > 1:
        raise UserError(f"a list of {' and '.join(kinds)}: inputs of one call are of one kind. Call once for each.")
    return given, next(iter(kinds.values()))


def opened(value: Any, *, framing: Framing, known: Container[str]) -> Any:
    """Return what a `Path` leads to, and other values as they are; raises `UserError` for a string that names a file, which was hardly meant as a caption."""
    if not isinstance(value, (str, Path)):
        return value
    kinds = [name for name, endings in ENDINGS.items() if Path(value).suffix.lower() in endings]
    if isinstance(value, str):
        if is_file(value, [ending for name in kinds for ending in ENDINGS[name]]):
            raise UserError(f"'{value}' is a file, and a string is a caption. Give Path('{value}') for what the file holds.")
        return value
    kind = next((name for name in kinds if name in known), kinds[0] if kinds else None)
    reader = None if kind is None else modalities()[kind].open
    if reader is None:
        raise UserError(f"{value}: no kind of file that is known. Known: {', '.join(ending for endings in ENDINGS.values() for ending in endings)}.")
    return reader(value, framing)


def is_file(text: str, endings: Collection[str]) -> bool:
    """Whether a string is the name of a file that is there, with one of the endings."""
    return Path(text).suffix.lower() in endings and isfile(text)  # `Path.is_file` raises for a name that is too long


def seeds_of(seed: int, seeds: Sequence[int] | None, *, count: int) -> list[int]:
    """Return a seed for each of `count` outputs: `seeds`, or those that count up from `seed`.

    Raises `UserError` for what PyTorch's generator does not take as one, and where there are more or fewer than outputs.
    """
    try:
        chosen = list(range(seed, seed + count)) if seeds is None else [index(each) for each in seeds]
    except TypeError as error:
        raise UserError(f"{f'seed={seed!r}' if seeds is None else f'seeds={seeds!r}'}: seeds are whole numbers.") from error
    wrong = next((each for each in chosen if not -(2**63) <= each < 2**64), None)
    if wrong is not None:
        raise UserError(f"seed {wrong} has more than 64 bits; the largest is {2**64 - 1}.")
    if len(chosen) != count:
        raise UserError(f"{len(chosen)} seeds for {count} outputs: give one seed for each.")
    return chosen


def _kind_of(value: Any) -> Modality:
    """Return the modality that a value is of; raises `UserError` where it is of none."""
    for modality in modalities().values():
        if modality.holds(value):
            return modality
    raise UserError(f"{type(value).__name__} is no input of a modality. Give {', '.join(modalities())}.")
