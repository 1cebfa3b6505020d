"""Votes as preferences `prompt, chosen, rejected`, the format that Hugging Face's trainers read: written and read."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tonggan.data.layouts.tables import read_table
from tonggan.data.preferences import COLUMNS, text_of
from tonggan.errors import UserError
from tonggan.feedback.agreement import inattentive
from tonggan.feedback.tables import Choice, Output, Vote
from tonggan.feedback.votes import AlreadyVotedError, Ballot, VoteStore
from tonggan.files import inside, replacing

KNOWN = {"model": "model", "weights": "weights", "output": "id"}
"""What a row tells of both outputs beside: the end of the column's name -> where the store has it."""
FILES = "files"
"""Folder beside the rows for what is not text."""
OUTPUTS = "outputs"
"""Folder of the arena for the same."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and what it left out: ties and "both bad" prefer nothing; voters who failed their attention checks on an arrow."""

    rows: int
    without_preference: int
    left_out: int


def export_preferences(store: VoteStore, folder: Path, out: Path) -> Exported:
    """Write a row a decided vote into JSON lines; sentences stand in the rows, other outputs in files beside them (named relative to the rows' folder).

    Voters who failed the attention checks of an arrow are left out there, as in the report. `folder` is the arena's.
    Raises `UserError` where nothing was decided or a file is gone.
    """
    counted, excluded = list[Ballot](), set[str]()
    for ballots in store.ballots().values():
        failed = inattentive(ballots)
        counted += [ballot for ballot in ballots if not ballot.is_check and ballot.voter not in failed]
        excluded |= failed
    decided = [ballot for ballot in counted if ballot.choice in (Choice.FIRST, Choice.SECOND)]
    if not decided:
        raise UserError("no vote prefers one output to another: there is nothing to export.")
    for output in {each.id: each for ballot in decided for each in (ballot.first, ballot.second)}.values():
        if not output.is_text:
            _copy(folder / output.content, out.parent / _named(output))
    with replacing(out) as beside:
        beside.write_text("".join(json.dumps(_row(ballot), ensure_ascii=False) + "\n" for ballot in decided), encoding="utf-8")
    return Exported(len(decided), len(counted) - len(decided), len(excluded))


def import_preferences(store: VoteStore, source: Path, folder: Path, *, arrow: str) -> tuple[int, int]:
    """Store a vote a row of a table of preferences and return (new votes, votes that were known).

    Columns beyond `prompt, chosen, rejected` are those that `export_preferences` writes. Without them models are called "chosen" and "rejected", every
    row is a voter, and `arrow` says what the outputs are. Files are copied into `folder`. Raises `UserError` for a row without one of the three, with a
    file that is missing, or that says the opposite of what its voter said; then no vote is stored.
    """
    if not source.is_file():
        raise UserError(f"{source}: no such file.")
    read = [_read(row, number, source, arrow=arrow) for number, row in enumerate(read_table(source), 1)]
    for each in read:
        for file, name in each.files:
            _copy(file, folder / name)
    store.register([output for each in read for output in (each.chosen, each.rejected)])
    votes = [_vote(each) for each in read]
    try:
        new = store.vote_all(votes)
    except AlreadyVotedError as error:
        where = next(each.where for each, vote in zip(read, votes, strict=True) if vote is error.vote)
        raise UserError(f"{where}: voter '{error.vote.voter}' said the opposite of this pair before. Remove the row; no vote was stored.") from None
    return new, len(read) - new


@dataclass(frozen=True)
class Preference:
    """A row that was read; `files` are to be copied: from where, to which name."""

    chosen: Output
    rejected: Output
    voter: str
    comment: str
    where: str
    files: tuple[tuple[Path, str], ...]


def _vote(read: Preference) -> Vote:
    first, second = sorted((read.chosen.id, read.rejected.id))
    choice = Choice.FIRST if first == read.chosen.id else Choice.SECOND
    return Vote(voter=read.voter, first=first, second=second, choice=choice, comment=read.comment)


def _row(ballot: Ballot) -> dict[str, Any]:
    chosen, rejected = (ballot.first, ballot.second) if ballot.choice == Choice.FIRST else (ballot.second, ballot.first)
    said = {"prompt": chosen.prompt, "chosen": _named(chosen), "rejected": _named(rejected)}
    roles = (("chosen", chosen), ("rejected", rejected))
    known = {f"{role}_{name}": getattr(output, column) for role, output in roles for name, column in KNOWN.items()}
    comment = {"comment": ballot.comment} if ballot.comment else {}
    return said | known | {"arrow": chosen.arrow, "mime": chosen.mime, "voter": ballot.voter} | comment


def _named(output: Output) -> str:
    return output.content if output.is_text else f"{FILES}/{Path(output.content).name}"


def _copy(file: Path, to: Path) -> None:
    if not file.is_file():
        raise UserError(f"{file}: no such file, though a preference is about it. Put it there, or say where the arena's folder is.")
    if not to.exists():
        with replacing(to) as beside:
            shutil.copyfile(file, beside)


def _read(row: Mapping[str, Any], number: int, source: Path, *, arrow: str) -> Preference:
    where = f"{source}, row {number}"
    texts = {name: text_of(row.get(name)) for name in COLUMNS}
    empty = [name for name, text in texts.items() if not text]
    if empty:
        raise UserError(f"{where}: no {' and no '.join(empty)}. Preferences are rows of {', '.join(COLUMNS)}; nothing was stored.")
    mime, files = str(row.get("mime") or "text/plain")[:64], []

    def output(role: str) -> Output:
        content, name = texts[role], str(row.get(f"{role}_output") or "")
        if not mime.startswith("text/"):
            file = inside(source.parent, content, where=where)
            content = f"{OUTPUTS}/{_digest(file.read_bytes() if file.is_file() else b'')}{file.suffix}"
            files.append((file, content))
        model, weights = str(row.get(f"{role}_model") or role)[:255], str(row.get(f"{role}_weights") or "")[:64]
        known = {"arrow": str(row.get("arrow") or arrow)[:64], "prompt": texts["prompt"], "model": model, "weights": weights, "content": content}
        return Output(id=name[:64] or _digest(json.dumps(known, sort_keys=True).encode()), mime=mime, **known)

    chosen, rejected = output("chosen"), output("rejected")
    if chosen.id == rejected.id:
        raise UserError(f"{where}: chosen and rejected are the same. Remove the row; nothing was stored.")
    voter = str(row.get("voter") or f"row {number} of {source.name}")[:64]
    return Preference(chosen, rejected, voter, text_of(row.get("comment")), where, tuple(files))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
