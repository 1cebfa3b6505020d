"""Before a long run: does it learn a few samples by heart, and what will it cost here?"""

import math
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from tonggan.arithmetic import choose_device
from tonggan.data.loader import Language, Loader, Phrasings, batch_of, chosen_caption
from tonggan.errors import UserError
from tonggan.modalities import modalities
from tonggan.model import ends
from tonggan.training.beginning import ENDLESS, total_samples, trial
from tonggan.training.recipe import Recipe
from tonggan.training.sources import open_data, open_pack

STEPS_BETWEEN_LOOKS = 50


def overfit(recipe: Recipe, *, count: int, out: Path, cache: Path, console: Console, max_steps: int = 600) -> bool:
    """Train on `count` samples alone until they are known by heart, or `max_steps`.

    Writes what was made and the truth beside it into `out`, and returns whether it passed. Raises `UserError` for a recipe that follows another model or
    votes, and for one that trains no arrow.
    """
    if (alone := recipe.objectives.decoder_alone()) is not None:
        raise UserError(f"--overfit: by objectives.{alone} a model does not follow its samples, so it has none to learn by heart. Try --dry-run.")
    if not recipe.objectives.trained():
        raise UserError("--overfit: no arrow is trained, so there is nothing to learn by heart. Give one in objectives.arrows a weight.")
    space = recipe.model.space.model_copy(update={"condition_dropout": 0.0})
    schedule = recipe.schedule.model_copy(
        update={"samples": ENDLESS, "epochs": None, "batch_size": max(count, min(32, recipe.schedule.batch_size)), "warmup_samples": 1000}
    )
    recipe = recipe.model_copy(update={"schedule": schedule, "ema_decay": 0.9, "model": recipe.model.model_copy(update={"space": space})})
    pack = open_pack(recipe, cache=cache)
    rows = pack.indices(recipe.data.train_split)
    rows = rows[:: max(1, len(rows) // count)][:count]
    phrasings = _one_of(recipe.data.loader_phrasings())
    said = _one_of(recipe.data.loader_target_phrasings()) or phrasings
    loader = Loader(
        pack,
        rows,
        batch_size=schedule.batch_size,
        seed=recipe.seed,
        phrasings=phrasings,
        target_phrasings=said,
        windows="first",
        shifts=recipe.objectives.shifts(),
    )
    learner = trial(recipe, loader)
    model = learner.model
    packed = [pack.row(int(row)) for row in rows]
    captions, sentences = ([chosen_caption(row, each, 0) for row in packed] for each in (phrasings, said))
    batch = batch_of(pack, rows, captions, sentences)
    source, target = ends(recipe.objectives.trained()[0])
    modality = modalities()[target]
    assert modality.closeness is not None
    settings = {"guidance_scale": 1.0} if "guidance_scale" in model.part(model.decoders, target, "decoder").default_settings() else {}
    passed = False
    began = time.perf_counter()
    while learner.step < max_steps and not passed:
        for _ in range(STEPS_BETWEEN_LOOKS):
            report = learner.advance(loader)
        with learner.averaged():
            made = model.generate(batch.inputs[source], source=source, target=target, seeds=list(range(len(rows))), settings=settings)
        figure, unit, needed = modality.closeness(made, batch.targets[target])
        passed = figure >= needed
        left = (time.perf_counter() - began) / 60 * (max_steps / learner.step - 1)
        longest = "" if passed or not left else f", at most {math.ceil(left)} min more"
        console.print(f"step {learner.step}: loss {report.losses['loss']:.4f}, closeness {figure:.1f} {unit} (passes at {needed:.0f}){longest}")
        if modality.preview is not None:
            modality.preview(made, out / "overfit-made", recipe.data.framing)
            modality.preview(batch.targets[target], out / "overfit-truth", recipe.data.framing)
    console.print(f"overfit {'passed' if passed else 'FAILED'}: {len(rows)} samples, {learner.step} steps; look at {out}")
    return passed


def _one_of(phrasings: Phrasings | None) -> Phrasings | None:
    """Return the first phrasing of the first language alone: what is learned by heart has one name."""
    if not phrasings:
        return None
    language, each = next(iter(phrasings.items()))
    return {language: Language(1.0, each.templates[:1])}


def dry_run(recipe: Recipe, *, cache: Path, console: Console, steps: int = 3) -> None:
    """Print parameters, peak memory and time, as measured by a few steps."""
    choose_device(recipe.device)
    data = open_data(recipe, cache=cache, console=console)
    learner = trial(recipe, data.loader)
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
