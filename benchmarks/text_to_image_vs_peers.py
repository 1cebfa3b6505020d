"""Text to picture, ours against others, at equal wall-clock on one machine: python benchmarks/text_to_image_vs_peers.py --minutes 30 --out runs/peers --report

Every competitor gets the same pack, rows, phrasings, threads and minutes (packing, tokenizer, text encoding and all pre-training included), one after another,
alone on the machine, or (`--clock processor`, OMP_NUM_THREADS=1) side by side by processor time; see `peers/field.py` for who takes part in which race.
At fixed minutes its averaged weights draw the first test captions, at the end all
of them, and the package's evaluation measures them; that time does not count. Peers that have a learning rate to choose get pilots, told apart from the budget.

Who is through is kept in benchmarks/results and need not race again. Ctrl-C stops after a checkpoint; the same command goes on. `--session-minutes` spreads a
long budget over several sittings. Needs the extras 'benchmarks' and 'dev'.
"""

import fcntl
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from peers.clock import choose_clock, spent_seconds
from peers.contest import Wishes, contest
from peers.diffusion import load_diffusers
from peers.field import FIELDS
from peers.judging import Judge
from peers.peer import Arena, Entry
from peers.race import Course, stop_on_signals
from peers.results import keep, kept_record
from rich.console import Console

from tonggan.arithmetic import choose_dtype
from tonggan.data.loader import hold_out
from tonggan.data.pack import Pack, ensure_pack
from tonggan.errors import UserError, nearest
from tonggan.evaluation.features import FeatureNet
from tonggan.files import replacing
from tonggan.training.recipe import Recipe, load_recipe

MARKS_MINUTES = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 240.0)
LOCK = Path(tempfile.gettempdir()) / "tonggan-benchmark.lock"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def race(
    minutes: Annotated[float, typer.Option(min=0.01, help="Wall-clock that each competitor has.")] = 30,
    field: Annotated[str, typer.Option(help="Who races: peers, or adversarial.")] = "peers",
    out: Annotated[Path, typer.Option(help="Folder of the race.")] = Path("runs/peers"),
    results: Annotated[
        Path | None,
        typer.Option(help="What is kept, a competitor a folder (default: benchmarks/results/MINUTES, the clock behind it; all fields share it)."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these competitors.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data set or pack (default: the recipe's).")] = None,
    split: Annotated[str, typer.Option(help="Captions that are drawn.")] = "test_pair",
    limit: Annotated[int, typer.Option(min=2, help="Captions drawn at a mark.")] = 256,
    final_limit: Annotated[int | None, typer.Option(min=2, help="Captions drawn at the end (default: all).")] = None,
    pilot_minutes: Annotated[float, typer.Option(min=0, help="Minutes for each of three learning rates; 0 takes the usual one.")] = 3,
    session_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Stop each competitor after so many minutes; the same command goes on.")
    ] = None,
    clock: Annotated[
        str, typer.Option(help="wall, or processor (over threads): with OMP_NUM_THREADS=1 as many may race side by side as there are cores.")
    ] = "wall",
    race: Annotated[bool, typer.Option(help="With --no-race nobody races: for the report alone.")] = True,
    report: Annotated[bool, typer.Option("--report", help="Write table, curves and sheet of what there is.")] = False,
    document: Annotated[Path, typer.Option(help="Page that holds the table, between two markers.")] = Path("docs/benchmarks.md"),
    smoke: Annotated[bool, typer.Option("--smoke", help="Networks of a toy's size, to try the race itself.")] = False,
) -> None:
    """Race text-to-picture models at equal wall-clock."""
    console = Console(soft_wrap=True, highlight=False)
    choose_clock(clock)
    chosen = [entry for entry in _entries(field, only) if race]
    kept = results or Path(__file__).parent / "results" / f"{minutes:g}{'' if clock == 'wall' else f'-{clock}'}"
    command = "python " + shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    with _machine(alone=clock == "wall"), stop_on_signals() as asked_to_stop:
        arena, preparation = _arena(data, out, minutes=minutes, clock=clock, smoke=smoke, console=console)
        judge = Judge(arena, FeatureNet.load(), split, limit, final_limit, out / "features", tuning_samples=8 if smoke else 128)
        marks = tuple(mark for mark in MARKS_MINUTES if mark < minutes)
        course = Course(minutes * 60, marks, None if session_minutes is None else session_minutes * 60)
        wishes = Wishes(course, pilot_minutes, preparation["pack_seconds"], command, clock, matrix_repeats=2 if smoke else 12)
        for entry in chosen:
            if kept_record(kept / entry.name, content_hash=arena.pack.content_hash, minutes=minutes):
                console.print(f"{entry.name}: through already, in {kept / entry.name}.")
            elif contest(entry, arena=arena, judge=judge, out=out, wishes=wishes, asked_to_stop=asked_to_stop):
                keep(out / entry.name, kept / entry.name, size=arena.pack.size)
            if asked_to_stop():
                raise UserError(f"stopped; checkpoints are in {out}. The same command goes on.")
    if report:
        from peers.report import write_report

        write_report(kept, document=document, arena=arena, split=split, field=field)
        console.print(f"table, curves and sheet: {document}")


def _entries(field: str, only: list[str] | None) -> list[Entry]:
    if field not in FIELDS:
        raise UserError(f"no race is called '{field}'.{nearest(field, FIELDS)}")
    known = {entry.name: entry for entry in FIELDS[field]}
    for name in only or []:
        if name not in known:
            raise UserError(f"no competitor is called '{name}'.{nearest(name, known)}")
    chosen = [entry for entry in known.values() if not only or entry.name in only]
    if any("diffusers" in entry.label for entry in chosen):
        load_diffusers()
    return chosen


@contextmanager
def _machine(*, alone: bool) -> Iterator[None]:
    """Hold the machine's benchmark lock: two benchmarks at once measure each other, unless both count processor time."""
    with open(LOCK, "w") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another benchmark runs on this machine ({LOCK} is held). Wait for it: two at once measure each other.") from error
        yield


def _arena(data: Path | None, out: Path, *, minutes: float, clock: str, smoke: bool, console: Console) -> tuple[Arena, dict[str, Any]]:
    """Open or make the pack (timed: it counts against every budget), choose the arithmetic, and fix both for all sittings of this folder."""
    recipe = load_recipe("emoji-64", smoke=smoke)
    source = data or Path(recipe.data.path)
    began = spent_seconds()
    pack = ensure_pack(source, framing=recipe.data.framing, cache=out / "packs")
    kept = out / "preparation.json"
    fresh = {"minutes": minutes, "clock": clock, "smoke": smoke, "content_hash": pack.content_hash}
    if kept.is_file():
        preparation = json.loads(kept.read_text(encoding="utf-8"))
        differing = [name for name, value in fresh.items() if preparation.get(name) != value]
        if differing:
            raise UserError(f"{out} holds a race with other {' and '.join(differing)}. Choose another --out, or remove it.")
    else:
        preparation = fresh | {"pack_seconds": spent_seconds() - began}
        choice = choose_dtype()
        preparation |= {"dtype": choice.dtype, "dtype_reason": choice.reason}
        with replacing(kept) as beside:
            beside.write_text(json.dumps(preparation, indent=1) + "\n", encoding="utf-8")
    console.print(f"{preparation['dtype']}: {preparation['dtype_reason']}; packing took {preparation['pack_seconds']:.1f} s")
    return make_arena(recipe, pack, dtype=preparation["dtype"], budget_seconds=minutes * 60, smoke=smoke, console=console), preparation


def make_arena(recipe: Recipe, pack: Pack, *, dtype: str, budget_seconds: float, smoke: bool, console: Console) -> Arena:
    """Return what all competitors share: the rows that `recipe` would train on and hold out, from `pack`."""
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": str(pack.path)})})
    rows = pack.indices(recipe.data.train_split)
    held = hold_out(pack.digests(rows), share=recipe.data.hold_out, seed=recipe.data.hold_out_seed)
    return Arena(recipe, pack, rows[~held], rows[held], dtype, budget_seconds, smoke, console)


def main(*defaults: str) -> None:
    """Run the command, with options that those given on the command line go before; a mistake of the user is one line and exit code 2."""
    try:
        app([*defaults, *sys.argv[1:]])
    except UserError as error:
        print(f"text_to_image_vs_peers: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("text_to_image_vs_peers: stopped at once; the same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
