"""The command `tonggan`: verbs, thin. Heavy imports happen inside the verbs, so that `--help` answers at once."""

import json
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from tonggan import __version__
from tonggan.cli_data import data_app
from tonggan.cli_describe import alt_text, describe, index, label, search
from tonggan.cli_evaluate import compare, evaluate
from tonggan.cli_options import TrustCode
from tonggan.cli_votes import arena, votes_app
from tonggan.errors import UserError
from tonggan.progress import counted, progress_bars, warn
from tonggan.strict import LARGEST_SEED

if TYPE_CHECKING:
    from tonggan.drawing import Request
    from tonggan.pipeline import Tonggan

DRAWN_BY = {"caption": "a caption", "captions": "--captions", "variations": "--variations"}
"""Option of `draw` that says what is drawn -> what it is called."""
CAPTION_FILES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
"""Endings of files that `--captions` takes."""
NOT_TOGETHER = {
    ("captions", "start"): "--from and --reference go with one caption, not with --captions.",
    ("captions", "reference"): "--from and --reference go with one caption, not with --captions.",
    ("captions", "n"): "--captions draws one picture a row: leave out -n.",
    ("captions", "output"): "-o names the picture of one caption; rows name their own: give their folder with --out.",
    ("variations", "reference"): "--variations looks at its picture alone: leave out --reference.",
}
"""Two options of `draw` that cannot both be followed -> what to say."""
NEEDED = {
    ("strength", "start"): "--strength says how much of a picture is left: give the picture with --from.",
    ("language", "captions"): "--language is of a file's captions; one caption is read as it is written: leave it out.",
    ("sheet", "captions"): "--sheet shows the pictures of a file of captions: give one with --captions, or leave it out.",
    ("out", "captions"): "--out is the folder of --captions: name the picture of one caption with -o.",
}
"""An option of `draw` and the one that it means nothing without -> what to say."""


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
console = Console(markup=False, emoji=False, soft_wrap=True)
"""Prints the names of files and runs as they are: `runs/[red]` is no markup, and a long path is not broken."""


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


def _chosen(wishes: Mapping[str, object]) -> dict[str, object]:
    """Return what was given; for the rest the model's own settings stand."""
    return {name: value for name, value in wishes.items() if value is not None}


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


def _check_drawing(context: typer.Context) -> None:
    """Raise `UserError` for options of `draw` that exclude each other, and for one that means nothing without another."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    named = [said for name, said in DRAWN_BY.items() if name in given]
    if len(named) != 1:
        both = f" Given were {' and '.join(named)}." if named else ""
        raise UserError(f"give one of: a caption, a file with --captions, a picture with --variations.{both}")
    if "caption" in given and str(context.params["caption"]).lower().endswith(CAPTION_FILES):
        raise UserError(f"'{context.params['caption']}' names a file of captions: give it with --captions.")
    for pair, said in NOT_TOGETHER.items():
        if given.issuperset(pair):
            raise UserError(said)
    for (option, needed), said in NEEDED.items():
        if option in given and needed not in given:
            raise UserError(said)
    if "reward" in given and context.params["best_of"] == 1:
        raise UserError("--reward chooses among several: say among how many with --best-of.")


def _draw_rows(model: "Tonggan", captions: Path, out: Path, request: "Request", *, language: str | None, sheet: Path | None) -> None:
    from tonggan.drawing import draw_file

    with progress_bars() as show:
        count = draw_file(model, captions, out, request=request, warn=warn, language=language, sheet=sheet, progress=show)
    console.print(f"{counted(count, 'pictures')} in {out}" + (f", sheet: {sheet}" if sheet else ""))


@app.command()
def draw(
    context: typer.Context,
    caption: Annotated[str | None, typer.Argument(help="What to draw.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG, JPEG or WebP; with -n the number is added.")] = Path("out/picture.png"),
    n: Annotated[int, typer.Option("-n", min=1, help="How many pictures.")] = 1,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=LARGEST_SEED, help="Picture i is drawn from seed + i; by itself or among others it is the same to a grey level of 255."
        ),
    ] = 0,
    model: Annotated[str, typer.Option(help="A model that ships, a model folder, or a run.")] = "emoji-64",
    trust_code: TrustCode = False,
    guidance_scale: Annotated[float | None, typer.Option(help="How closely the caption is followed; 1 is unguided.")] = None,
    num_inference_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the solver.")] = None,
    smoothing: Annotated[
        float | None, typer.Option(min=0, help="Colours that differ by less (black to white is 2) are levelled; 0 for none.")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What the picture is led away from.")] = None,
    start: Annotated[Path | None, typer.Option("--from", help="A picture to start from.")] = None,
    strength: Annotated[float | None, typer.Option(min=0, max=1, help="With --from: 1 leaves nothing of the picture, 0 all.")] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="A picture to be redrawn, seen before those that the model recalls for the caption; can be repeated.")
    ] = None,
    references: Annotated[
        int | None, typer.Option(min=0, help="How many recalled pictures the model looks at; 0 draws from the weights alone.")
    ] = None,
    truncation: Annotated[
        float | None, typer.Option(help="Decoders in one pass: 0 the mean picture of a caption, 1 as varied as the noise (0 to 1).")
    ] = None,
    layer_seeds: Annotated[
        str | None, typer.Option(help="Decoders in one pass: a seed for each of the first layers, - for the picture's own (-,-,-,7).")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, or bfloat16: faster where the processor has it.")] = None,
    best_of: Annotated[int, typer.Option(min=1, help="Draw so many for each picture and keep the best.")] = 1,
    reward: Annotated[
        Path | None, typer.Option(help="With --best-of: a reward head ('votes learn') chooses; without, closeness to the caption does.")
    ] = None,
    as_written: Annotated[
        bool, typer.Option("--as-written", help="No style for a caption that names none, no words for emoji, where the model does that.")
    ] = False,
    variations: Annotated[Path | None, typer.Option(help="A picture: others of what it shows, instead of a caption.")] = None,
    captions: Annotated[
        Path | None,
        typer.Option(help="A table with captions (and names for the pictures), or a .txt with one a line."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="With --captions: the captions in this language, where rows have several (default: English, or what there is).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for --captions.")] = Path("out/pictures"),
    sheet: Annotated[Path | None, typer.Option(help="With --captions: a contact sheet (PNG) of all pictures, too.")] = None,
    metadata: Annotated[
        bool, typer.Option("--metadata/--no-metadata", help="Whether the caption is written into the file; the AI mark always is.")
    ] = True,
) -> None:
    """Draw a caption, or a file of captions."""
    _check_drawing(context)
    from tonggan.drawing import Request, draw_one, parse_layer_seeds
    from tonggan.modalities.image import open_picture
    from tonggan.pipeline import Tonggan

    wishes: dict[str, object] = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps, "dtype": dtype}
    wishes |= {"strength": strength, "references": references, "smoothing": smoothing, "truncation": truncation}
    wishes["layer_seeds"] = None if layer_seeds is None else parse_layer_seeds(layer_seeds)
    beginning = None if start is None else (start.name, open_picture(start))
    shown = tuple((path.name, open_picture(path)) for path in reference or ([variations] if variations else ()))
    request = Request(
        seed=seed,
        settings=_chosen(wishes),
        negative=negative_prompt,
        include_prompt=metadata,
        start=beginning,
        shown=shown,
        best_of=best_of,
        reward=reward,
    )
    loaded = Tonggan.from_pretrained(model, trust_code=trust_code)
    if as_written:
        loaded.completion = None
    if captions is not None:
        return _draw_rows(loaded, captions, out, request, language=language, sheet=sheet)
    if variations is not None:
        caption = loaded.generate(shown[0][1], to="text")[0]
        warn(f"{variations}: {caption}")
    for path in draw_one(loaded, str(caption), output, n=n, request=request, warn=warn):
        print(path)


@app.command()
def sound(
    clip: Annotated[Path | None, typer.Argument(help="A video. Without one, --prompt alone says what is to be heard.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="MP4, MOV, MKV or WebM (pictures copied), WAV or FLAC; with -n the number is added. Default: out/sound, ending as the clip does, or .wav.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many sounds.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Sound i is made from seed + i.")] = 0,
    prompt: Annotated[str | None, typer.Option(help="What is to be heard, in words; for models that take a prompt.")] = None,
    mix: Annotated[float, typer.Option(help="Share of the clip's own sound in what is heard.")] = 0.0,
    keep_original: Annotated[bool, typer.Option("--keep-original", help="Keep the clip's own sound as a further track.")] = False,
    preview: Annotated[Path | None, typer.Option(help="A PNG of key frames over waveform and spectrogram, with the onsets.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A model that ships, a model folder, or a run. Default: foley-fast, of words alone spoken-digits.")
    ] = None,
    trust_code: TrustCode = False,
    guidance_scale: Annotated[
        float | None, typer.Option(help="How closely what is seen is followed, or words without a clip; 1 is unguided.")
    ] = None,
    prompt_guidance_scale: Annotated[
        float | None, typer.Option(help="How closely the prompt beside a clip is followed (default: as closely as what is seen).")
    ] = None,
    num_inference_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the solver.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, or bfloat16: faster where the processor has it.")] = None,
) -> None:
    """Give a silent clip its sound, in time with what is seen; the pictures are copied, not encoded again. Called again after it was stopped, it goes on.

    Without a clip, words become a sound.
    """
    from tonggan.modalities.sound_files import VIDEO_FORMATS
    from tonggan.pipeline import Tonggan
    from tonggan.sound_of_words import sound_words
    from tonggan.sounding import Request, sound_clip

    if clip is None and prompt is None:
        raise UserError("there is nothing to make a sound of: name a clip, or say with --prompt what is to be heard.")
    wishes: dict[str, object] = {"guidance_scale": guidance_scale, "prompt_guidance_scale": prompt_guidance_scale}
    wishes |= {"num_inference_steps": num_inference_steps, "dtype": dtype}
    if prompt is None and prompt_guidance_scale is not None:
        raise UserError("--prompt-guidance-scale says how closely a prompt is followed: give one with --prompt, or leave it out.")
    if clip is None and prompt_guidance_scale is not None:
        raise UserError("--prompt-guidance-scale is for a prompt beside a clip; how closely words alone are followed says --guidance-scale.")
    request = Request(seed=seed, settings=_chosen(wishes), mix=mix, keep_original=keep_original, prompt=prompt)
    loaded = Tonggan.from_pretrained(model or ("spoken-digits" if clip is None else "foley-fast"), trust_code=trust_code)
    if clip is None:
        for path in sound_words(loaded, output or Path("out/sound.wav"), n=n, request=request, warn=warn, preview=preview):
            print(path)
        return
    output = output or Path("out/sound").with_suffix(clip.suffix if clip.suffix.lower() in VIDEO_FORMATS else ".mp4")
    with progress_bars() as show:
        for path in sound_clip(loaded, clip, output, n=n, request=request, warn=warn, preview=preview, progress=show):
            print(path)


@app.command()
def morph(
    first: Annotated[str, typer.Argument(help="The caption, or the file of a picture, at one end.")],
    second: Annotated[str, typer.Argument(help="The caption, or the file of a picture, at the other end.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="GIF, WebP or PNG.")] = Path("out/morph.gif"),
    frames: Annotated[int, typer.Option(min=2, help="Pictures from one end to the other.")] = 24,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="All pictures are drawn from this seed.")] = 0,
    model: Annotated[str, typer.Option(help="A model that ships, a model folder, or a run.")] = "emoji-64",
    trust_code: TrustCode = False,
) -> None:
    """Draw a walk through the shared space from one caption or picture to another, and back, as an animation."""
    from tonggan.drawing import Request, draw_morph
    from tonggan.pipeline import Tonggan

    print(
        draw_morph(Tonggan.from_pretrained(model, trust_code=trust_code), first, second, output, frames=frames, request=Request(seed=seed), warn=warn)
    )


for verb in (describe, label, alt_text, index, search):
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

if __name__ == "__main__":
    main()
