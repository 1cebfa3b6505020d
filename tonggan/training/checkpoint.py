"""Checkpoints: a folder a step, with tensors in safetensors and everything else in JSON; whole or not there."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, empty_like
from torch.optim import Optimizer

from tonggan.errors import UserError
from tonggan.files import replacing

STEP = re.compile(r"step-(\d{9})$")


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped."""

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint beside and rename it, then remove all but the newest `keep`."""
    target = folder / f"step-{checkpoint.step:09d}"
    if not target.exists():
        with replacing(target) as beside:
            beside.mkdir(parents=True)
            save_file({name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}, str(beside / "state.safetensors"))
            (beside / "state.json").write_text(json.dumps({"step": checkpoint.step} | dict(checkpoint.facts)), encoding="utf-8")
    for old in checkpoint_folders(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def checkpoint_folders(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*") if STEP.search(path.name)) if folder.is_dir() else []


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read the newest checkpoint; raises `UserError` where there is none or it cannot be read."""
    folders = checkpoint_folders(folder)
    if not folders:
        raise UserError(f"nothing to resume from: {folder} holds no checkpoint. Start without --resume.")
    for left in folder.glob(".step-*.partial"):  # what a killed run was writing
        shutil.rmtree(left, ignore_errors=True)
    newest = folders[-1]
    try:
        facts = json.loads((newest / "state.json").read_text(encoding="utf-8"))
        return Checkpoint(facts.pop("step"), load_file(str(newest / "state.safetensors")), facts)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{newest} cannot be read ({error}). Remove that folder to go on from the one before.") from error


def optimizer_tensors(optimizer: Optimizer, prefix: str) -> dict[str, Tensor]:
    """Return an optimizer's state as flat names -> tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Put back what `optimizer_tensors` returned; state of a parameter's shape gets the parameter's memory format, so that arithmetic repeats bit for bit."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        start = f"{prefix}.{index}."
        for name, value in tensors.items():
            if name.startswith(start):
                fitting = empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.to(parameter.device, copy=True)
                optimizer.state[parameter][name.removeprefix(start)] = fitting.detach()
