"""From records to a page: the table, the curves by minutes, a plot, and everybody's pictures side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from peers.field import FIELDS
from peers.peer import Arena
from peers.results import STRIP_PICTURES, Record, strip_pictures
from tonggan.errors import UserError
from tonggan.evaluation.drawing import choose
from tonggan.evaluation.kinds import FIGURES
from tonggan.files import replacing
from tonggan.modalities.sheet import contact_sheet

SAME = ("processor", "dtype", "threads", "clock", "content_hash", "budget_minutes")
"""What all competitors of a table have in common."""
LEVELS = (-10, 0, 10, 20, 50, 100, 200, 500, 1000)
"""Where the axis of kernel distances has its ticks."""
SHOWN = ("kernel_distance", "frechet_distance", "recall_at_1", "recall_at_5", "seed_diversity", "copy_rate")


def write_report(results: Path, *, document: Path, arena: Arena, split: str, field: str = "peers") -> None:
    """Put the tables between the markers of `document` (at its end where it has none), plot and sheet beside it; all are named by the field."""
    records = read_records(results, field=field)
    document.parent.mkdir(parents=True, exist_ok=True)
    plot(records, document.parent / f"{field}-curves.png")
    picture_sheet(results, records, arena=arena, split=split).save(document.parent / f"{field}-pictures.png")
    text = document.read_text(encoding="utf-8") if document.is_file() else "# Benchmarks\n"
    with replacing(document) as beside:
        beside.write_text(inserted(text, section(records, split=split, field=field), field=field), encoding="utf-8")


def read_records(results: Path, *, field: str = "peers") -> list[Record]:
    """Return the records of those that are through, in the order of the field; raises `UserError` where there are none."""
    files = [results / entry.name / "result.json" for entry in FIELDS[field]]
    through = [json.loads(path.read_text(encoding="utf-8")) for path in files if path.is_file()]
    if not through:
        raise UserError(f"nothing to report: {results} holds no competitor that is through. Race first.")
    first = through[0]
    for record in through[1:]:
        if differing := [name for name in SAME if _same(record, name) != _same(first, name)]:
            raise UserError(
                f"'{record['name']}' and '{first['name']}' raced under other conditions ({', '.join(differing)}): one table would compare what does not. "
                "Race again what is of the other machine."
            )
    return through


def inserted(text: str, made: str, *, field: str = "peers") -> str:
    """Return `text` with what stands between the field's markers replaced, or with the section at its end."""
    start, end = f"<!-- {field} -->", f"<!-- /{field} -->"
    block = f"{start}\n{made}\n{end}"
    if start not in text or end not in text:
        return f"{text.rstrip()}\n\n{block}\n"
    before, _, rest = text.partition(start)
    return before + block + rest.partition(end)[2]


def section(records: Sequence[Record], *, split: str, field: str = "peers") -> str:
    """Return the Markdown of a race."""
    first = records[0]
    machine, captions = first["machine"], first["captions"]
    threads = f"{first['threads']} thread{'s' if first['threads'] > 1 else ''}"
    clock = "Minutes are wall-clock" if first["clock"] == "wall" else f"Minutes are processor time over {threads}, others side by side"
    equal = "wall-clock" if first["clock"] == "wall" else "processor time"
    lines = [
        f"## Text to picture at equal {equal}{'' if field == 'peers' else f', {field}'} ({first['budget_minutes']:g} minutes)",
        "",
        f"`{_command(first, field)}`, each competitor's own command in `benchmarks/results`; {first['date'][:10]};"
        f" {machine['processor']}, {threads}, {machine['system']};"
        f" torch {first['versions']['torch']}, {first['dtype']}. Same rows, phrasings and pack ({first['content_hash'][:12]}). {clock}; they hold packing, tokenizer,"
        f" text encoding and training; drawing for the marks is not counted. {captions} captions of `{split}`, features of EfficientNet-Lite0 (not FID).",
        "",
        *_table(records),
        "",
        *_curves(records),
        "",
        *_notes(records),
        "",
        f"![kernel distance and R@5 by minutes]({field}-curves.png)",
        "",
        f"The first {STRIP_PICTURES} captions, the first seeds, nothing chosen:",
        "",
        f"![pictures of every competitor]({field}-pictures.png)",
    ]
    return "\n".join(lines)


def _command(record: Record, field: str) -> str:
    """Return the command that races and reports the whole field by the terms of one of its records."""
    clock = "" if record["clock"] == "wall" else f" --clock {record['clock']}"
    return f"python benchmarks/text_to_image_vs_peers.py --field {field} --minutes {record['budget_minutes']:g} --limit {record['curve_captions']}{clock} --report"


def _same(record: Record, name: str) -> Any:
    return record["machine"]["processor"] if name == "processor" else record[name]


def shown(name: str, value: float | None) -> str:
    """Return a figure as cards write it; a dash where there is none."""
    kind = FIGURES[name]
    return "-" if value is None else f"{value * kind.factor:.{kind.digits}f}"


def _table(records: Sequence[Record]) -> list[str]:
    heads = [f"{FIGURES[name].label} {FIGURES[name].unit}".strip() for name in SHOWN]
    lines = [
        f"| | parameters | GFLOP a training sample | samples/s | samples seen | minutes (+ tuning) | pictures/s | {' | '.join(heads)} |",
        "|---|" + "---|" * (6 + len(SHOWN)),
    ]
    for record in records:
        figures = " | ".join(shown(name, record["figures"].get(name, {}).get("value")) for name in SHOWN)
        trained = record["parameters"] > 0
        cells = [
            record["label"],
            f"{record['parameters'] / 1e6:.1f} M" if trained else "-",
            f"{record['gflop_per_sample']:.1f}" if trained and "gflop_per_sample" in record else "-",
            f"{record['samples_per_second']:.1f}" if trained else "-",
            f"{record['samples']:,}" if trained else "-",
            f"{record['minutes']:.1f} (+ {record['tuning_seconds'] / 60:.1f})",
            f"{record['pictures_per_second']:.1f}" if trained and "pictures_per_second" in record else "-",
        ]
        lines.append(f"| {' | '.join(cells)} | {figures} |")
    for name, floor in records[0]["floors"].items():
        values = " | ".join(shown(figure, floor.get(figure)) for figure in SHOWN)
        lines.append(f"| *{name}* | - | - | - | - | - | - | {values} |")
    return lines


def _curves(records: Sequence[Record]) -> list[str]:
    """Return kernel distance and R@5 by minutes; the last point of each is in the last column."""
    marks = sorted({point["minutes"] for record in records for point in record["curve"][:-1]})
    captions = records[0]["curve_captions"]
    lines = [
        f"Kernel distance ×10⁻³ / R@5 % of the first {captions} captions (by chance {500 / captions:.1f} %) by minutes:",
        "",
        f"| | {' | '.join([*(f'{mark:g}' for mark in marks), 'end'])} |",
        "|---|" + "---|" * (len(marks) + 1),
    ]
    for record in records:
        *points, last = record["curve"]
        at = {point["minutes"]: _pair(point) for point in points}
        lines.append(f"| {record['label']} | {' | '.join([*(at.get(mark, '-') for mark in marks), _pair(last)])} |")
    return lines


def _pair(point: Mapping[str, float]) -> str:
    return f"{shown('kernel_distance', point['kernel_distance'])} / {shown('recall_at_5', point['recall_at_5'])}"


def _notes(records: Sequence[Record]) -> list[str]:
    lines = []
    for record in records:
        rates = ", ".join(f"{before:.0f} -> {after:.0f}" for before, after in (sitting["matrix_gflops"] for sitting in record["sittings"]))
        drift = " **drift above 5 %: not a clean measurement**" if any(sitting["drift"] for sitting in record["sittings"]) else ""
        pilots = ", ".join(f"{pilot['learning_rate']:g}: {pilot['measure']} {pilot['value']:.4g}" for pilot in record["pilots"])
        chosen = f"; learning rate {record['learning_rate']:g}" if record["learning_rate"] else ""
        tried = f" (pilots {pilots})" if pilots else ""
        settings = ", ".join(f"{name} {value}" for name, value in record["settings"].items())
        batch = f"; batch {record['batch_size']}" if record["parameters"] else ""
        lines.append(
            f"- {record['label']}: {record['source']}{batch}{chosen}{tried}; {settings or 'no settings'}; matrix product {rates} GFLOP/s.{drift}"
        )
    return lines


def plot(records: Sequence[Record], path: Path) -> None:
    """Plot kernel distance and R@5 against minutes; raises `UserError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("the plot needs `matplotlib`: pip install matplotlib (the extra 'benchmarks')") from error
    minutes = sorted({round(point["minutes"]) or point["minutes"] for record in records if record["parameters"] for point in record["curve"]})
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name in ((left, "kernel_distance"), (right, "recall_at_5")):
        kind = FIGURES[name]
        for number, record in enumerate(records):
            style: dict[str, Any] = {"color": f"C{number}", "label": record["label"]}
            values = [point[name] * kind.factor for point in record["curve"]]
            if record["parameters"]:
                axes.plot([point["minutes"] for point in record["curve"]], values, marker="o", markersize=4, **style)
            else:
                axes.axhline(values[-1], linestyle="--", **style)
        axes.set(xlabel="minutes", title=f"{kind.label} {kind.unit}, {kind.better} is better", xscale="log")
        axes.set_xticks(minutes, [f"{mark:g}" for mark in minutes])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    left.set_yscale("symlog", linthresh=10)
    low, high = left.get_ylim()
    levels = [level for level in LEVELS if low <= level <= high]
    left.set_yticks(levels, [f"{level:g}" for level in levels])
    figure.legend(*right.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def picture_sheet(results: Path, records: Sequence[Record], *, arena: Arena, split: str) -> Image.Image:
    """Return the truths of the first test captions, and a row of pictures for each competitor."""
    count = min(STRIP_PICTURES, *(record["captions"] for record in records))
    samples = choose(arena.pack, split=split, language="en", phrasings=arena.phrasings, seed=0, limit=count).samples
    pictures = [Image.fromarray(arena.pack.pictures[sample.index].transpose(1, 2, 0)) for sample in samples]
    captions = [sample.caption for sample in samples]
    for record in records:
        pictures += strip_pictures(results / record["name"], size=arena.pack.size)[: len(samples)]
        captions += [record["label"], *[""] * (len(samples) - 1)]
    return contact_sheet(pictures, captions, columns=len(samples), cell=112)
