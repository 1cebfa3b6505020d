"""The pieces of HTML that a report is put together from. Every text is escaped; nothing is fetched, not even when the page asks for it."""

import base64
import io
from collections.abc import Iterable
from html import escape

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

LARGEST = 128
"""Pixels to which larger pictures are shrunk for the page."""

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
"""Content-Security-Policy: a browser that opens the page refuses to load anything that is not in it."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #dfe1e6; --paper: #fcfcfd; --raised: #fff; --tint: #eef2fb;
  --accent: #3451b2; --good: #18794e; --bad: #b4301f; --warn: #fff7e0; --warn-line: #e8c468; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #a4a8b0; --line: #33373d; --paper: #131519; --raised: #1b1e23; --tint: #20283d;
  --accent: #9eb1ff; --good: #5bc894; --bad: #f08c7d; --warn: #2b2410; --warn-line: #6b5520; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .3rem; }
h2 span, th span.zh { color: var(--soft); font-weight: 400; font-size: .85em; margin-left: .5em; }
p { margin: .2rem 0 .9rem; max-width: 60rem; color: var(--soft); }
p.lead { font-size: 1.05rem; }
.warning { background: var(--warn); border: 1px solid var(--warn-line); border-radius: 8px; padding: .5rem .9rem; margin: .4rem 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--raised); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem .9rem; text-align: right; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; vertical-align: bottom; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: 500; }
tbody th span.zh { display: block; margin: 0; }
td.model, thead th.model { background: var(--tint); }
td b { font-size: 1.1em; font-weight: 650; }
small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; line-height: 1.35; }
thead small { max-width: 15rem; margin-left: auto; }
.arrow { color: var(--accent); font-weight: 600; white-space: nowrap; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(14.5rem, 1fr)); gap: .8rem; }
.pictures.wide { grid-template-columns: repeat(auto-fill, minmax(20.5rem, 1fr)); }
figure { margin: 0; padding: .7rem; background: var(--raised); border: 1px solid var(--line); border-radius: 10px; }
.timelines { display: grid; gap: .8rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: .8rem; }
.chart svg { display: block; width: 100%; height: auto; }
.heard { display: flex; flex-wrap: wrap; gap: .5rem 1rem; margin-top: .4rem; }
.heard audio { height: 2rem; max-width: 100%; }
.timelines img { aspect-ratio: auto; }
figure .row { display: flex; gap: .5rem; }
figure .row div { flex: 1; min-width: 0; }
figure img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 6px; background: #fff; }
figure .row small { text-align: center; }
figcaption { margin-top: .3rem; overflow-wrap: anywhere; line-height: 1.35; }
.rank { font-size: .8rem; color: var(--soft); } .rank.hit { color: var(--good); } .rank.miss { color: var(--bad); }
.groups { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; align-items: start; }
.bar { position: relative; min-width: 8rem; height: .75rem; margin-top: .35rem; border-radius: 4px; background: var(--tint); overflow: hidden; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .groups { grid-template-columns: 1fr; } dl { grid-template-columns: 1fr; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole page; `body` is HTML."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{chr(10).join(body)}\n</body></html>\n'


def heading(text: str, chinese: str, note: str = "") -> str:
    """Return a section's heading with its Chinese name beside, and a sentence below."""
    return f'<h2>{escape(text)}<span lang="zh">{escape(chinese)}</span></h2>' + (f"<p>{escape(note)}</p>" if note else "")


def picture(image: Image.Image, label: str, *, alternative: str, largest: int = LARGEST) -> str:
    """Return a picture inside the page, shrunk to `largest` pixels where it is larger, with a label below."""
    shown = image.convert("RGB")
    shown.thumbnail((largest, largest), Image.Resampling.BICUBIC)
    written = io.BytesIO()
    shown.save(written, format="PNG", optimize=True)
    data = base64.b64encode(written.getvalue()).decode()
    return f'<div><img src="data:image/png;base64,{data}" alt="{escape(alternative)}"><small>{escape(label)}</small></div>'


def sound(waveform: npt.NDArray[np.float32], sample_rate_hz: int, label: str) -> str:
    """Return a player of a sound (samples,) in [-1, 1] inside the page, with a label; FLAC, which every browser of today plays."""
    written = io.BytesIO()
    soundfile.write(written, np.clip(waveform, -1, 1), sample_rate_hz, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(written.getvalue()).decode()
    return f'<div><audio controls preload="metadata" src="data:audio/flac;base64,{data}"></audio><small>{escape(label)}</small></div>'


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    """Return a table that scrolls sideways on small screens; `head` are cells, `rows` rows, both HTML."""
    return f'<div class="scroll"><table><thead><tr>{"".join(head)}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and values (text)."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in pairs)}</dl>"
