"""Drawing for the command line: captions to picture files that say how they were made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from tonggan import __version__
from tonggan.choosing import Candidate
from tonggan.data.layouts.columns import CAPTION_COLUMNS, FILE_COLUMNS, captions_of, find_column, is_by_language
from tonggan.data.layouts.tables import READERS, read_table
from tonggan.errors import UserError
from tonggan.files import inside, numbered, read_text
from tonggan.modalities.image import ENDINGS, open_picture
from tonggan.modalities.provenance import Provenance, check_ending, save_marked, save_picture
from tonggan.modalities.sheet import check_sheet, contact_sheet
from tonggan.modalities.text import check_caption
from tonggan.pipeline import Tonggan
from tonggan.progress import Show
from tonggan.strict import LARGEST_SEED

BATCH = 32
EXAMPLES = 5
"""Captions of a file of which it is said what is to be known; of the rest, how many they are."""
LONGEST_SAID = 200
"""Characters of a caption that are said of it in one line."""
USELESS_STRENGTHS = {
    0: "leaves the picture of --from as it is: nothing is drawn.",
    1: "leaves nothing of the picture of --from: the caption alone is drawn.",
}
"""Strength of a drawing that starts from a picture -> what is to be known of it."""
TEXT_FILE = ".txt"
"""The ending of a file with a caption a line; others are tables."""


@dataclass(frozen=True)
class Request:
    """How to draw: first seed, decoder settings, negative prompt, and whether the prompt is written into the file."""

    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    negative: str | None = None
    include_prompt: bool = True
    start: tuple[str, Image.Image] | None = None
    """A picture to start from, with its name, as far as the setting `strength` leaves of it."""
    shown: Sequence[tuple[str, Image.Image]] = ()
    """Pictures, with their names, that the model looks at before those it recalls."""

    best_of: int = 1
    """So many are drawn for each that is kept."""
    reward: Path | None = None
    """The reward head that chooses; without it, closeness of picture and caption does."""

    def references(self) -> list[Image.Image] | None:
        """Return the pictures to look at first, None for those alone that the model recalls."""
        return [picture for _, picture in self.shown] or None


def _looked_at(model: Tonggan, caption: str, request: Request) -> list[str]:
    """Return the names of the pictures that the decoder looks at for a caption: those shown, then those recalled, as many as it has room for."""
    room = (model.settings() | dict(request.settings)).get("references", 0)
    return [*(name for name, _ in request.shown), *model.recalled(caption)][:room]


def _check_request(model: Tonggan, request: Request, warn: Callable[[str], None]) -> None:
    """Raise `UserError` for pictures to look at that the model has no room for, and for one to start from that it cannot; say where that, or its strength, has
    no effect."""
    settings = model.settings() | dict(request.settings)
    room, shown = settings.get("references"), len(request.shown)
    if room is not None and shown > int(room):
        raise UserError(f"pictures to look at: {shown}, and there is room for {room}. Give fewer, or more room with --references.")
    if request.start is not None and "strength" not in model.settings():
        raise UserError(f"{model.name} draws in one pass and cannot start from a picture. Leave out --from, or name another model, such as emoji-64.")
    if request.start is not None and settings.get("strength") in USELESS_STRENGTHS:
        warn(f"strength {settings['strength']:g} {USELESS_STRENGTHS[settings['strength']]}")


def _save(
    model: Tonggan,
    picture: Image.Image,
    path: Path,
    *,
    caption: str,
    references: Sequence[str],
    seed: int,
    request: Request,
    frames: Sequence[Image.Image] = (),
) -> None:
    settings = model.settings() | dict(request.settings)
    if request.start is None:
        settings.pop("strength", None)
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
        start=None if request.start is None else request.start[0],
    )
    save_picture(picture, path, provenance, include_prompt=request.include_prompt, frames=frames)


def parse_layer_seeds(text: str) -> list[int | None]:
    """Return the seeds that `-,-,7` names, None for each -; raises `UserError` for anything else."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word != "-" and not (word.isdecimal() and int(word) <= LARGEST_SEED):
            raise UserError(f"--layer-seeds: '{word}' is neither a seed nor -. Write them as -,-,-,7.")
    return [None if word == "-" else int(word) for word in words]


def _completion_notices(model: Tonggan, caption: str) -> list[str]:
    completed = model.completed(caption)
    if completed == caption or model.completion is None:
        return []
    cut = "" if model.completion.of(caption) == completed else ", for the caption is cut where it is too long"
    return [f"drawn as '{_shortened(completed)}'{cut}. Styles are {', '.join(model.completion.unless)}; --as-written leaves a caption as it is."]


def _shortened(caption: str) -> str:
    """Return a caption as it is said in a line: of a long one the beginning and the end."""
    return caption if len(caption) <= LONGEST_SAID else f"{caption[: LONGEST_SAID // 2]}…{caption[-(LONGEST_SAID // 2) :]}"


def _reading_notices(model: Tonggan, caption: str) -> list[str]:
    return [*model.guessed(caption), *model.notices(check_caption(model.completed(caption)))]


def _notices(model: Tonggan, caption: str) -> list[str]:
    return [*_completion_notices(model, caption), *_reading_notices(model, caption)]


def _warn_of_rows(model: Tonggan, wanted: Sequence["_Wanted"], warn: Callable[[str], None]) -> None:
    """Say what is to be known of the captions of a file: of each kind a few, and how many more there are."""
    for notices, what in ((_completion_notices, "completed"), (_reading_notices, "guessed at or cut")):
        said = [(row.where, lines) for row in wanted if (lines := notices(model, row.caption))]
        for where, lines in said[:EXAMPLES]:
            warn(f"{where}: {' '.join(lines)}")
        if len(said) > EXAMPLES:
            warn(f"{len(said):,} of {len(wanted):,} captions are {what}; the first {EXAMPLES} are named above.")


def draw_one(model: Tonggan, caption: str, output: Path, *, n: int, request: Request, warn: Callable[[str], None]) -> list[Path]:
    """Draw a caption `n` times and return the files; raises `UserError` for a file ending that is not written before anything is drawn."""
    check_ending(output)
    _check_request(model, request, warn)
    for line in _notices(model, caption):
        warn(line)
    paths = numbered(output, n)
    references = _looked_at(model, caption, request)
    several = n if request.best_of > 1 else BATCH  # the best are found among all
    for start in range(0, n, several):
        part = paths[start : start + several]
        drawn = _drawn(model, [caption], request, seeds=[request.seed + start + i for i in range(len(part))], n=len(part))
        for path, each in zip(part, drawn, strict=True):
            _save(model, each.output, path, caption=model.completed(caption), references=references, seed=each.seed, request=request)
    return paths


def _drawn(model: Tonggan, captions: Sequence[str], request: Request, *, seeds: Sequence[int], n: int = 1) -> list[Candidate]:
    """Draw `n` pictures a caption from `seeds` in order; with `best_of`, picture i is the best of those from the seeds `best_of` * i and following."""
    start = None if request.start is None else request.start[1]
    how: dict[str, Any] = {"negative": request.negative, "settings": request.settings, "start": start, "references": request.references()}
    if request.best_of == 1:
        made = model.generate(list(captions), to="image", n=n, seeds=seeds, **how)
        return [Candidate(picture, seed, 0.0) for picture, seed in zip(made, seeds, strict=True)]
    first = request.seed + (seeds[0] - request.seed) * request.best_of
    return model.candidates(list(captions), to="image", seed=first, n=n, best_of=n * request.best_of, reward=request.reward, **how)


@dataclass(frozen=True)
class _Wanted:
    """What a row asks for: a caption, and the file that its picture becomes; `where` it stands, for what is said of it."""

    caption: str
    path: Path
    where: str


def _rows(captions: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a table, or a text file's lines as such, by what they are called."""
    if not captions.is_file():
        raise UserError(f"{captions}: no such file.")
    if captions.suffix.lower() not in (TEXT_FILE, *READERS):
        raise UserError(f"{captions}: not a kind of table that is known. Known: {', '.join((*READERS, TEXT_FILE))}.")
    if captions.suffix.lower() != TEXT_FILE:
        return {f"row {number}": row for number, row in enumerate(read_table(captions), 1)}
    rows = {f"line {number}": {CAPTION_COLUMNS[0]: line} for number, line in enumerate(read_text(captions).splitlines(), 1) if line.strip()}
    if not rows:
        raise UserError(f"{captions}: there is no caption in it. It should hold one a line.")
    return rows


def _caption(row: Mapping[str, Any], text: str, *, language: str | None, where: str) -> str:
    """Return the caption of a row: in `language`, where the row tells languages apart (in any column), else in English or what there is.

    Raises `UserError` for an empty one, and for a row that has other languages alone.
    """
    asked = language if any(map(is_by_language, row.values())) else None
    said = captions_of({text: row.get(text)} if asked is None else row, text)
    if asked is not None and asked not in said:
        raise UserError(f"{where}: no caption in '{asked}' (there is: {', '.join(said) or 'none'}). Nothing was drawn; leave out --language.")
    caption = next((each for known in (asked or "en", *said) for each in said.get(known, ())), "")
    if not caption:
        raise UserError(f"{where}: the caption is empty. Nothing was drawn; mend or remove the row.")
    try:
        check_caption(caption)
    except UserError as error:
        raise UserError(f"{where}: {error} Nothing was drawn.") from error
    return caption


def _wanted(captions: Path, out: Path, language: str | None) -> list[_Wanted]:
    """Return what the rows of a table ask for; where none of its columns names files, the pictures are numbered by the rows: 0001.png.

    Raises `UserError` that names the row for an empty caption, and for a file name that is missing, leads out of `out`, has an ending that is not written or
    is an earlier row's.
    """
    rows = _rows(captions)
    head = list(next(iter(rows.values())))
    text = find_column(head, CAPTION_COLUMNS, what="caption", where=str(captions))
    name = next((column for column in FILE_COLUMNS if column in head), None)
    wanted: list[_Wanted] = []
    taken: dict[Path, str] = {}
    for number, (place, row) in enumerate(rows.items(), 1):
        where = f"{captions}, {place}"
        caption = _caption(row, text, language=language, where=where)
        file = f"{number:04d}.png" if name is None else str(row.get(name) or "")
        if not file:
            raise UserError(f"{where}: no {name}. Nothing was drawn; give the row one.")
        path = inside(out, file, where=where)
        check_ending(path, where=where)
        earlier = taken.setdefault(path.resolve(), place)
        if earlier != place:
            raise UserError(f"{where}: {name} '{file}' is that of {earlier}, too. Nothing was drawn; give each row its own.")
        wanted.append(_Wanted(caption, path, where))
    return wanted


def draw_file(
    model: Tonggan,
    captions: Path,
    out: Path,
    *,
    request: Request,
    warn: Callable[[str], None],
    language: str | None = None,
    sheet: Path | None = None,
    progress: Show | None = None,
) -> int:
    """Draw one picture a row of a table or a line of a text file, and return how many; row i is drawn from `seed` + i.

    Of a row's captions the first is drawn, in `language`, or in English where there is one. Raises `UserError` for a row that cannot become a picture,
    and for a sheet that is no PNG, before anything is drawn.
    """
    check_sheet(sheet)
    wanted = _wanted(captions, out, language)
    _warn_of_rows(model, wanted, warn)
    pictures: list[Image.Image] = []
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        seeds = [request.seed + start + i for i in range(len(part))]
        made = _drawn(model, [row.caption for row in part], request, seeds=seeds)
        for row, each in zip(part, made, strict=True):
            references = _looked_at(model, row.caption, request)
            _save(model, each.output, row.path, caption=model.completed(row.caption), references=references, seed=each.seed, request=request)
        pictures += [each.output for each in made] if sheet is not None else []
        if progress is not None:
            progress("drawing", start + len(part), len(wanted))
    if sheet is not None:
        save_marked(contact_sheet(pictures, [model.completed(row.caption) for row in wanted]), sheet)
    return len(wanted)


def draw_morph(model: Tonggan, first: str, second: str, output: Path, *, frames: int, request: Request, warn: Callable[[str], None]) -> Path:
    """Draw a walk from one end to the other and back as an animation (GIF, WebP or PNG) and return the file. An end is a caption or a picture's file.

    The file names the references of both ends that are captions. Raises `UserError` for another file ending before anything is drawn.
    """
    check_ending(output, moving=True)
    ends = [open_picture(Path(each)) if Path(each).suffix.lower() in ENDINGS else model.completed(each) for each in (first, second)]
    for caption in (each for each, end in zip((first, second), ends, strict=True) if isinstance(end, str)):
        for line in _notices(model, caption):
            warn(line)
    there = model.morph(*ends, frames=frames, seed=request.seed, settings=request.settings)
    whole = [*there, *reversed(there[1:-1])]
    told = " -> ".join(end if isinstance(end, str) else Path(each).name for each, end in zip((first, second), ends, strict=True))
    references = list(dict.fromkeys(name for end in ends if isinstance(end, str) for name in _looked_at(model, end, request)))
    _save(model, whole[0], output, caption=told, references=references, seed=request.seed, request=request, frames=whole[1:])
    return output
