"""Before a long run: does it learn a few samples by heart, and what will it cost here?"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from tonggan.arithmetic import choose_device
from tonggan.data.loader import Batch, Language, Loader, Phrasings, batch_of, chosen_caption
from tonggan.errors import UserError
from tonggan.modalities import Framing, modalities
from tonggan.model import ends
from tonggan.progress import Bars, progress_bars
from tonggan.training.beginning import ENDLESS, begin, companion, seen_before, total_samples, trial
from tonggan.training.choice import Judge, check_best_by
from tonggan.training.loop import Learner, StepReport
from tonggan.training.recipe import Recipe
from tonggan.training.sources import Data, check_there, open_data, open_pack, spread

STEPS_BETWEEN_LOOKS = 50
STEPS_MEASURED = 3
"""Steps after which it is said how long all of them take."""


def overfit(recipe: Recipe, *, count: int, out: Path, cache: Path, console: Console, max_steps: int = 600) -> bool:
    """Train on `count` samples alone until they are known by heart, or `max_steps`.

    Every trained arrow is judged. Writes what was made and the truth beside it into `out`, and returns whether all passed.
    Raises `UserError` for a recipe that follows another model or votes, and for one that trains no arrow.
    """
    if (alone := recipe.objectives.decoder_alone()) is not None:
        raise UserError(f"--overfit: by objectives.{alone} a model does not follow its samples, so it has none to learn by heart. Try --dry-run.")
    if not recipe.objectives.trained():
        raise UserError("--overfit: no arrow is trained, so there is nothing to learn by heart. Give one in objectives.arrows a weight.")
    recipe = _by_heart(recipe, count)
    check_there(recipe)
    begun = begin(recipe)  # as in a run, what is wrong with weights and objectives is said before anything is packed
    pack = open_pack(recipe, cache=cache)
    rows = spread(pack.indices(recipe.data.train_split), count)
    phrasings = _one_of(recipe.data.loader_phrasings())
    said = _one_of(recipe.data.loader_target_phrasings()) or phrasings
    loader = Loader(
        pack,
        rows,
        batch_size=recipe.schedule.batch_size,
        seed=recipe.seed,
        phrasings=phrasings,
        target_phrasings=said,
        windows="first",
        shifts=recipe.objectives.shifts(),
    )
    learner = trial(recipe, begun, loader, beside=None)  # a decoder that is trained alone was refused
    packed = [pack.row(int(row)) for row in rows]
    captions, sentences = ([chosen_caption(row, each, 0) for row in packed] for each in (phrasings, said))
    batch = batch_of(pack, rows, captions, sentences)
    arrows = _judged(recipe, batch)
    console.print(
        f"overfit: {len(rows)} samples, batches of {recipe.schedule.batch_size}, at most {max_steps} steps; {', '.join(arrows)} judged every {STEPS_BETWEEN_LOOKS}"
    )
    if unjudged := [arrow for arrow in recipe.objectives.trained() if arrow not in arrows]:
        console.print(
            f"overfit: {', '.join(unjudged)} is trained and not judged: these samples have nothing to begin it from, or nothing measures what it makes"
        )
    passed = False
    with progress_bars() as bars:
        while learner.step < max_steps and not passed:
            report = _some_steps(learner, loader, max_steps, console, bars)
            looks = [_look(learner, batch, arrow, len(rows), out, recipe.data.framing) for arrow in arrows]
            passed = all(ok for _, ok in looks)
            console.print(f"step {learner.step}: loss {report.losses['loss']:.4f}, " + "; ".join(told for told, _ in looks))
    console.print(f"overfit {'passed' if passed else 'FAILED'}: {len(rows)} samples, {learner.step} steps; look at {out}")
    return passed


def _by_heart(recipe: Recipe, count: int) -> Recipe:
    """Return a recipe as `count` samples are learned by heart: no caption is dropped, no end is in sight, and the average is that of the last few steps."""
    space = recipe.model.space.model_copy(update={"condition_dropout": 0.0})
    schedule = recipe.schedule.model_copy(
        update={"samples": ENDLESS, "epochs": None, "batch_size": max(count, min(32, recipe.schedule.batch_size)), "warmup_samples": 1000}
    )
    return recipe.model_copy(update={"schedule": schedule, "ema_decay": 0.9, "model": recipe.model.model_copy(update={"space": space})})


def _judged(recipe: Recipe, batch: Batch) -> list[str]:
    """Return the trained arrows that can be judged: what they begin from is in the data, and what they make is comparable with the truth.

    Raises `UserError` where there is none.
    """
    found = []
    for arrow in recipe.objectives.trained():
        source, target = ends(arrow)
        if source in batch.inputs and target in batch.targets and modalities()[target].closeness is not None:
            found.append(arrow)
    if not found:
        raise UserError(f"--overfit: of {', '.join(recipe.objectives.trained())} nothing can be judged with this data. Try --dry-run.")
    return found


def _some_steps(learner: Learner, loader: Loader, max_steps: int, console: Console, bars: Bars) -> StepReport:
    """Train until the next look and return the last step's report; at the start say how long all steps take here."""
    began, first = time.perf_counter(), learner.step
    while True:
        report = learner.advance(loader)
        done = learner.step - first
        bars("learning by heart", learner.step, max_steps, f"loss {report.losses['loss']:.4f}")
        if first == 0 and done == STEPS_MEASURED:
            minutes = (time.perf_counter() - began) / done * max_steps / 60
            console.print(f"overfit: at most about {math.ceil(minutes)} min here, and the time of the looks")
        if done == STEPS_BETWEEN_LOOKS or learner.step == max_steps:
            return report


def _look(learner: Learner, batch: Batch, arrow: str, count: int, out: Path, framing: Framing) -> tuple[str, bool]:
    """Write what an arrow makes of the samples, and the truth, into `out`; return how close it is in words, and whether that is close enough."""
    source, target = ends(arrow)
    modality, model = modalities()[target], learner.model
    assert modality.closeness is not None
    settings = {"guidance_scale": 1.0} if "guidance_scale" in model.part(model.decoders, target, "decoder").default_settings() else {}
    with learner.averaged():
        seeds, rows = list(range(count)), batch.indices.tolist()
        made = model.generate(batch.inputs[source], source=source, target=target, seeds=seeds, settings=settings, excluded=rows)
    figure, unit, needed = modality.closeness(made, batch.targets[target])
    if modality.preview is not None:
        modality.preview(made, out / f"{source}-to-{target}-made", framing)
        modality.preview(batch.targets[target], out / f"{source}-to-{target}-truth", framing)
    return f"{arrow} closeness {figure:.1f} {unit} (passes at {needed:.0f})", figure >= needed


def _one_of(phrasings: Phrasings | None) -> Phrasings | None:
    """Return the first phrasing of the first language alone: what is learned by heart has one name."""
    if not phrasings:
        return None
    language, each = next(iter(phrasings.items()))
    return {language: Language(1.0, each.templates[:1])}


def dry_run(recipe: Recipe, *, cache: Path, console: Console, steps: int = 3, judging: Callable[[Recipe, Data], Judge] | None = None) -> None:
    """Print parameters, peak memory and time, as measured by a few steps; raises `UserError` for what a run of the recipe refuses."""
    choose_device(recipe.device)
    check_there(recipe)
    begun = begin(recipe)
    beside = companion(recipe)
    data = open_data(recipe, cache=cache, console=console, seen=seen_before(begun, beside))  # the rows that a run would hold out
    check_best_by(recipe, judging(recipe, data) if judging and recipe.monitor.evaluate_every else None)
    learner = trial(recipe, begun, data.loader, beside=beside)
    learner.advance(data.loader)
    began = time.perf_counter()
    for _ in range(steps):
        learner.advance(data.loader)
    seconds = (time.perf_counter() - began) / steps
    samples = total_samples(recipe, data.count)
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    console.print(f"{parameters / 1e6:.1f} M parameters, peak memory {_peak_memory(learner.device)}, {learner.dtype} on {learner.device}")
    rate = recipe.schedule.batch_size / seconds
    console.print(f"{seconds * 1000 / 60:.1f} min per 1,000 steps ({rate:.1f} samples/s); {samples / rate / 3600:.1f} h for all {samples:,} samples")


def _peak_memory(device: str) -> str:
    """Return the most that was taken so far: of the GPU's memory, or of this process where it is computed by the CPU."""
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the GPU"
    try:
        import resource
    except ImportError:  # Windows
        return "not known here"
    in_bytes = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * in_bytes / 2**30:.1f} GiB"
