"""What is kept of a race in the repository, a competitor at a time: its record and a strip of its first pictures.

A race of hours on one machine goes over many sittings; who is through once need not race again, as long as pack and minutes are the same.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tonggan.errors import UserError
from tonggan.files import replacing

STRIP_PICTURES = 20
Record = dict[str, Any]


def keep(raced: Path, kept: Path, *, size: int) -> None:
    """Copy what a competitor's race left in `raced` into `kept`: result.json and first.png, its first pictures side by side."""
    rows = (raced / "final" / "rows.jsonl").read_text(encoding="utf-8").splitlines()[:STRIP_PICTURES]
    strip = Image.new("RGB", (size * len(rows), size))
    for number, row in enumerate(rows):
        with Image.open(raced / "final" / json.loads(row)["picture"]) as picture:
            strip.paste(picture.convert("RGB"), (size * number, 0))
    with replacing(kept / "first.png") as beside:
        strip.save(beside, format="PNG")
    with replacing(kept / "result.json") as beside:
        shutil.copyfile(raced / "result.json", beside)


def kept_record(kept: Path, *, content_hash: str, minutes: float) -> Record | None:
    """Return the record that lies in `kept`, None where there is none; raises `UserError` where it is of another race."""
    path = kept / "result.json"
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if (record["content_hash"], record["budget_minutes"]) != (content_hash, minutes):
        raise UserError(f"{path} is of a race on other data or with other minutes. Choose another --results, or remove it.")
    return record


def strip_pictures(kept: Path, *, size: int) -> Sequence[Image.Image]:
    """Return the pictures of first.png."""
    with Image.open(kept / "first.png") as strip:
        return [strip.crop((left, 0, left + size, size)) for left in range(0, strip.width, size)]
