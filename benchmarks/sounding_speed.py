"""How fast clips get their sound, and in how much memory: python benchmarks/sounding_speed.py [CLIP] [--seconds 20 --seconds 600] [--model foley]

CLIP (docs/clip.mp4) is repeated to each length, its packets copied, and `tonggan sound` is called on it in a process of its own, end to end: decoding,
windows, muxing. Prints seconds of the clock and of the processors, seconds of clip a second of the clock and a second of the processors (over the threads: what
it would be alone on the machine, at the most), and the peak of the process's resident memory; the last line is what a further second costs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import av
import torch
import typer
from peers.clock import awake_seconds

from tonggan.errors import UserError
from tonggan.modalities.video import video_facts, video_stream


def repeated(clip: Path, path: Path, *, seconds: float) -> None:
    """Write the pictures of a clip again and again, copied, until they last `seconds` or a little longer."""
    with av.open(path, "w") as target:
        copy, shift, lasted = None, 0, 0.0
        while lasted < seconds:
            with av.open(clip) as source:
                stream = video_stream(source, clip)
                if not stream.duration or not stream.time_base:
                    raise UserError(f"{clip}: it does not say how long it is.")
                copy = copy or target.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = copy
                    target.mux(packet)
                shift += stream.duration
                lasted = float(shift * stream.time_base)


def main(
    clip: Path = Path("docs/clip.mp4"),
    seconds: Annotated[list[float] | None, typer.Option(help="Lengths; can be repeated.")] = None,
    model: str = "foley",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the solver, the model's own unless given.")] = None,
) -> None:
    """Measure and print a table."""
    wishes = [] if steps is None else ["--num-inference-steps", str(steps)]
    found: list[tuple[float, float, float]] = []
    threads = torch.get_num_threads()
    print(f"{threads} threads")
    print("| clip, s | seconds | processor seconds | x real time | x real time by the processors | peak memory, MiB |\n|---|---|---|---|---|---|")
    for length in seconds or [20.0, 600.0]:
        with tempfile.TemporaryDirectory() as folder:
            long, out = Path(folder) / "long.mp4", Path(folder) / "out.mp4"
            repeated(clip, long, seconds=length)
            began = awake_seconds()
            process = subprocess.Popen([sys.executable, "-m", "tonggan", "sound", str(long), "-o", str(out), "--model", model, *wishes])
            _, status, usage = os.wait4(process.pid, 0)
            took = awake_seconds() - began
            if status:
                raise UserError(f"tonggan sound ended with {os.waitstatus_to_exitcode(status)}.")
            real, worked = video_facts(out).seconds, usage.ru_utime + usage.ru_stime
            found.append((real, took, worked / threads))
            shown = f"{took:.1f} | {worked:.1f} | {real / took:.1f} | {real / worked * threads:.1f} | {usage.ru_maxrss / 1024:.0f}"
            print(f"| {real:.0f} | {shown} |", flush=True)
    if len(found) > 1:
        length, *spent = (last - first for first, last in zip(found[0], found[-1], strict=True))
        print(f"each further second of a clip: {length / spent[0]:.1f} x real time, {length / spent[1]:.1f} x by the processors")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"sounding_speed: {error}") from error
