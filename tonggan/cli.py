"""The command `tonggan`: verbs, thin. Heavy imports happen inside the verbs, so that `--help` answers at once."""

import json
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tonggan import __version__
from tonggan.cli_data import data_app
from tonggan.cli_describe import alt_text, describe, index, label, search
from tonggan.cli_draw import draw, morph
from tonggan.cli_evaluate import compare, evaluate
from tonggan.cli_options import console
from tonggan.cli_sound import sound
from tonggan.cli_votes import arena, votes_app
from tonggan.errors import UserError


class _Verbs(TyperGroup):
    """The verbs. Typer's own answer to Ctrl-C is 130 without a word; here a verb that was stopped ends as any other that did not finish."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise UserError("stopped.") from error


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tonggan (通感): train, judge and use your own cross-modal generator.",
)
app.add_typer(data_app, name="data")
app.add_typer(votes_app, name="votes")


def main() -> None:
    """Run the command; a mistake of the user, or Ctrl-C, is one line on stderr and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        app()
    except UserError as error:
        print(f"tonggan: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"tonggan: {error.filename or 'file'}: {error.strerror or error}.", file=sys.stderr)
        sys.exit(2)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    """Tonggan (通感): a text becomes a picture."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that ships, or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes such as schedule.batch_size=64.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/<name>).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, exactly where it stopped.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="The recipe in a form of seconds.")] = False,
    overfit: Annotated[
        int,
        typer.Option(
            help="Learn so many samples alone by heart: a check that passes or fails, and says how long it takes at most; nothing else is trained."
        ),
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print parameters, memory and time per 1,000 steps; train nothing.")] = False,
) -> None:
    """Train a model by a recipe."""
    from tonggan.evaluation.watching import Watch
    from tonggan.training.preflight import dry_run as measure
    from tonggan.training.preflight import overfit as learn_by_heart
    from tonggan.training.recipe import load_recipe
    from tonggan.training.run import Run

    read = load_recipe(recipe, overrides=overrides or [], smoke=smoke)
    folder = out or Path("runs") / read.name
    judging = Watch if read.monitor.evaluate_every else None
    if dry_run:
        measure(read, cache=folder.parent / "packs", console=console, judging=judging)
    elif overfit:
        passed = learn_by_heart(read, count=overfit, out=folder.with_name(folder.name + "-overfit"), cache=folder.parent / "packs", console=console)
        raise typer.Exit(0 if passed else 1)
    else:
        Run(read, folder, resume=resume, console=console, judging=judging).train()


for verb in (draw, sound, morph, describe, label, alt_text, index, search):
    app.command()(verb)


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A picture, a sound or a video.")]) -> None:
    """Print what a file says of its making."""
    from tonggan.modalities.inspecting import inspect_file

    print(json.dumps(inspect_file(file), indent=1, ensure_ascii=False, default=str))


app.command()(evaluate)
app.command()(compare)


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="One of them, or a YAML file, to be printed as it is: the start of a recipe of your own.")
    ] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Print it with all that it has of its base, and with every default.")] = False,
) -> None:
    """List the recipes that ship, with their heads, or print one."""
    from tonggan.training.recipe import find_recipe, recipe_files, recipe_head, resolved_yaml

    if resolved and name is None:
        raise UserError("--resolved prints one recipe: name it.")
    if name is not None and resolved:
        print(resolved_yaml(name), end="")
        return
    if name is not None:
        print(find_recipe(name).read_text(encoding="utf-8"), end="")
        return
    for name, path in recipe_files().items():
        print(f"{name}\n" + "\n".join(f"    {line}" for line in recipe_head(path).splitlines()) + "\n")


@app.command()
def doctor() -> None:
    """Print what is installed, and the arithmetic that this machine is fast and right in."""
    from tonggan.doctor import diagnose

    facts = diagnose()
    for name, value in facts.items():
        print(f"{name:<{max(map(len, facts)) + 2}}{value}")


app.command()(arena)
