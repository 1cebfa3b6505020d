"""Drawing for the command line: captions to picture files that say how they were made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from tonggan import __version__
from tonggan.choosing import Candidate
from tonggan.data.layouts.columns import CAPTION_COLUMNS, FILE_COLUMNS, find_column
from tonggan.data.layouts.tables import read_table
from tonggan.errors import UserError
from tonggan.files import inside, replacing
from tonggan.modalities.image import ENDINGS, open_picture
from tonggan.modalities.provenance import Provenance, save_picture
from tonggan.modalities.sheet import contact_sheet
from tonggan.modalities.text import clean_caption
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

BATCH = 32


@dataclass(frozen=True)
class Request:
    """How to draw: first seed, decoder settings, negative prompt, and whether the prompt is written into the file."""

    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    negative: str | None = None
    include_prompt: bool = True
    start: Image.Image | None = None
    """A picture to start from, as far as the setting `strength` leaves of it."""
    shown: Sequence[tuple[str, Image.Image]] = ()
    """Pictures, with their names, that the model looks at before those it recalls."""

    best_of: int = 1
    """So many are drawn for each that is kept."""
    reward: Path | None = None
    """The reward head that chooses; without it, closeness of picture and caption does."""

    def references(self) -> list[Image.Image] | None:
        """Return the pictures to look at first, None for those alone that the model recalls."""
        return [picture for _, picture in self.shown] or None


def _save(model: Tonggan, picture: Image.Image, path: Path, *, caption: str, seed: int, request: Request, frames: Sequence[Image.Image] = ()) -> None:
    settings = model.settings() | dict(request.settings)
    if request.start is None:
        settings.pop("strength", None)
    references = [*(name for name, _ in request.shown), *model.recalled(caption)][: settings.get("references", 0)]
    provenance = Provenance(
        prompt=caption,
        negative_prompt=request.negative,
        seed=seed,
        model=model.name,
        model_hash=model.weights_hash,
        settings=settings,
        size=picture.size,
        software=f"tonggan {__version__}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        references=tuple(references),
    )
    save_picture(picture, path, provenance, include_prompt=request.include_prompt, frames=frames)


def parse_layer_seeds(text: str) -> list[int | None]:
    """Return the seeds that `-,-,7` names, None for each -; raises `UserError` for anything else."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word != "-" and not word.isdecimal():
            raise UserError(f"--layer-seeds: '{word}' is neither a seed nor -. Write them as -,-,-,7.")
    return [None if word == "-" else int(word) for word in words]


def _notices(model: Tonggan, caption: str) -> list[str]:
    completed = model.completed(caption)
    said = (
        []
        if completed == caption or model.completion is None
        else [f"drawn as '{completed}': name {', '.join(model.completion.unless)}, or give --as-written."]
    )
    return [*said, *model.notices(caption)]


def draw_one(model: Tonggan, caption: str, output: Path, *, n: int, request: Request, warn: Callable[[str], None]) -> list[Path]:
    """Draw a caption `n` times and return the files."""
    for line in _notices(model, caption):
        warn(line)
    paths = [output if n == 1 else output.with_stem(f"{output.stem}-{i}") for i in range(n)]
    drawn = _drawn(model, [caption], request, seeds=[request.seed + i for i in range(n)], n=n)
    for path, each in zip(paths, drawn, strict=True):
        _save(model, each.output, path, caption=model.completed(caption), seed=each.seed, request=request)
    return paths


def _drawn(model: Tonggan, captions: Sequence[str], request: Request, *, seeds: Sequence[int], n: int = 1) -> list[Candidate]:
    """Draw `n` pictures a caption from `seeds` in order; with `best_of`, picture i is the best of those from the seeds `best_of` * i and following."""
    how: dict[str, Any] = {"negative": request.negative, "settings": request.settings, "start": request.start, "references": request.references()}
    if request.best_of == 1:
        made = model.generate(list(captions), to="image", n=n, seeds=seeds, **how)
        return [Candidate(picture, seed, 0.0) for picture, seed in zip(made, seeds, strict=True)]
    first = request.seed + (seeds[0] - request.seed) * request.best_of
    return model.candidates(list(captions), to="image", seed=first, n=n, best_of=n * request.best_of, reward=request.reward, **how)


def draw_file(
    model: Tonggan,
    captions: Path,
    out: Path,
    *,
    request: Request,
    warn: Callable[[str], None],
    sheet: Path | None = None,
    progress: Show | None = None,
) -> int:
    """Draw one picture a row of a JSON lines file, named by the row's `file_name`, and return how many; row i is drawn from `seed` + i."""
    if not captions.is_file():
        raise UserError(f"{captions}: no such file.")
    rows = list(read_table(captions))
    text = find_column(list(rows[0]), CAPTION_COLUMNS, what="caption", where=str(captions))
    name = find_column(list(rows[0]), FILE_COLUMNS, what="picture's file", where=str(captions))
    for number, row in enumerate(rows, 1):
        if not clean_caption(str(row.get(text) or "")):
            raise UserError(f"{captions}, row {number}: the caption is empty. Nothing was drawn; mend or remove the row.")
        if not row.get(name):
            raise UserError(f"{captions}, row {number}: no {name}. Nothing was drawn; give the row one.")
        for line in _notices(model, str(row[text])):
            warn(f"{captions}, row {number}: {line}")
    pictures: list[Image.Image] = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        seeds = [request.seed + start + i for i in range(len(part))]
        made = _drawn(model, [str(row[text]) for row in part], request, seeds=seeds)
        for row, each in zip(part, made, strict=True):
            path = inside(out, str(row[name]), where=str(captions))
            _save(model, each.output, path, caption=model.completed(str(row[text])), seed=each.seed, request=request)
        pictures += [each.output for each in made] if sheet is not None else []
        if progress is not None:
            progress("drawing", start + len(part), len(rows))
    if sheet is not None:
        drawn = contact_sheet(pictures, [str(row[text]) for row in rows])
        with replacing(sheet) as beside:
            drawn.save(beside, format="PNG")
    return len(rows)


def draw_morph(model: Tonggan, first: str, second: str, output: Path, *, frames: int, request: Request) -> Path:
    """Draw a walk from one end to the other and back as an animation (GIF, WebP or PNG) and return the file. An end is a caption or a picture's file."""
    ends = [open_picture(Path(each)) if Path(each).suffix.lower() in ENDINGS else model.completed(each) for each in (first, second)]
    there = model.morph(*ends, frames=frames, seed=request.seed, settings=request.settings)
    whole = [*there, *reversed(there[1:-1])]
    told = (end if isinstance(end, str) else each for each, end in zip((first, second), ends, strict=True))
    _save(model, whole[0], output, caption=" -> ".join(told), seed=request.seed, request=request, frames=whole[1:])
    return output
