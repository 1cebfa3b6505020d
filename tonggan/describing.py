"""Describing for the command line: files of pictures and sounds to sentences, one bad file never stops the others, what is written is not done twice."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tonggan.errors import UserError
from tonggan.files import is_named_in_utf8
from tonggan.modalities.audio import ENDINGS as SOUND_ENDINGS
from tonggan.modalities.audio import open_beginning
from tonggan.modalities.image import ENDINGS, inspect_picture, open_picture
from tonggan.modalities.text import Caption
from tonggan.pipeline import Tonggan
from tonggan.progress import Show
from tonggan.strict import LARGEST_SEED

BATCH = 32
SAMPLED = {"temperature": 0.8, "top_p": 0.9}
"""How sentences after the first are written, where several are asked for."""
GRACE_SECONDS = 0.05
"""A sound may be so much longer than what a model listens to before that is said."""
ROW_BEGINS = b'{"file_name": '
"""How every line that is written here begins: what begins so and is no JSON was cut off."""
TRIED = 4
"""Sentences that are sampled for each that is wanted, so that enough of them differ."""


@dataclass(frozen=True)
class Description:
    """What is said of a file: sentences, the likeliest first, or why nothing could be said; `notes` are to be known beside."""

    file: Path
    sentences: tuple[Caption, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()

    def as_row(self, root: Path | None = None) -> dict[str, object]:
        """Return the description as a row of a data set; the file is named relative to `root` where given."""
        best = self.sentences[0]
        name = self.file.relative_to(root) if root is not None else self.file
        others = {"others": [str(each) for each in self.sentences[1:]]} if len(self.sentences) > 1 else {}
        return {"file_name": name.as_posix(), "text": str(best), "language": best.language, "score": round(best.score or 0.0, 4)} | others


def described_endings(model: Tonggan) -> tuple[str, ...]:
    """Return the endings of the files that a model describes, of pictures, sounds or both; raises `UserError` where it describes neither."""
    kinds = {"image": ENDINGS, "audio": SOUND_ENDINGS}
    known = [endings for kind, endings in kinds.items() if f"{kind}->text" in model.recipe.objectives.arrows]
    if not known:
        raise UserError(f"{model.name} describes neither pictures nor sounds: it was trained for {', '.join(model.recipe.objectives.arrows)}.")
    return tuple(ending for endings in known for ending in endings)


def files_in(paths: Sequence[Path], endings: Sequence[str] = ENDINGS) -> list[Path]:
    """Return the files named and those of the folders named that have one of the endings (pictures'), sorted within each, each file once.

    Raises `UserError` for a path that is not there, and a folder without any.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder.")
        inside = sorted(each for each in path.rglob("*") if each.suffix.lower() in endings and each.is_file()) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path}: the folder holds no {'picture' if '.png' in endings else 'sound'}. Looked for: {', '.join(endings)}.")
        found += inside
    return list(dict.fromkeys(found))


def describe(
    model: Tonggan, files: Sequence[Path], *, language: str | None = None, n: int = 1, seed: int = 0, progress: Show | None = None
) -> Iterator[Description]:
    """Yield what the model says of each file, in order; a file that cannot be read is yielded with its problem.

    The first sentence is the likeliest, `n` - 1 others are sampled (those of file i from `seed` + i, whatever other files can be read) and differ from it
    and from each other: where fewer are found, a note says so.
    """
    settings = {"language": language} if language else {}
    for start in range(0, len(files), BATCH):
        part = files[start : start + BATCH]
        opened = {file: _open(file, model) for file in part}
        of_file: dict[Path, list[Caption]] = {}
        for kind in ("image", "audio"):
            perceived = {file: each.value for file, each in opened.items() if each.kind == kind and each.value is not None}
            seeds = [seed + start + number for number, file in enumerate(part) if file in perceived]
            said = _sentences(model, list(perceived.values()), settings=settings, n=n, seeds=seeds) if perceived else []
            of_file |= zip(perceived, said, strict=True)
        for file in part:
            sentences, notes = tuple(of_file.get(file, ())), opened[file].notes
            if 0 < len(sentences) < n:
                notes = (*notes, f"{file}: {len(sentences)} of {n} sentences; among {TRIED * (n - 1)} that were sampled no others were found.")
            yield Description(file, sentences, opened[file].problem, notes)
        if progress is not None:
            progress("describing", start + len(part), len(files))


@dataclass(frozen=True)
class _Opened:
    """What a file holds, a picture or a sound, or why it cannot be described."""

    kind: str
    value: Any = None
    problem: str = ""
    notes: tuple[str, ...] = ()


def _open(file: Path, model: Tonggan) -> _Opened:
    kind = "audio" if file.suffix.lower() in SOUND_ENDINGS else "image"
    known = described_endings(model)
    if (".wav" if kind == "audio" else ".png") not in known:
        return _Opened(kind, problem=f"{file}: {model.name} does not describe such files. It takes {', '.join(known)}.")
    if not is_named_in_utf8(file):
        return _Opened(kind, problem=f"{file}: its name is not UTF-8. Rename it.")
    try:
        if kind == "audio":
            return _heard(file, model)
        picture, animated = open_picture(file), "animated" in inspect_picture(file).remarks
    except UserError as error:  # of a file that was removed in between, too
        return _Opened(kind, problem=str(error))
    return _Opened(kind, picture, notes=(f"{file}: an animation; its first frame was described.",) if animated else ())


def _heard(file: Path, model: Tonggan) -> _Opened:
    listened = model.framing.clip_seconds
    sound, seconds = open_beginning(file, listened + GRACE_SECONDS)
    note = f"{file}: {seconds:.2f} s; its first {listened:g} s were listened to."
    return _Opened("audio", sound, notes=(note,) if seconds > listened + GRACE_SECONDS else ())


def _sentences(model: Tonggan, perceived: list[Any], *, settings: dict[str, str], n: int, seeds: Sequence[int]) -> list[list[Caption]]:
    said = [[best] for best in model.generate(perceived, to="text", settings=settings)]
    if n > 1:
        tried = TRIED * (n - 1)
        own = [(seed * tried + i) & LARGEST_SEED for seed in seeds for i in range(tried)]
        others = model.generate(perceived, to="text", n=tried, seeds=own, settings=settings | SAMPLED)
        for index, sentences in enumerate(said):
            mine = sorted(others[index * tried : (index + 1) * tried], key=lambda each: -(each.score or 0))
            sentences += [each for each in dict.fromkeys(mine) if each != sentences[0]][: n - 1]
    return said


def write_rows(
    descriptions: Callable[[Sequence[Path]], Iterable[Description]], files: Sequence[Path], out: Path, *, root: Path | None = None
) -> tuple[int, dict[Path, str]]:
    """Append a row a file to JSON lines at `out`, leaving out the files that stand there already, and return (rows written, file -> problem).

    A line that was cut off when an earlier call was stopped is removed first. Raises `UserError` where `out` holds something else.
    """
    known = _mended(out)
    left = [file for file in files if (file.relative_to(root) if root else file).as_posix() not in known]
    problems, written = {}, 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        lines: IO[str] | None = None
        for description in descriptions(left):
            if description.problem:
                problems[description.file] = description.problem
                continue
            lines = lines or opened.enter_context(open(out, "a", encoding="utf-8"))  # without a row there is no table
            _append(lines, description.as_row(root))
            written += 1
    return written, problems


def _append(lines: IO[str], row: dict[str, object]) -> None:
    lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    lines.flush()


def _mended(out: Path) -> set[str]:
    """Return the file names that stand in `out`, after a last line that was cut is removed, and one that is whole but for its end is ended."""
    if not out.is_file():
        return set()
    content = out.read_bytes()
    ended = content.rfind(b"\n") + 1
    last = content[ended:]
    if last and (last.startswith(ROW_BEGINS) or ROW_BEGINS.startswith(last)) and not _is_row(last):
        content = content[:ended]
    try:
        names = {json.loads(line)["file_name"] for line in content.decode("utf-8").split("\n") if line.strip()}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{out} holds something other than descriptions. Choose another file.") from error
    with open(out, "r+b") as file:
        file.truncate(len(content))
        if content and not content.endswith(b"\n"):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
    return names


def _is_row(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
