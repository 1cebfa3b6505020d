"""What a run was started as, in its run.json: written down once, and held against what a resumed run is asked to be."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tonggan import __version__
from tonggan.data.seen_rows import HELD, Rows, load_rows
from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.training.checkpoint import checkpoint_folders
from tonggan.training.recipe import Recipe, parse_recipe
from tonggan.training.revision import commit

BESIDE: Any = {"monitor": True, "device": True, "data": {"source"}}
"""What of a recipe a resumed run may have otherwise: how it is watched, where it is computed, and what stands on the card."""
CHOOSING = ("best_by", "validation_samples", "evaluate_rows")
"""Settings of the monitor that a resumed run may not change: the best so far was chosen with them."""
MOST_TOLD = 5
"""Settings that are named where a resumed run has others."""
ReadFrom = Sequence[tuple[str, str, str]]
"""All that is learned from: (path, what it is, SHA-256)."""


def record(out: Path, recipe: Recipe, *, dtype: str, before: Mapping[str, Any] | None, read_from: ReadFrom) -> None:
    """Write down in the folder `out` what its run is; `before` is what a model that it began from had seen."""
    with replacing(out / "run.json") as beside:
        facts = {
            "recipe": recipe.model_dump(mode="json"),
            "dtype": dtype,
            "tonggan": __version__,
            "commit": commit(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "before": before,
        } | {name: found for _, name, found in read_from}
        beside.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def check_resumed(asked: Recipe, out: Path) -> None:
    """Raise `UserError` where there is nothing in `out` to go on from, or where it was started by another recipe than is `asked` for now."""
    recorded = out / "run.json"
    if not recorded.is_file() or not checkpoint_folders(out / "checkpoints"):
        raise UserError(f"nothing to resume from in {out}: no checkpoint was written there. Start without --resume.")
    kept = parse_recipe(_recorded(out)["recipe"], where=str(recorded))
    if differing := _differing(kept.model_dump(exclude=BESIDE), asked.model_dump(exclude=BESIDE)):
        told = "; ".join(differing[:MOST_TOLD]) + ("; ..." if len(differing) > MOST_TOLD else "")
        raise UserError(
            f"the recipe differs from the one that {out} was started with ({told}); a resumed run must be the same run. Give the same settings again, "
            f"or begin another run from it: initial={out} and another --out."
        )
    for name in CHOOSING:
        before, now = (getattr(each.monitor, name) for each in (kept, asked))
        if now != before:
            raise UserError(f"monitor.{name} is {now}, but the best of {out} so far was chosen with {before}. Leave it as it was.")


def _recorded(out: Path) -> dict[str, Any]:
    """Return what `record` wrote into `out`; raises `UserError` where it cannot be read."""
    path = out / "run.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or "recipe" not in facts:
            raise ValueError("there is no recipe in it")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): the run cannot go on. Begin another run from it: initial={out} and another --out.") from error
    return facts


def held_before(out: Path) -> Rows:
    """Return the rows that the run in `out` holds out; raises `UserError` for one that an earlier version started, which did not write them down."""
    held = load_rows(out / "assets", name=HELD)
    if held is None:
        raise UserError(
            f"{out} does not say which rows it holds out: an earlier version started it. Begin another run from it: initial={out} and another --out."
        )
    return held


def recorded_before(out: Path, read_from: ReadFrom) -> dict[str, Any] | None:
    """Return what the model that the run in `out` began from had seen; raises `UserError` where the run was started with other data or weights."""
    facts = _recorded(out)
    for path, name, found in read_from:
        if facts.get(name, found) != found:
            what = "weights" if name == "companion" else "code" if name.startswith("plugin ") else "data"
            raise UserError(f"{path} holds other {what} than {out} was started with; a resumed run must be the same run. Start a new one.")
    before: dict[str, Any] | None = facts.get("before")
    return before


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> list[str]:
    """Return what of nested settings is another now, in words."""
    found = list[str]()
    for name in dict.fromkeys([*before, *now]):
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _differing(one, other, f"{where}{name}.")
        elif one != other:
            found.append(f"{where}{name}: {one} then, {other} now")
    return found
