"""The folder of an evaluation: what lies there before, and writing the rows, the report and the card."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tonggan.errors import UserError
from tonggan.evaluation.card import Card
from tonggan.evaluation.card_text import save_card
from tonggan.evaluation.drawing import below
from tonggan.evaluation.report import write_report
from tonggan.evaluation.unfinished import UNFINISHED
from tonggan.files import replacing

MADE = {"picture": "pictures", "sound": "sounds"}
"""Column of rows.jsonl that names what was made for a row -> the folder that it lies in."""
NAMES = ("card.json", "card.md", *MADE.values(), "rows.jsonl", "report.html")


def check_folder(out: Path) -> None:
    """Refuse, before anything is made, an `out` that cannot be written to and one that holds what is not ours to replace.

    A folder with files of our names but no card is someone else's (a pack has a rows.jsonl, too), unless what an evaluation that was stopped has made lies
    there: it goes on.
    """
    standing = next(path for path in (out, *out.parents) if path.exists())
    if not standing.is_dir():
        raise UserError(f"{out} cannot be a folder for the results: {standing} is a file. Choose another one.")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise UserError(f"{standing} may not be written to. Choose another folder for the results.")
    if (out / "card.json").is_file():
        Card.load(out / "card.json")
        _earlier(out)
    elif (out / UNFINISHED).is_dir():
        _earlier(out)
    elif taken := [name for name in NAMES if (out / name).exists()]:
        raise UserError(
            f"{out} holds {' and '.join(taken)}, but no file card.json: no whole evaluation lies there. Choose another folder, or remove them."
        )


def check_unused(out: Path) -> None:
    """Refuse an `out` that holds an evaluation: it may have taken hours, and is not to be replaced unasked."""
    if (out / "card.json").exists():
        raise UserError(f"{out} holds an evaluation already. Choose another folder, or replace it with --overwrite.")


def _earlier(out: Path) -> list[Path]:
    """Return the pictures or sounds that an earlier evaluation wrote into `out`; raises `UserError` where its rows cannot be read."""
    path = out / "rows.jsonl"
    if not path.is_file():
        return []
    try:
        # Not splitlines(), which parts at U+2028, too.
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return [out / folder / below(row[column].removeprefix(f"{folder}/")) for row in rows for column, folder in MADE.items() if column in row]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: it does not say which files to replace. Choose another folder, or remove {out}.") from error


def remove_earlier(out: Path) -> None:
    """Remove the card and what was made by an earlier evaluation in `out`, and nothing else."""
    earlier = _earlier(out)
    # The card first, so that it never lies beside pictures that it does not speak of.
    for path in (out / "card.json", out / "card.md", *earlier):
        path.unlink(missing_ok=True)


def save_evaluation(out: Path, card: Card, *, rows: Iterable[Mapping[str, Any]], shown: Iterable[str]) -> None:
    """Write rows.jsonl, report.html with the sections `shown` (HTML), card.md and, last, card.json. Raises `UserError` where the disk is full."""
    with replacing(out / "rows.jsonl") as beside:
        beside.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    write_report(out / "report.html", card=card, shown=shown)
    save_card(out, card)
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)
