"""The verbs that draw: `draw` and `morph`. Heavy imports happen inside, as in `cli`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tonggan.cli_options import Dtype, ModelName, Steps, TrustCode, console, given_options, given_settings
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


AsWritten = Annotated[
    bool, typer.Option("--as-written", help="No style for a caption that names none, no words for emoji, where the model does that.")
]


def _check_drawing(context: typer.Context) -> None:
    """Raise `UserError` for options of `draw` that exclude each other, and for one that means nothing without another."""
    given = set(given_options(context))
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
    if "negative_prompt" in given and not context.params["negative_prompt"].strip():
        raise UserError("--negative-prompt is empty: say what the picture is to be led away from, or leave it out.")
    if "variations" in given and context.params["references"] == 0:
        raise UserError("--variations looks at its picture, and --references 0 at none: give more, or leave it out.")
    if "reward" in given and context.params["best_of"] == 1:
        raise UserError("--reward chooses among several: say among how many with --best-of.")


def _draw_rows(model: "Tonggan", captions: Path, out: Path, request: "Request", *, language: str | None, sheet: Path | None) -> None:
    from tonggan.drawing import draw_file

    with progress_bars() as show:
        count = draw_file(model, captions, out, request=request, warn=warn, language=language, sheet=sheet, progress=show)
    console.print(f"{counted(count, 'pictures')} in {out}" + (f", sheet: {sheet}" if sheet else ""))


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
    model: ModelName = "emoji-64",
    trust_code: TrustCode = False,
    guidance_scale: Annotated[float | None, typer.Option(help="How closely the caption is followed; 1 is unguided.")] = None,
    num_inference_steps: Steps = None,
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
        float | None, typer.Option(help="How far seeds may differ: 0 one picture a caption, 1 as varied as the noise (0 to 1).")
    ] = None,
    layer_seeds: Annotated[
        str | None, typer.Option(help="Decoders in one pass: a seed for each of the first layers, - for the picture's own (-,-,-,7).")
    ] = None,
    dtype: Dtype = None,
    best_of: Annotated[int, typer.Option(min=1, help="Draw so many for each picture and keep the best.")] = 1,
    reward: Annotated[
        Path | None, typer.Option(help="With --best-of: a reward head ('votes learn') chooses; without, closeness to the caption does.")
    ] = None,
    as_written: AsWritten = False,
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
    from tonggan.inputs import is_file
    from tonggan.modalities.image import ENDINGS, open_picture
    from tonggan.pipeline import Tonggan

    if caption is not None and is_file(caption, ENDINGS):
        raise UserError(f"'{caption}' is a picture: give it with --variations, or beside a caption with --from or --reference.")
    wishes: dict[str, object] = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps, "dtype": dtype}
    wishes |= {"strength": strength, "references": references, "smoothing": smoothing, "truncation": truncation}
    wishes["layer_seeds"] = None if layer_seeds is None else parse_layer_seeds(layer_seeds)
    beginning = None if start is None else (start.name, open_picture(start))
    shown = tuple((path.name, open_picture(path)) for path in reference or ([variations] if variations else ()))
    request = Request(
        seed=seed,
        settings=given_settings(wishes),
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
        if "image->text" not in loaded.recipe.objectives.arrows:
            raise UserError(
                f"--variations goes by what the model says of the picture, and {loaded.name} does not describe pictures. Name another model, such as emoji-64."
            )
        caption = loaded.generate(shown[0][1], to="text")[0]
        warn(f"{variations}: {caption}")
    for path in draw_one(loaded, str(caption), output, n=n, request=request, warn=warn):
        print(path)


def morph(
    first: Annotated[str, typer.Argument(help="The caption, or the file of a picture, at one end.")],
    second: Annotated[str, typer.Argument(help="The caption, or the file of a picture, at the other end.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="GIF, WebP or PNG.")] = Path("out/morph.gif"),
    frames: Annotated[int, typer.Option(min=2, help="Pictures from one end to the other.")] = 24,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="All pictures are drawn from this seed.")] = 0,
    model: ModelName = "emoji-64",
    trust_code: TrustCode = False,
    as_written: AsWritten = False,
) -> None:
    """Draw a walk through the shared space from one caption or picture to another, and back, as an animation."""
    from tonggan.drawing import Request, draw_morph
    from tonggan.pipeline import Tonggan

    loaded = Tonggan.from_pretrained(model, trust_code=trust_code)
    if as_written:
        loaded.completion = None
    print(draw_morph(loaded, first, second, output, frames=frames, request=Request(seed=seed), warn=warn))
