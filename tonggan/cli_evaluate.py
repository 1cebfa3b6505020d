"""The verbs `evaluate` and `compare`."""

from pathlib import Path
from typing import Annotated

import typer

from tonggan.errors import UserError
from tonggan.progress import progress_bars


def evaluate(
    model: Annotated[str | None, typer.Argument(help="A model that ships, a model folder, or a run.")] = None,
    data: Annotated[Path | None, typer.Option(help="A data set or a pack.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for card.json, card.md, report.html, rows.jsonl and what was made.")] = None,
    split: Annotated[str, typer.Option(help="Which rows are drawn.")] = "test",
    language: Annotated[str, typer.Option(help="Language of the captions.")] = "en",
    seed: Annotated[int, typer.Option(help="Row i is drawn from seed + i.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Only so many rows.")] = None,
    beside: Annotated[list[Path] | None, typer.Option(help="Cards to show beside this one.")] = None,
    arrow: Annotated[str, typer.Option(help="text->image, image->text, or video->audio.")] = "text->image",
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure by this network, too: inception=FILE (FID, KID, MIND; torch-fidelity's weights), or a CLIP (CMMD, CLIPScore) or DINOv2 of"
            " transformers by folder or id; can be repeated."
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Networks named by --features may be fetched.")] = False,
    java: Annotated[
        list[str] | None, typer.Option(help="image->text: meteor or spice, by Java and pycocoevalcap (the extra 'java'); can be repeated.")
    ] = None,
    repeat: Annotated[
        Path | None, typer.Option(help="A card: evaluate as it says and compare figure by figure; exit code 1 where one does not repeat.")
    ] = None,
    truth: Annotated[str, typer.Option(help="video->audio: the rows' events, or the onsets of the true sound.")] = "sound",
    tolerance_seconds: Annotated[float, typer.Option(help="video->audio: how far an onset may be off.")] = 0.05,
    guidance_scale: Annotated[float | None, typer.Option(help="As in draw.")] = None,
    num_inference_steps: Annotated[int | None, typer.Option(min=1, help="As in draw.")] = None,
    references: Annotated[int | None, typer.Option(min=0, help="As in draw.")] = None,
    smoothing: Annotated[float | None, typer.Option(min=0, help="As in draw.")] = None,
) -> None:
    """Draw a split, describe it, or give it its sound, and measure what was made against the ground truth; or repeat what a card says."""
    from tonggan.evaluation.card import Card
    from tonggan.evaluation.request import Request, judge

    if repeat is not None:
        if model is not None or data is not None:
            raise UserError("--repeat takes model and data from the card: leave them out.")
        _repeat(repeat, out=out, download=download)
        return
    if model is None or data is None or out is None:
        missing = [name for name, value in (("a model", model), ("--data", data), ("--out", out)) if value is None]
        raise UserError(f"{' and '.join(missing)} must be given, or a card with --repeat.")
    if truth not in ("events", "sound"):
        raise UserError(f"--truth '{truth}' is not known. Known: events, sound.")
    wishes = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps, "references": references, "smoothing": smoothing}
    request = Request(
        model=model,
        data=str(data),
        split=split,
        arrow=arrow,
        language=language,
        seed=seed,
        limit=limit,
        settings={name: value for name, value in wishes.items() if value is not None},
        features=tuple(features or ()),
        java=tuple(java or ()),
        truth="events" if truth == "events" else "sound",
        tolerance_seconds=tolerance_seconds,
    )
    cards = [Card.load(path) for path in beside or []]
    with progress_bars() as show:
        card = judge(request, out=out, beside=cards, download=download, progress=show)
    _tell(card, out)


def _repeat(path: Path, *, out: Path | None, download: bool) -> None:
    from tonggan.evaluation.card import Card
    from tonggan.evaluation.request import INTERVAL_TOLERANCE, RELATIVE_TOLERANCE, repeat

    folder = out or path.parent.with_name(f"{path.resolve().parent.name}-repeat")
    with progress_bars() as show:
        card, count, differing = repeat(Card.load(path), out=folder, download=download, progress=show)
    _tell(card, folder)
    for each in differing:
        before, now = ("missing" if value is None else f"{value:.6g}" for value in (each.before, each.now))
        print(f"differs: {each.column}, {each.key}: {before} then, {now} now")
    within = f"within {RELATIVE_TOLERANCE:.1%} of the value or {INTERVAL_TOLERANCE:.0%} of its interval"
    print(f"{count - sum(each.before is not None for each in differing)} of {count} figures repeat {within}")
    if differing:
        raise typer.Exit(1)


def _tell(card: object, folder: Path) -> None:
    from tonggan.evaluation.card import Card

    assert isinstance(card, Card)
    for figure in card.figures:
        print(f"{figure.key}: {figure.value:.4g}")
    print(f"card: {folder / 'card.json'}  page: {folder / 'report.html'}")


def compare(
    cards: Annotated[list[Path], typer.Argument(help="card.json of two evaluations or more; the first is what the others are compared with.")],
) -> None:
    """Print evaluations side by side as a Markdown table, with the differences that are real."""
    from tonggan.evaluation.card import Card
    from tonggan.evaluation.compare import compare as side_by_side
    from tonggan.evaluation.paired import load_rows

    print(side_by_side([Card.load(path) for path in cards], rows=[load_rows(path) for path in cards]), end="")
