"""The verbs `evaluate` and `compare`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tonggan.cli_options import TrustCode, given_options, given_settings
from tonggan.errors import UserError
from tonggan.progress import progress_bars
from tonggan.strict import LARGEST_SEED

if TYPE_CHECKING:
    from tonggan.evaluation.card import Card

OPTIONS_OF_ARROWS = {
    "language": ("text->image", "image->text", "text->audio", "audio->text"),
    "best_of": ("text->image",),
    "truth": ("video->audio",),
    "tolerance_seconds": ("video->audio",),
}
"""Options that mean something for some arrows only."""
OF_MODELS = ("seed", "guidance_scale", "num_inference_steps", "dtype", "references", "smoothing", "truncation", "best_of")
"""Options that say how outputs are made."""
BESIDE_REPEAT = ("repeat", "out", "download", "trust_code", "overwrite")
"""Options that go with `--repeat`; a card says the rest."""


def evaluate(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="A model that ships, a model folder, or a run.")] = None,
    data: Annotated[Path | None, typer.Option(help="A data set or a pack.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for card.json, card.md, report.html, rows.jsonl and what was made.")] = None,
    split: Annotated[str, typer.Option(help="Which rows are drawn.")] = "test",
    language: Annotated[str, typer.Option(help="Language of the captions.")] = "en",
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Row i is drawn from seed + i.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Only so many rows.")] = None,
    beside: Annotated[list[Path] | None, typer.Option(help="Cards to show beside this one.")] = None,
    arrow: Annotated[str, typer.Option(help="text->image, image->text, video->audio, text->audio, or audio->text.")] = "text->image",
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure by this network, too: inception=FILE (FID, KID, MIND; torch-fidelity's weights), or a CLIP (CMMD, CLIPScore) or DINOv2 of"
            " transformers by folder or id; can be repeated."
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Networks named by --features may be fetched.")] = False,
    java: Annotated[
        list[str] | None,
        typer.Option(help="image->text, audio->text: meteor or spice, by Java and pycocoevalcap (the extra 'java'); can be repeated."),
    ] = None,
    repeat: Annotated[
        Path | None, typer.Option(help="A card: evaluate as it says and compare figure by figure; exit code 1 where one does not repeat.")
    ] = None,
    truth: Annotated[str, typer.Option(help="video->audio: the rows' events, or the onsets of the true sound.")] = "sound",
    tolerance_seconds: Annotated[float, typer.Option(min=0, help="video->audio: how far an onset may be off.")] = 0.05,
    guidance_scale: Annotated[float | None, typer.Option(help="As in draw.")] = None,
    num_inference_steps: Annotated[int | None, typer.Option(min=1, help="As in draw.")] = None,
    dtype: Annotated[str | None, typer.Option(help="As in draw.")] = None,
    references: Annotated[int | None, typer.Option(min=0, help="As in draw.")] = None,
    smoothing: Annotated[float | None, typer.Option(min=0, help="As in draw.")] = None,
    truncation: Annotated[float | None, typer.Option(help="As in draw.")] = None,
    best_of: Annotated[int, typer.Option(min=1, help="As in draw: so many pictures a caption, of which the nearest to it is measured.")] = 1,
    trust_code: TrustCode = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="In place of a model: a folder with pictures of another system, named as the rows' files (whatever the ending), or 0001.png and on by"
            " the rows of the split."
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            help="In place of a model: a table with sentences of another system, columns file_name and text as 'tonggan label' writes them."
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(help="With --pictures or --captions: a model whose size, phrasings and training split are taken, so that its card compares."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier evaluation in the folder.")] = False,
) -> None:
    """Draw a split, describe it, or give it its sounds, and measure what was made against the ground truth; or repeat what a card says."""
    from tonggan.evaluation.card import Card
    from tonggan.evaluation.folder import check_unused
    from tonggan.evaluation.request import Request, judge

    given = given_options(context)
    if repeat is not None:
        if of_card := [name.replace("_", "-") for name in given if name not in BESIDE_REPEAT]:
            raise UserError(f"--repeat takes {' and '.join(of_card)} from the card: leave that out.")
        _repeat(repeat, out=out, download=download, trust_code=trust_code, overwrite=overwrite)
        return
    if out is not None and not overwrite:
        check_unused(out)
    judged = _judged(given, model, pictures, captions)
    if judged is None or data is None or out is None:
        missing = [name for name, value in (("a model", judged), ("--data", data), ("--out", out)) if value is None]
        raise UserError(f"{' and '.join(missing)} must be given, or a card with --repeat.")
    if captions is not None and "arrow" not in given:
        arrow = "image->text"
    _check_of_arrow(given, arrow)
    if truth not in ("events", "sound"):
        raise UserError(f"--truth '{truth}' is not known. Known: events, sound.")
    wishes: dict[str, object] = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps, "dtype": dtype}
    wishes |= {"references": references, "smoothing": smoothing, "truncation": truncation}
    request = Request(
        model=model or "",
        data=str(data),
        split=split,
        arrow=arrow,
        language=language,
        seed=seed,
        limit=limit,
        settings=given_settings(wishes),
        best_of=best_of,
        features=tuple(features or ()),
        java=tuple(java or ()),
        truth="events" if truth == "events" else "sound",
        tolerance_seconds=tolerance_seconds,
        pictures=str(pictures or ""),
        captions=str(captions or ""),
        like=like or "",
    )
    cards = [Card.load(_card_file(path)) for path in beside or []]
    with _going_on_later(out), progress_bars() as show:
        card = judge(request, out=out, beside=cards, download=download, trust_code=trust_code, progress=show)
    _tell(card, out)


@contextmanager
def _going_on_later(out: Path) -> Iterator[None]:
    """Say how to go on where Ctrl-C stops an evaluation into `out`."""
    from tonggan.evaluation.unfinished import UNFINISHED

    try:
        yield
    except KeyboardInterrupt as error:
        if not (out / UNFINISHED).is_dir():
            raise
        raise UserError(f"stopped. What was made is kept in {out / UNFINISHED}: the same command goes on.") from error


def _check_of_arrow(given: Sequence[str], arrow: str) -> None:
    """Raise `UserError` for an option that was given and means nothing for `arrow`."""
    for name, arrows in OPTIONS_OF_ARROWS.items():
        if name in given and arrow not in arrows:
            raise UserError(f"--{name.replace('_', '-')} is for {' and '.join(arrows)}; {arrow} has no use for it. Leave it out.")


def _judged(given: Sequence[str], model: str | None, pictures: Path | None, captions: Path | None) -> str | Path | None:
    """Return what is judged; raises `UserError` where it is not one thing, and for options that go with the other kind of it."""
    named = [each for each in (model, pictures, captions) if each is not None]
    if len(named) > 1:
        raise UserError("a model, --pictures and --captions name what is judged: give one of them. --like names a model to compare with.")
    if pictures is None and captions is None:
        if "like" in given:
            raise UserError("--like is for --pictures and --captions. Leave it out.")
    elif of_models := [f"--{name.replace('_', '-')}" for name in OF_MODELS if name in given]:
        raise UserError(f"{' and '.join(of_models)} say how a model makes its outputs; those of another system are made. Leave that out.")
    return named[0] if named else None


def _repeat(path: Path, *, out: Path | None, download: bool, trust_code: bool, overwrite: bool) -> None:
    from tonggan.evaluation.card import Card
    from tonggan.evaluation.circumstances import differing, surroundings
    from tonggan.evaluation.folder import check_unused
    from tonggan.evaluation.request import INTERVAL_TOLERANCE, RELATIVE_TOLERANCE, repeat

    file = _card_file(path)
    home = file.resolve().parent
    folder = out or home.with_name(f"{home.name}-repeat")
    if folder.resolve() == home:
        raise UserError(f"{folder} holds the card that is repeated: choose another folder with --out.")
    before = Card.load(file)
    if not overwrite:
        check_unused(folder)
    with _going_on_later(folder), progress_bars() as show:
        card, count, strayed = repeat(before, out=folder, download=download, trust_code=trust_code, progress=show)
    _tell(card, folder)
    for name, (then, now) in differing([before, card], surroundings).items():
        print(f"{name}: {then} then, {now} now")
    for each in strayed:
        was, is_now = ("missing" if value is None else f"{value:.6g}" for value in (each.before, each.now))
        print(f"differs: {each.column}, {each.key}: {was} then, {is_now} now")
    within = f"within {RELATIVE_TOLERANCE:.1%} of the value or {INTERVAL_TOLERANCE:.0%} of its interval"
    print(f"{count - sum(each.before is not None for each in strayed)} of {count} figures repeat {within}")
    if strayed:
        raise typer.Exit(1)


def _tell(card: "Card", folder: Path) -> None:
    """Print the figures with intervals and counts, behind each what it is where nothing is learned (floors and the real thing), and the warnings."""
    for figure in card.figures:
        interval = f" [{figure.low:.4g}, {figure.high:.4g}]" if figure.low is not None and figure.high is not None else ""
        floors = [f"{column.name} {each.value:.4g}" for column in card.columns for each in column.figures if each.key == figure.key]
        beside = f"   ({'; '.join(floors)})" if floors else ""
        print(f"{figure.key}: {figure.value:.4g}{interval} n={figure.samples}{beside}")
    for warning in card.warnings:
        print(f"tonggan: {warning}", file=sys.stderr)
    print(f"card: {folder / 'card.json'}  page: {folder / 'report.html'}")


def _card_file(path: Path) -> Path:
    """Return the card that a file or the folder of an evaluation is."""
    return path / "card.json" if path.is_dir() else path


def compare(
    cards: Annotated[
        list[str],
        typer.Argument(
            help="Cards of two evaluations or more, or their folders; the first is what the others are compared with. Or groups of runs that differ in"
            " training seed: A=CARD,CARD B=CARD,CARD."
        ),
    ],
    form: Annotated[str, typer.Option("--format", help="markdown, csv, latex, or json; all but markdown have the figures alone.")] = "markdown",
    figures: Annotated[str, typer.Option(help="Only these, in this order: names with commas between, such as recall_at_5,kernel_distance.")] = "",
    over_seeds: Annotated[
        bool, typer.Option("--over-seeds", help="Mean and standard deviation over cards whose models differ in training seed alone.")
    ] = False,
) -> None:
    """Print evaluations side by side as a table, with the differences that are real; or means over training seeds."""
    from tonggan.evaluation.card import Card
    from tonggan.evaluation.compare import compare as side_by_side
    from tonggan.evaluation.paired import load_rows
    from tonggan.evaluation.tables import cells_of, cells_of_groups, chosen, groups_by_seed, table

    named = [_group(each) for each in cards]
    files = [file for _, group in named for file in group]
    found = chosen([Card.load(file) for file in files], [name.strip() for name in figures.split(",") if name.strip()])
    models = [card.model.name for card in found]
    names = [name if models.count(name) == 1 else f"{name} ({file.resolve().parent.name})" for name, file in zip(models, files, strict=True)]
    if any(name for name, _ in named):
        groups: dict[str, list[Card]] = {}
        named_of_each = (name for name, members in named for _ in members)
        for name, card, own in zip(named_of_each, found, names, strict=True):
            groups.setdefault(name or own, []).append(card)
        print(table(cells_of_groups(groups), form), end="")
    elif over_seeds:
        print(table(cells_of_groups(groups_by_seed(found)), form), end="")
    elif form == "markdown":
        print(side_by_side(found, names=names, rows=[load_rows(file) for file in files]), end="")
    else:
        print(table(cells_of(found, names), form), end="")


def _group(given: str) -> tuple[str, list[Path]]:
    """Return the name of a group NAME=CARD,CARD and the files of its cards; of a card by itself the name is empty."""
    name, parted, members = given.partition("=")
    if parted and not Path(given).exists():
        files = [_card_file(Path(member)) for member in members.split(",") if member]
        if not files:
            raise UserError(f"{given}: no card is named behind '='. Give {name or 'NAME'}=CARD,CARD, or leave it out.")
        return name, files
    return "", [_card_file(Path(given))]
