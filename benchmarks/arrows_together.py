"""Arrows alone against arrows together, at equal wall-clock: python benchmarks/arrows_together.py [--minutes 4]

The parts of emoji-64-words at about a fifth of their cost (so that minutes are enough to see them learn; `--whole` takes them as they are), nothing of them
trained before, learn for as many minutes as each other: text->image alone, image->text alone, both, both with
alignment, both with alignment and a variational space. Prints held-out losses (rows of the training split that nobody learns from), exact labels in
greedy sentences and R@5 of pictures by their captions in the shared space, on the first captions of a split. Alone on the machine; what is through is kept in
`--out`, and the same command goes on with the next.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from peers.clock import awake_seconds
from rich.console import Console

from tonggan.data.pack import ensure_pack
from tonggan.errors import UserError
from tonggan.evaluation.drawing import choose
from tonggan.evaluation.gallery import packed_picture
from tonggan.evaluation.sentences import Row, figures, retrieval_figures
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import load_recipe
from tonggan.training.run import Run

BOTH = {"text->image": 1.0, "image->text": 0.5}
VARIANTS: dict[str, dict[str, Any]] = {
    "text->image alone": {"arrows": {"text->image": 1.0}},
    "image->text alone": {"arrows": {"image->text": 1.0}},
    "both": {"arrows": BOTH},
    "both, aligned": {"arrows": BOTH, "align": 0.2},
    "both, aligned, KL": {"arrows": BOTH, "align": 0.2, "kl": 1e-4},
}
SMALLER = [
    "model.encoders.text.layers=2",
    "model.encoders.image.width=192",
    "model.encoders.image.layers=4",
    "model.encoders.image.heads=3",
    "model.encoders.image.stem_channels=[32, 64]",
    "model.decoders.image.width=192",
    "model.decoders.image.heads=3",
    "model.decoders.image.layers=5",
    "model.decoders.image.stem_channels=[32, 64]",
    "model.decoders.image.references=0",
    "model.decoders.image.look_every=0",
    "model.decoders.text.width=192",
    "model.decoders.text.layers=3",
    "model.decoders.text.heads=3",
    "model.decoders.text.vocabulary=4096",
]
PILOT_STEPS = 6
BATCH = 64
PACKS = Path("runs/packs")


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="Wall-clock of each.")] = 4.0,
    split: str = "test_pair",
    limit: Annotated[int, typer.Option(min=2)] = 256,
    out: Path = Path("runs/arrows"),
    whole: Annotated[bool, typer.Option("--whole", help="The recipe's own sizes.")] = False,
) -> None:
    """Train each variant, print the table."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        "| | samples | minutes | held-out flow | held-out cross-entropy | exact label | R@5 text to picture |\n|---|---|---|---|---|---|---|"
    )
    for name, objectives in VARIANTS.items():
        folder = out / f"{minutes:g}{'-whole' * whole}" / name.replace("->", "-to-").replace(", ", "-").replace(" ", "-")
        row = folder / "row.md"
        if not row.is_file():
            run, trained_minutes = _trained(objectives, seconds=60 * minutes, out=folder, sizes=[] if whole else SMALLER)
            losses = run.learner.held_out_loss(run.data.held_out)
            told = [f"{run.learner.samples:,}", f"{trained_minutes:.1f}"]
            told += [f"{losses[term]:.4f}" if term in losses else "-" for term in ("text->image flow", "image->text cross_entropy")]
            told += _judged(Tonggan.from_pretrained(run.out), split=split, limit=limit, sentences="image->text" in objectives["arrows"])
            row.write_text(f"| {name} | {' | '.join(told)} |\n", encoding="utf-8")
        console.print(row.read_text(encoding="utf-8"), end="")


def _trained(objectives: dict[str, Any], *, seconds: float, out: Path, sizes: Sequence[str]) -> tuple[Run, float]:
    """Return the run of a variant, as many samples long as `seconds` last at the rate of its first steps, and the minutes that it took."""
    overrides = [
        "initial=null",
        "frozen=[]",
        "schedule.batch_size=64",
        "monitor.preview_every=1000000",
        "monitor.validate_every=1000000",
        *sizes,
    ]
    recipe = load_recipe("emoji-64-words", overrides=overrides)
    changed: dict[str, Any] = {"objectives": recipe.objectives.model_validate({"distil": None} | objectives)}
    space = recipe.model.space.model_copy(update={"variational": bool(objectives.get("kl"))})
    changed["model"] = recipe.model.model_copy(update={"space": space})
    pilot = Run(recipe.model_copy(update=changed), out / "pilot", resume=False, console=Console(quiet=True), cache=PACKS)
    pilot.learner.advance(pilot.data.loader)
    began = awake_seconds()
    for _ in range(PILOT_STEPS):
        pilot.learner.advance(pilot.data.loader)
    samples = int(PILOT_STEPS * recipe.schedule.batch_size / (awake_seconds() - began) * seconds)
    changed["schedule"] = recipe.schedule.model_copy(update={"samples": samples, "warmup_samples": samples // 20})
    shutil.rmtree(out / "run", ignore_errors=True)  # of a sitting that was cut off: equal minutes are minutes in one piece
    run = Run(recipe.model_copy(update=changed), out / "run", resume=False, console=Console(quiet=True), cache=PACKS)
    began = awake_seconds()
    run.train()
    return run, (awake_seconds() - began) / 60


def _judged(model: Tonggan, *, split: str, limit: int, sentences: bool) -> list[str]:
    """Return the share of exact labels, and R@5 in the shared space."""
    data = model.recipe.data
    pack, phrasings = ensure_pack(Path(data.path), framing=data.framing, cache=PACKS), data.loader_target_phrasings()
    chosen = choose(pack, split=split, language="en", phrasings=phrasings, seed=0, limit=limit)
    rows = [Row.of(pack.row(sample.index), "en", phrasings) for sample in chosen.samples]
    exact = "-"
    if sentences:
        pictures = [packed_picture(pack, sample.index) for sample in chosen.samples]
        parts = (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))
        said = [text for part in parts for text in model.generate(part, to="text", settings={"num_beams": 1})]
        exact = next(f"{figure.value:.1%}" for figure in figures(said, rows) if figure.name == "exact_label")
    found = {figure.name: figure.value for figure in retrieval_figures(model, pack, chosen, rows, batch_size=BATCH)}
    return [exact, f"{found['text_to_image_at_5']:.1%}"]


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"arrows_together: {error}") from error
