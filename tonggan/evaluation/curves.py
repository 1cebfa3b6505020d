"""Curves of a report: how the model was trained, by its run's journal, and how often the own ground truth is among the nearest k."""

import json
from collections.abc import Mapping
from pathlib import Path

from tonggan.evaluation.chart import Line, chart
from tonggan.evaluation.page import heading
from tonggan.evaluation.retrieval import Ranks

MOST = 100
"""Nearest ground truths up to which the curve of retrieval goes."""


def journal_of(model: str) -> Path | None:
    """Return the journal of the run that a model named by a folder belongs to (the run itself or its folder `model`), or None."""
    folder = Path(model)
    return next((path for path in (folder / "journal.jsonl", folder.parent / "journal.jsonl") if folder.is_dir() and path.is_file()), None)


def training_sections(journal: Path | None) -> list[str]:
    """Return the curves of loss, held out and in training, and of what was evaluated on the way; nothing without a journal."""
    if journal is None:
        return []
    events = _events(journal)
    losses = {name: _line(events, kind, "loss") for name, kind in (("held out", "held_out"), ("training", "train"))}
    drawn = [chart(losses, across="step", up="loss")]
    names = sorted({name for event in events if event["kind"] == "evaluate" for name in event} - {"step", "kind"})
    drawn += [chart({name: _line(events, "evaluate", name)}, across="step", up=name) for name in names]
    found = [each for each in drawn if each]
    note = "From the journal of the run; the first tenth of the training losses is left out."
    return [heading("Training", "训练曲线", note), f'<div class="charts">{"".join(found)}</div>'] if found else []


def retrieval_sections(ranks: Mapping[str, Ranks]) -> list[str]:
    """Return R@k over k of the own ground truth, of the model and of what stands beside it."""
    gallery = min(each.gallery for each in ranks.values())
    most = min(MOST, gallery)
    lines: dict[str, Line] = {name: [(k, 100 * float(each.hits(k).mean())) for k in range(1, most + 1)] for name, each in ranks.items()}
    lines["chance"] = [(k, 100 * k / gallery) for k in range(1, most + 1)]
    note = "Share of drawn pictures whose own ground truth is among the nearest k."
    return [heading("Retrieval", "检索曲线", note), f'<div class="charts">{chart(lines, across="k", up="R@k, %")}</div>']


def _events(journal: Path) -> list[dict]:
    found = []
    for line in journal.read_text(encoding="utf-8").split("\n"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and {"step", "kind"} <= set(event):
            found.append(event)
    return found


def _line(events: list[dict], kind: str, name: str) -> Line:
    line = [(event["step"], event[name]) for event in events if event["kind"] == kind and isinstance(event.get(name), (int, float))]
    # The first steps are so much worse that nothing else would be seen.
    return line[len(line) // 10 :] if kind == "train" else line
