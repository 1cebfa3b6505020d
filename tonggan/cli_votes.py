"""The verbs of people's votes: `arena`, and `votes report | export | import`; registered by `cli`. Heavy imports happen inside, as there."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tonggan.cli_options import TrustCode
from tonggan.errors import UserError
from tonggan.progress import progress_bars
from tonggan.strict import LARGEST_SEED

if TYPE_CHECKING:
    from tonggan.feedback.votes import VoteStore

votes_app = typer.Typer(no_args_is_help=True, help="Report, export and import people's votes.")
console = Console(markup=False, emoji=False)

Folder = Annotated[Path, typer.Argument(help="The arena's folder.")]
Votes = Annotated[str | None, typer.Option("--votes", help="Where votes are kept: sqlite:///FILE or postgresql://USER@HOST/NAME.")]
FOLDER = Path("out/arena")


def arena(
    prompts: Annotated[Path, typer.Option(help="A text file with a prompt a line, or a table (JSON lines, CSV) with text or file_name.")],
    models: Annotated[list[str], typer.Option(help="Two models or more, one behind the other: that ship, model folders, or runs.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]", help="The models behind the first of --models.")] = None,
    arrow: Annotated[str, typer.Option(help="What is judged, such as text->image or image->text.")] = "text->image",
    out: Annotated[Path, typer.Option(help="Folder for outputs and votes; the same folder goes on where it stopped.")] = FOLDER,
    votes: Votes = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Prompt i is answered by every model from seed + i.")] = 0,
    on_demand: Annotated[bool, typer.Option("--on-demand", help="Make outputs when a voter comes to them, not beforehand.")] = False,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets phones of the same network in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8000,
    trust_code: TrustCode = False,
) -> None:
    """Serve a page on which people vote, blind, between the outputs of models."""
    from tonggan.pipeline import Tonggan

    with _needing_packages():
        from tonggan.serving.arena import build_app, listen, serve
    from tonggan.serving.contest import Contest, modalities_of
    from tonggan.serving.prompts import read_prompts

    names = [*models, *(more or [])]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError("an arena needs two different models or more: --models A B.")
    asked = read_prompts(prompts, modalities_of(arrow)[0])
    loaded = {name: Tonggan.from_pretrained(name, trust_code=trust_code) for name in names}
    waiting = listen(host, port)  # before outputs are made, which may take long
    store = _new_store(out, votes)
    contest = Contest(loaded, asked, out, store, arrow=arrow, seed=seed)
    if not on_demand:
        with progress_bars() as show:
            made = contest.prepare(show)
        console.print(f"{made} outputs made, {len(contest.entries) - made} were there")
    print(f"vote at http://{host}:{waiting.getsockname()[1]}/ (Ctrl-C ends; votes in {store.engine.url})", flush=True)
    serve(build_app(contest, store), waiting)


@votes_app.command()
def report(
    folder: Folder = FOLDER,
    votes: Votes = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG, SVG or PDF; with several arrows the arrow is added to the name.")] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="Count voters who failed their attention checks, too.")] = False,
) -> None:
    """Print who wins, how surely, whether voters agree, and how many more votes are needed."""
    store = _store(folder, votes)  # says which packages are missing, so it comes first
    from tonggan.feedback.report import check_plot
    from tonggan.feedback.report import plot as draw_plot
    from tonggan.feedback.report import report as read_votes

    if plot is not None:
        check_plot(plot)
    reports = read_votes(store, everyone=everyone)
    if as_json:
        print(json.dumps([each.as_json() for each in reports], indent=1, ensure_ascii=False))
    for each in reports:
        if not as_json:
            each.print(console)
        if plot is not None:
            file = plot if len(reports) == 1 else plot.with_stem(f"{plot.stem}-{each.arrow.replace('->', '-to-')}")
            draw_plot(each, file)
            print(f"plot: {file}", file=sys.stderr)


@votes_app.command()
def export(
    folder: Folder = FOLDER,
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON lines; what is not text is copied into files/ beside.")] = Path(
        "out/preferences/train.jsonl"
    ),
    votes: Votes = None,
) -> None:
    """Write votes as preferences (prompt, chosen, rejected), which Hugging Face's trainers read."""
    store = _store(folder, votes)  # first, as above
    from tonggan.feedback.preferences import export_preferences

    written = export_preferences(store, folder, output)
    without = f"{written.without_preference} votes without a preference"
    print(f"{written.rows} preferences in {output}; left out: {without}, {written.left_out} voters who failed their attention checks")


@votes_app.command()
def learn(
    preferences: Annotated[Path, typer.Argument(help="What 'votes export' wrote.")] = Path("out/preferences/train.jsonl"),
    model: Annotated[str, typer.Option(help="The model whose outputs are to be judged: one that ships, a model folder, or a run.")] = "emoji-64",
    trust_code: TrustCode = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file of the reward head.")] = Path("out/reward.safetensors"),
    arrow: Annotated[str, typer.Option(help="What is judged.")] = "text->image",
) -> None:
    """Learn from preferences a reward head, which chooses the best of several outputs (draw --best-of N --reward FILE)."""
    from tonggan.feedback.reward import learn_reward
    from tonggan.pipeline import Tonggan

    with progress_bars() as show:
        learned = learn_reward(Tonggan.from_pretrained(model, trust_code=trust_code), preferences, output, arrow=arrow, progress=show)
    held = f"{learned.held_out_agreed:.0%} of {learned.held_out} held out" if learned.held_out else "none was held out, for there is one prompt alone"
    print(f"{output}: prefers what people did in {learned.agreed:.0%} of the {learned.preferences} it learned from, {held}")


@votes_app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="JSON lines, CSV or parquet with prompt, chosen, rejected.")],
    folder: Annotated[Path, typer.Option("--out", help="The arena's folder.")] = FOLDER,
    votes: Votes = None,
    arrow: Annotated[str, typer.Option(help="What the outputs are, where the rows do not say it.")] = "text->text",
) -> None:
    """Read preferences (prompt, chosen, rejected) as votes; rows that are known are not read twice."""
    store = _new_store(folder, votes)  # first, as above
    from tonggan.feedback.preferences import import_preferences

    new, known = import_preferences(store, source, folder, arrow=arrow)
    print(f"{new} votes read, {known} were known")


def _store(folder: Path, votes: str | None) -> "VoteStore":
    """Return the store of a folder that has one; raises `UserError` where nobody has voted there."""
    file = folder / "votes.sqlite" if votes is None else Path(votes.removeprefix("sqlite:///")) if votes.startswith("sqlite:///") else None
    if file is not None and not file.is_file():
        raise UserError(f"{folder if votes is None else file} holds no votes. Name the arena's folder, or where votes are kept with --votes.")
    return _new_store(folder, votes)


def _new_store(folder: Path, votes: str | None) -> "VoteStore":
    """Return the store of a folder, made where it is missing."""
    with _needing_packages():
        from tonggan.feedback.votes import VoteStore, store_url
    return VoteStore(store_url(folder, votes))


@contextmanager
def _needing_packages() -> Iterator[None]:
    """Turn a package that is missing into a line that says what to do."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"the arena and its votes need more packages: pip install 'tonggan[arena]' ({error}).") from error
