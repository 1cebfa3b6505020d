"""The journal of a run: JSON lines, and the same in TensorBoard where it is installed."""

import json
import math
from pathlib import Path
from typing import Any

from tonggan.files import replacing


class Journal:
    """Appends a line an event; after a resume the lines behind the checkpoint are gone, so that no step stands twice."""

    def __init__(self, folder: Path, *, tensorboard: bool, after_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "journal.jsonl"
        self.last: set[str] = set()
        """Kinds of the lines that the last step has already: a finished run that is resumed says nothing twice."""
        self.last_step = after_step
        if after_step is not None:
            self.last = _keep_until(self.path, after_step)
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (open as long as the run)
        self.board = _board(folder / "tensorboard", after_step) if tensorboard else None

    def write(self, step: int, kind: str, facts: dict[str, Any]) -> None:
        """Append one line: `step`, `kind` (train, held_out, ...) and numbers by name; those that JSON has no form for in quotes (`"nan"`)."""
        if self.wrote(step, kind):
            return
        spelled = {name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()}
        self.file.write(json.dumps({"step": step, "kind": kind} | spelled) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in facts.items():
                if isinstance(value, (int, float)):
                    self.board.add_scalar(f"{kind}/{name}", value, step)

    def wrote(self, step: int, kind: str) -> bool:
        """Return whether the run had a line of this kind at this step when it was resumed."""
        return step == self.last_step and kind in self.last

    def close(self) -> None:
        """Close the files."""
        self.file.close()
        if self.board is not None:
            self.board.close()


def _keep_until(path: Path, step: int) -> set[str]:
    """Drop lines later than `step`, and a last line that was cut; return the kinds of the lines of `step` itself."""
    if not path.is_file():
        return set()
    kept, last = list[str](), set[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            facts = json.loads(line)
        except ValueError:
            continue
        if facts["step"] <= step:
            kept.append(line + "\n")
        if facts["step"] == step:
            last.add(facts["kind"])
    with replacing(path) as beside:
        beside.write_text("".join(kept), encoding="utf-8")
    return last


def _board(folder: Path, after_step: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=None if after_step is None else after_step + 1)
