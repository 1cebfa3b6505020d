"""The verbs that look and listen: `describe`, `label`, `alt-text`, `index` and `search`."""

import json
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from tonggan.cli_options import ModelName, TrustCode
from tonggan.errors import DiskFullError, UserError
from tonggan.progress import counted, progress_bars, warn
from tonggan.strict import LARGEST_SEED


def describe(
    files: Annotated[list[str], typer.Argument(help="Pictures or sounds, as the model knows them, folders, or - for file names on standard input.")],
    language: Annotated[str | None, typer.Option(help="Language of the sentences (default: the model's first).")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Sentences a file: the likeliest, then others.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the others.")] = 0,
    model: ModelName = "emoji-64",
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """Say what is to be seen in pictures or heard in sounds, with the mean log-probability of the words."""
    from tonggan.describing import describe as say
    from tonggan.describing import described_endings, files_in
    from tonggan.pipeline import Tonggan

    named = _named_on_stdin() if files == ["-"] else files
    loaded = Tonggan.from_pretrained(model, trust_code=trust_code)
    found = files_in([Path(name) for name in named if name], described_endings(loaded))
    failed = 0
    with progress_bars() as show:
        for each in say(loaded, found, language=language, n=n, seed=seed, progress=show if len(found) > 1 else None):
            failed += bool(each.problem)
            for line in [*each.notes, *([each.problem] if each.problem else [])]:
                warn(line)
            if each.sentences and as_json:
                print(json.dumps(each.as_row(), ensure_ascii=False))
            for sentence in () if as_json else each.sentences:
                print(f"{each.file}\t{sentence.score:.2f}\t{sentence}")
    if failed:
        raise UserError(f"{failed} of {len(found)} files could not be described.")


def _named_on_stdin() -> list[str]:
    """Return the file names on standard input, a line each, which need not be UTF-8."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return [line.rstrip("\n") for line in sys.stdin]


def label(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures, or of sounds where the model knows them.")],
    out: Annotated[Path | None, typer.Option(help="The table to write (default: metadata.jsonl in the folder).")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the sentences.")] = None,
    model: ModelName = "emoji-64",
    trust_code: TrustCode = False,
) -> None:
    """Make a data set of a folder: a sentence for each file in metadata.jsonl. Called again it goes on where it stopped."""
    from tonggan.describing import describe as say
    from tonggan.describing import described_endings, files_in, write_rows
    from tonggan.pipeline import Tonggan

    if folder.is_file():
        raise UserError(f"{folder} is no folder. For one file: tonggan describe {folder}.")
    table = out or folder / "metadata.jsonl"
    _refuse_replacing(folder, table)
    loaded = Tonggan.from_pretrained(model, trust_code=trust_code)
    found = files_in([folder], described_endings(loaded))
    with progress_bars() as show:
        written, problems = write_rows(lambda files: say(loaded, files, language=language, progress=show), found, table, root=folder)
    for problem in problems.values():
        warn(problem)
    known, unread = len(found) - written - len(problems), counted(len(problems), "files")
    print(f"{written} new row{'s' * (written != 1)} in {table}; {known} stood there already; {unread} could not be described")
    if problems:
        raise UserError(f"{len(problems)} of {len(found)} files could not be described.")


def _refuse_replacing(folder: Path, table: Path) -> None:
    """Raise `UserError` where a folder has captions that a table in it would take the place of."""
    from tonggan.data.layouts.aside import captions_in

    if not folder.is_dir() or not table.resolve().is_relative_to(folder.resolve()):
        return
    if there := captions_in(folder, besides=table):
        raise UserError(
            f"{folder} has captions ({', '.join(there.values())}), and {table} would take their place in training. "
            "Write it elsewhere with --out FILE, or move those captions away."
        )


def alt_text(
    path: Annotated[Path, typer.Argument(help="A page, or a folder of pages.")],
    write: Annotated[bool, typer.Option("--write", help="Write them into the pages; a backup of each is kept.")] = False,
    language: Annotated[str | None, typer.Option(help="Language of the texts.")] = None,
    model: ModelName = "emoji-64",
    trust_code: TrustCode = False,
) -> None:
    """Find pictures without alternative text in HTML pages and write one; an empty alt="" means decoration and stays."""
    from tonggan.alt_text import look_through, pages_in, write_alternatives
    from tonggan.pipeline import Tonggan

    pages, loaded = pages_in(path), Tonggan.from_pretrained(model, trust_code=trust_code)
    settings = {"language": language} if language else {}
    root = path if path.is_dir() else path.parent
    failed = 0
    for page in pages:
        try:
            found = look_through(page, lambda pictures: loaded.generate(list(pictures), to="text", settings=settings), root=root)
            for each in found:
                said = f"not described: {each.problem}" if each.said is None else f"{'unsure: ' if each.unsure else ''}{each.said}"
                print(f"{page}, line {each.line}\t{each.source[:60]}\t{said}")
            if write and any(each.said for each in found):
                print(f"{page}: written; the page as it was is {write_alternatives(page, found)}")
        except DiskFullError:
            raise
        except UserError as error:
            failed += 1
            warn(str(error))
    if failed:
        raise UserError(f"{failed} of {len(pages)} pages could not be read or written, for the reasons above; the others are done.")


def index(
    source: Annotated[Path, typer.Argument(help="A folder of pictures, or a text file with a caption a line.")],
    model: ModelName = "emoji-64",
    trust_code: TrustCode = False,
) -> None:
    """Make a folder or a file ready for searching, or bring its index up to date; `search` does so, too."""
    from tonggan.pipeline import Tonggan
    from tonggan.searching import SearchIndex

    made = SearchIndex(source, Tonggan.from_pretrained(model, trust_code=trust_code))
    with progress_bars() as show:
        added, removed = made.refresh(show)
    for problem in made.problems.values():
        warn(problem)
    print(f"{len(made)} in {made.folder}: {added} new, {removed} gone, {len(made.problems)} could not be read")


def search(
    query: Annotated[str | None, typer.Argument(help="What is sought, in words.")] = None,
    source: Annotated[Path, typer.Option("--in", help="A folder of pictures, or a text file with a caption a line.")] = Path("."),
    like: Annotated[Path | None, typer.Option(help="A picture that what is sought is like, instead of words.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many are shown.")] = 10,
    sheet: Annotated[Path | None, typer.Option(help="A PNG of the pictures found, too.")] = None,
    model: ModelName = "emoji-64",
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """Find pictures by words or by a picture, and captions by either, nearest first, with the cosine."""
    from tonggan.files import replacing
    from tonggan.modalities.image import open_picture
    from tonggan.modalities.sheet import check_sheet, contact_sheet
    from tonggan.modalities.text import check_caption
    from tonggan.pipeline import Tonggan
    from tonggan.searching import SearchIndex

    if (query is None) == (like is None):
        raise UserError("say what is sought, in words or with --like FILE.")
    if sheet is not None and not source.is_dir():
        raise UserError("--sheet shows pictures; captions are searched here. Leave it out.")
    check_sheet(sheet)
    wanted = check_caption(query) if query is not None else open_picture(Path(like or ""))
    searched = SearchIndex(source, Tonggan.from_pretrained(model, trust_code=trust_code))
    with progress_bars() as show:
        searched.refresh(show)
    for problem in searched.problems.values():
        warn(problem)
    hits = searched.search(wanted, k)
    for hit in hits:
        name = str(source / hit.name) if source.is_dir() else hit.name
        print(json.dumps({"name": name, "score": round(hit.score, 4)}, ensure_ascii=False) if as_json else f"{hit.score:.3f}\t{name}")
    if sheet is not None and hits:
        with replacing(sheet) as beside:
            contact_sheet([open_picture(source / hit.name) for hit in hits], [hit.name for hit in hits]).save(beside, format="PNG")
        print(f"sheet: {sheet}", file=sys.stderr)
