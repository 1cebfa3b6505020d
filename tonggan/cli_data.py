"""The verbs of data sets: `data check | pack | synth | fetch`; registered by `cli`. Heavy imports happen inside, as there."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tonggan.errors import UserError
from tonggan.progress import counted, progress_bars
from tonggan.strict import LARGEST_SEED

data_app = typer.Typer(no_args_is_help=True, help="Check, pack and make data sets.")
synth_app = typer.Typer(no_args_is_help=True, help="Make data sets by code: any amount, nothing to download.")
data_app.add_typer(synth_app, name="synth")
fetch_app = typer.Typer(no_args_is_help=True, help="Build data sets from what others publish.")
data_app.add_typer(fetch_app, name="fetch")
console = Console(markup=False, emoji=False)
"""Prints the names of files and splits as they are: `heart[red].png` is no markup."""


@data_app.command()
def check(path: Path, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Look through a data set: counts, languages, broken pictures; exit code 1 where there are errors."""
    from tonggan.data.check import check as look_through

    with progress_bars() as show:
        report = look_through(path, progress=show)
    if as_json:
        print(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    else:
        report.print(console)
    raise typer.Exit(1 if report.has_errors else 0)


@data_app.command()
def pack(
    path: Path,
    out: Annotated[Path, typer.Option(help="The new folder.")],
    size: Annotated[int, typer.Option(min=8, help="Pixels a side.")] = 64,
    fit: Annotated[str, typer.Option(help="crop or pad.")] = "crop",
    frames_per_second: Annotated[float, typer.Option(min=1, help="Of clips.")] = 25.0,
    sample_rate_hz: Annotated[int, typer.Option(min=8000, help="Of clips and sounds.")] = 16_000,
    max_broken_rate: Annotated[float, typer.Option(help="Share of unreadable files above which the pack is refused.")] = 0.01,
) -> None:
    """Pack a data set: pictures, clips or sounds decoded once, memory-mapped."""
    from tonggan.data.pack import pack as make
    from tonggan.modalities import Framing

    if fit not in ("crop", "pad"):
        raise UserError(f"--fit '{fit}' is not known. Known: crop, pad.")
    with progress_bars() as show:
        framing = Framing(size, "pad" if fit == "pad" else "crop", frames_per_second, sample_rate_hz)
        made = make(path, framing=framing, out=out, max_broken_rate=max_broken_rate, progress=show)
    facts = made.facts
    console.print(f"recognised: {facts['description']}", soft_wrap=True)
    for note in facts["notes"]:
        console.print(note, soft_wrap=True)
    splits = ", ".join(f"{name} {count:,}" for name, count in facts["splits"].items())
    console.print(
        f"{counted(len(made), 'rows')} ({splits}); {facts['uncaptioned']} without caption; {len(facts['skipped'])} unreadable; in {out}",
        soft_wrap=True,
    )
    for name, reason in facts["skipped"].items():
        console.print(f"skipped {name}: {reason}", soft_wrap=True)


@synth_app.command()
def foley(
    out: Annotated[Path, typer.Option(help="The new folder.")],
    clips: Annotated[int, typer.Option(help="How many clips.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Clip i is a function of (seed, i).")] = 0,
) -> None:
    """Make clips of things that fall, bounce, slide and shatter, with sound and the exact second of everything that is heard."""
    from tonggan.data.synthesis.foley import make_foley

    with progress_bars() as show:
        make_foley(out, clips=clips, seed=seed, progress=show)
    console.print(f"{counted(clips, 'clips')} in {out}", soft_wrap=True)


@fetch_app.command()
def emoji(
    out: Annotated[Path, typer.Option(help="The new folder.")],
    packages: Annotated[Path | None, typer.Option(help="Folder that has the packages, or keeps them (28 MB) for the next time.")] = None,
) -> None:
    """Build the drawings of emoji-64: 14,930 in six styles, named in six languages, from seven packages that npm fetches."""
    from tonggan.data.published.emoji import make_emoji

    with progress_bars() as show:
        count = make_emoji(out, packages=packages, progress=show)
    console.print(f"{count:,} drawings in {out}; origin and licences in {out / 'SOURCE.txt'}", soft_wrap=True)
