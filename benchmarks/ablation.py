"""With and without, at equal wall-clock: python benchmarks/ablation.py STUDY [--minutes 5]

`arrows`: each arrow alone against both together, with and without alignment, with a variational space (KL). `augmentation` and `augmentation-photographs`:
pictures as they are, changed, and changed with labels that tell the decoder so, on emoji and on 1,000 photographs of Flickr8k. `conditionings`: how what is
seen reaches the sound: at its instant (ours), by attention to features that a contrast of clips and sounds aligns (as Diff-Foley has it, arXiv:2306.17203;
here the contrast is learned beside the sound, not before it), or by both attention and modulation at its instant (as MMAudio, arXiv:2412.15322).
`few` and `few-photographs`: what a discriminator makes of 1,000 pictures that are judged as they are, by ADA or by DiffAugment, with the kernel distance on the way.

Every variant of a study learns from nothing for as many minutes as each other. The parts of pictures and sentences have about a fifth of their recipe's cost,
so that minutes are enough to see them learn; `--whole` takes them as they are. Prints held-out losses (rows of the training split that nobody learns from) and,
on the first rows of a test split: exact labels in greedy sentences, R@5 of pictures by their captions in the shared space, kernel distance and R@5 of what is
drawn (features of EfficientNet-Lite0); of sounds, the figures of `tonggan evaluate`. Alone on the machine, or `--clock processor`; what is through is kept in
`--out`, and the same command goes on with the next.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer
from peers.clock import clock_called
from rich.console import Console

from tonggan.data.augment import LABELS
from tonggan.data.pack import Pack, ensure_pack
from tonggan.discriminators.game import Game
from tonggan.errors import UserError, nearest
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.described import Pictures
from tonggan.evaluation.distances import kernel_distance
from tonggan.evaluation.drawing import Chosen, choose
from tonggan.evaluation.features import FeatureNet
from tonggan.evaluation.gallery import packed_picture
from tonggan.evaluation.retrieval import ground_truth_ranks
from tonggan.evaluation.sentences import Row, figures, retrieval_figures
from tonggan.evaluation.sounds import evaluate_sounds
from tonggan.model import ends
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import load_recipe
from tonggan.training.run import Run

SMALLER = (
    "schedule.batch_size=64",
    "model.encoders.text.layers=2",
    "model.encoders.image={kind: image_transformer, stem: vgg, stem_channels: [32, 64, 128], width: 192, layers: 1, heads: 3}",
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
)
SMALLER_GAME = (
    "model.encoders.text.layers=2",
    "model.decoders.image.channels=24",
    "model.decoders.image.max_channels=160",
    "objectives.adversarial.discriminator={channels: 32, max_channels: 128}",
    "schedule.decay_share=0.0",
    "ema_decay=0.99",
)
FEW = 1000
"""Pictures that are enough to be learned by heart."""
ALWAYS = ("device=cpu", "schedule.epochs=null", "monitor.preview_every=1000000", "monitor.validate_every=1000000")
NEW = ("initial=null", "frozen=[]")
BOTH = "objectives.arrows={text->image: 1.0, image->text: 0.5}"
DRAWS = ("objectives.arrows={text->image: 1.0}", "objectives.align=0")
CHANGES = "{probability: 0.3, flip: %s, shift: 0.04, scale: 0.12, rotate: 8, brightness: 0.06, saturation: 0.2, background: %s}"
SOUND = "model.decoders.audio"
GAMES = (
    "data.path=../shared/data/game_clips",
    "data.frames_per_second=17.5",
    "model.encoders.video.frames_per_second=17.5",
    f"{SOUND}.vocoder=null",  # every one is given its voice by Griffin-Lim: minutes go to what is compared
)
EAR = "model.encoders.audio={kind: audio_transformer, width: 128, layers: 2, heads: 4}"
CONTRAST = ("objectives.align=0.1", "objectives.align_time_shifts=[0.2, 1.0]")
PILOT_STEPS = 6
BATCH = 64
PACKS = Path("runs/packs")


@dataclass(frozen=True)
class Study:
    """What is compared: variants as overrides of a recipe, the test split on which they are judged, and the overrides that make it small."""

    recipe: str
    overrides: tuple[str, ...]
    variants: Mapping[str, tuple[str, ...]]
    split: str = "test_pair"
    smaller: tuple[str, ...] = SMALLER
    tolerance_seconds: float | None = None
    """How far an onset may be off; None where no sounds are made."""
    marks: tuple[float, ...] = ()
    """Shares of the minutes at which what is drawn is looked at, too; that time does not count."""


def _augmentation(recipe: str, split: str, *, overrides: tuple[str, ...] = (), flip: bool, background: str) -> Study:
    changed = f"data.augment={CHANGES % (str(flip).lower(), background)}"
    labels = f"model.decoders.image.augmentation_labels={len(LABELS)}"
    none = "model.decoders.image.augmentation_labels=0"
    variants = {"as they are": ("data.augment=null", none), "changed": (changed, none), "changed, labelled": (changed, labels)}
    return Study(recipe, (*DRAWS, *overrides), variants, split)


def _few(*overrides: str, split: str) -> Study:
    judged = "objectives.adversarial.augment"
    variants = {
        "as they are": (f"{judged}.kind=none",),
        "ADA": (f"{judged}={{kind: ada, target: 0.3, samples: 20000}}",),
        "DiffAugment": (f"{judged}.kind=diffaugment",),
    }
    return Study("emoji-64-gan", overrides, variants, split, smaller=SMALLER_GAME, marks=(0.25, 0.5, 0.75))


STUDIES = {
    "arrows": Study(
        "emoji-64-words",
        (*NEW, "objectives.align=0"),
        {
            "text->image alone": ("objectives.arrows={text->image: 1.0}",),
            "image->text alone": ("objectives.arrows={image->text: 1.0}",),
            "both": (BOTH,),
            "both, aligned": (BOTH, "objectives.align=0.2"),
            "both, aligned, KL": (BOTH, "objectives.align=0.2", "objectives.kl=0.0001", "model.space.variational=true"),
        },
    ),
    "augmentation": _augmentation("emoji-64-words", "test_pair", overrides=NEW, flip=False, background="white"),
    "augmentation-photographs": _augmentation("flickr8k-64", "test", flip=True, background="mirror"),
    "conditionings": Study(
        "foley",
        GAMES,
        {
            "at its instant (ours)": (),
            "attention, contrast (Diff-Foley-like)": (f"{SOUND}.aligned=false", f"{SOUND}.attends=true", EAR, *CONTRAST),
            "attention, modulation (MMAudio-like)": (f"{SOUND}.told_by=modulation", f"{SOUND}.attends=true"),
        },
        split="test",
        smaller=(),
        tolerance_seconds=0.1,
    ),
    "few": _few(f"data.hold_out={1 - FEW / 13_609:.4f}", split="test_pair"),
    "few-photographs": _few("data.path=../shared/data/flickr8k_1k", "data.fit=crop", split="test"),
}
COLUMNS = (
    "samples",
    "minutes",
    "held-out flow",
    "held-out cross-entropy",
    "exact label",
    "R@5 text to picture",
    "kernel distance x10⁻³",
    "R@5 of drawn",
)
SOUND_COLUMNS = ("samples", "minutes", "parameters", "held-out flow", "onset F1", "in time", "kernel distance x10⁻³", "by the embedding x10⁻³")


def main(
    study: str,
    minutes: Annotated[float, typer.Option(min=0.1, help="Wall-clock of each.")] = 5.0,
    limit: Annotated[int, typer.Option(min=2, help="Rows that are judged.")] = 256,
    out: Path = Path("runs/ablation"),
    whole: Annotated[bool, typer.Option("--whole", help="The recipe's own sizes.")] = False,
    clock: Annotated[str, typer.Option(help="wall, or processor (over threads) where other work runs beside.")] = "wall",
    only: Annotated[list[str] | None, typer.Option(help="This variant; may be given several times. Else all of the study.")] = None,
) -> None:
    """Train each variant of a study, print the table."""
    if study not in STUDIES:
        raise UserError(f"no study is called '{study}'.{nearest(study, STUDIES)}")
    console, asked = Console(soft_wrap=True, highlight=False), STUDIES[study]
    for each in only or ():
        if each not in asked.variants:
            raise UserError(f"'{study}' has no variant '{each}'.{nearest(each, asked.variants)}")
    columns: tuple[str, ...] = COLUMNS if asked.tolerance_seconds is None else SOUND_COLUMNS
    columns += tuple(f"kernel distance at {share:.0%}" for share in asked.marks) + (("augmented at the end",) if asked.marks else ())
    console.print(f"| {study} | {' | '.join(columns)} |\n{'|---' * (len(columns) + 1)}|")
    for number, (name, own) in enumerate(asked.variants.items()):
        if only and name not in only:
            continue
        overrides = [*ALWAYS, *asked.overrides, *own, *(() if whole else asked.smaller)]
        question = hashlib.sha256(json.dumps([asked.recipe, overrides, asked.split, limit, clock]).encode()).hexdigest()[:8]
        folder = out / f"{study}-{minutes:g}" / f"{number}-{question}"
        row = folder / "row.md"
        if not row.is_file():
            seen: list[str] = []

            def look(run: Run, seen: list[str] = seen) -> None:
                run.export(run.out / "model")
                seen.append(_look(Tonggan.from_pretrained(run.out, device="cpu"), split=asked.split, limit=limit)[0])

            marks = tuple(60 * minutes * share for share in asked.marks)
            run, took = _trained(asked.recipe, overrides, seconds=60 * minutes, out=folder, now=clock_called(clock), marks=marks, look=look)
            told = [f"{run.learner.samples:,}", f"{took / 60:.1f}"]
            losses, model = run.learner.held_out_loss(run.data.held_out), Tonggan.from_pretrained(run.out, device="cpu")
            if asked.tolerance_seconds is None:
                told += [f"{losses[term]:.4f}" if term in losses else "-" for term in _terms(losses)]
                told += [*_judged(model, split=asked.split, limit=limit), *seen]
                told += [f"{float(cast(Game, run.learner.players[1].module).augment.probability):.2f}"] if asked.marks else []
            else:
                told += [f"{sum(each.numel() for each in model.model.parameters()) / 1e6:.1f} M", f"{losses[_terms(losses)[0]]:.4f}"]
                told += _heard(model, out=folder / "heard", split=asked.split, limit=limit, tolerance_seconds=asked.tolerance_seconds)
            row.write_text(f"| {name} | {' | '.join(told)} |\n", encoding="utf-8")
        console.print(row.read_text(encoding="utf-8"), end="")


def _terms(losses: dict[str, float]) -> tuple[str, str]:
    """Return what the flow and the cross-entropy are called: with the arrow before it where there are several terms."""
    flow = next((name for name in losses if name.endswith("flow")), "flow")
    return flow, next((name for name in losses if name.endswith("cross_entropy")), "cross_entropy")


def _trained(
    recipe_name: str,
    overrides: Sequence[str],
    *,
    seconds: float,
    out: Path,
    now: Callable[[], float],
    marks: Sequence[float] = (),
    look: Callable[[Run], None] = lambda run: None,
) -> tuple[Run, float]:
    """Return the run of a variant, its average exported, and the seconds that it took: the end of its schedule moves to where they end.

    It is looked at after so many seconds as `marks` say, and that time is not counted.
    """
    quiet = Console(quiet=True)
    pilot = Run(load_recipe(recipe_name, overrides=[*overrides, "schedule.samples=1000000"]), out / "pilot", resume=False, console=quiet, cache=PACKS)
    pilot.learner.advance(pilot.data.loader)
    began = now()
    for _ in range(PILOT_STEPS):
        pilot.learner.advance(pilot.data.loader)
    samples = int(PILOT_STEPS * pilot.recipe.schedule.batch_size / (now() - began) * seconds)
    recipe = load_recipe(recipe_name, overrides=[*overrides, f"schedule.samples={samples}", f"schedule.warmup_samples={samples // 20}"])
    shutil.rmtree(out / "run", ignore_errors=True)  # of a sitting that was cut off: equal minutes are minutes in one piece
    run, began = Run(recipe, out / "run", resume=False, console=quiet, cache=PACKS), now()
    learner, batch, due = run.learner, recipe.schedule.batch_size, list(marks)
    while (spent := now() - began) < seconds:
        if learner.samples:
            learner.total_samples = max(learner.samples + batch, round(learner.samples * seconds / spent))
        learner.advance(run.data.loader)
        learner.check_dropped()
        if due and now() - began >= due[0]:
            due, looked = due[1:], now()
            look(run)
            began += now() - looked
    run.export(run.out / "model")
    return run, spent


def _judged(model: Tonggan, *, split: str, limit: int) -> list[str]:
    """Return the figures of the arrows that were trained, a dash for the others."""
    data = model.recipe.data
    pack = ensure_pack(Path(data.path), framing=data.framing, cache=PACKS)
    targets = {ends(arrow)[1] for arrow in model.recipe.objectives.arrows}
    phrasings = data.loader_target_phrasings()
    chosen = choose(pack, split=split, language="en", phrasings=phrasings, seed=0, limit=limit)
    rows = [Row.of(pack.row(sample.index), "en", phrasings) for sample in chosen.samples]
    exact = _exact(model, pack, chosen, rows) if "text" in targets else "-"
    found = {figure.name: figure.value for figure in retrieval_figures(model, Pictures(pack), chosen, rows, batch_size=BATCH)}
    drawn = _look(model, split=split, limit=limit) if "image" in targets else ["-"] * 2
    return [exact, f"{found['text_to_image_at_5']:.1%}", *drawn]


def _look(model: Tonggan, *, split: str, limit: int) -> list[str]:
    """Return kernel distance and R@5 of what is drawn of a split's first captions."""
    data = model.recipe.data
    pack = ensure_pack(Path(data.path), framing=data.framing, cache=PACKS)
    return _drawn(model, pack, choose(pack, split=split, language="en", phrasings=model.phrasings, seed=0, limit=limit))


def _heard(model: Tonggan, *, out: Path, split: str, limit: int, tolerance_seconds: float) -> list[str]:
    data = model.recipe.data
    pack = ensure_pack(Path(data.path), framing=data.framing, cache=PACKS)
    card = evaluate_sounds(model, Asked(pack, split, out, limit=limit), tolerance_seconds=tolerance_seconds)
    f1, in_time = (card.figure(name).value for name in ("onset_f1", "synchrony_accuracy"))
    distances = [figure.value for figure in card.figures if figure.name == "kernel_distance"]
    return [f"{f1:.3f}", f"{in_time:.1%}", *(f"{1000 * distance:.1f}" for distance in distances)]


def _exact(model: Tonggan, pack: Pack, chosen: Chosen, rows: Sequence[Row]) -> str:
    pictures = [packed_picture(pack, sample.index) for sample in chosen.samples]
    parts = (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))
    said = [text for part in parts for text in model.generate(part, to="text", settings={"num_beams": 1})]
    return next((f"{figure.value:.1%}" for figure in figures(said, rows) if figure.name == "exact_label"), "-")


def _drawn(model: Tonggan, pack: Pack, chosen: Chosen) -> list[str]:
    net = FeatureNet.load()
    truths = net.features(pack.pictures[[sample.index for sample in chosen.samples]])
    pictures = []
    for start in range(0, len(chosen.samples), BATCH):
        part = chosen.samples[start : start + BATCH]
        pictures += model.generate([sample.caption for sample in part], to="image", seeds=[sample.seed for sample in part])
    features = net.features(pictures)
    return [f"{1000 * kernel_distance(features, truths).interval.value:.1f}", f"{ground_truth_ranks(features, truths).recall(5).value:.1%}"]


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"ablation: {error}") from error
