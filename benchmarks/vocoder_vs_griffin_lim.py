"""A model's vocoder against Griffin-Lim: python benchmarks/vocoder_vs_griffin_lim.py DATA [--model foley] [--clips 40] [--clock processor]

True sounds of a split become log-mel spectrograms and sounds again, by both, in one run: log-mel distance and multi-resolution STFT loss to the true sound,
and seconds of sound a second (the best of three passes, one clip at a time). Griffin-Lim starts from the same spectrogram, in 32 iterations. The vocoder is
measured alone and as it is used, its sound brought nearer to the spectrogram (`corrections`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from peers.clock import clock_called

from tonggan.data.loader import batch_of
from tonggan.data.pack import ensure_pack
from tonggan.decoders.audio_flow import AudioFlow
from tonggan.decoders.vocoder import corrected, griffin_lim, spectral_distance
from tonggan.errors import UserError
from tonggan.modalities.spectrogram import log_mel
from tonggan.pipeline import Tonggan

ITERATIONS = 32
PASSES = 3


@torch.no_grad()
def main(
    data: Path,
    model: str = "foley",
    clips: Annotated[int, typer.Option(min=1)] = 40,
    split: str = "test",
    clock: Annotated[str, typer.Option(help="wall, or processor (over the threads) where the machine has other work.")] = "wall",
    cache: Path = Path("runs/packs"),
) -> None:
    """Measure and print a table."""
    ours = Tonggan.from_pretrained(model, device="cpu")
    decoder = ours.model.decoders["audio"]
    if not isinstance(decoder, AudioFlow) or decoder.vocoder is None:
        raise UserError(f"{model} has no vocoder of its own.")
    mel, vocoder = decoder.config.mel, decoder.vocoder
    pack = ensure_pack(data, framing=ours.framing, cache=cache)
    rows = pack.indices(split)[:clips]
    truth = batch_of(pack, rows, [""] * len(rows), places=np.full(len(rows), 0.5)).inputs["audio"]
    levels = log_mel(truth, mel)
    seconds = truth.numel() / mel.sample_rate_hz
    print(f"{torch.get_num_threads()} threads; {len(rows)} clips of '{split}', {seconds:.0f} s of sound; {model} {ours.weights_hash[:10]}")
    print(f"| | log-mel distance | multi-resolution STFT loss | x real time ({clock}) |\n|---|---|---|---|")
    found = {}

    def as_it_is_used(given: torch.Tensor) -> torch.Tensor:
        return corrected(vocoder(given), given, mel, iterations=decoder.config.corrections)

    voices: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "Griffin-Lim": lambda given: griffin_lim(given, mel, iterations=ITERATIONS),
        "vocoder alone": vocoder,
        "vocoder": as_it_is_used,
    }
    for name, voice in voices.items():
        made, took = _voiced(voice, levels, clock_called(clock))
        found[name] = (float((log_mel(made, mel) - levels).abs().mean()), float(spectral_distance(made, truth)), seconds / took)
        print(f"| {name} | {found[name][0]:.3f} | {found[name][1]:.3f} | {found[name][2]:.0f} |")
    ratios = [one / other for one, other in zip(found["vocoder"], found["Griffin-Lim"], strict=True)]
    print(f"| vocoder / Griffin-Lim | {ratios[0]:.2f} | {ratios[1]:.2f} | {ratios[2]:.1f} |")


def _voiced(voice: Callable[[torch.Tensor], torch.Tensor], levels: torch.Tensor, now: Callable[[], float]) -> tuple[torch.Tensor, float]:
    """Return the waveforms of spectrograms, made one at a time, and the seconds of the fastest pass over all."""
    took, made = [], levels
    for _ in range(PASSES):
        began = now()
        made = torch.cat([voice(each[None]) for each in levels])
        took.append(now() - began)
    return made, min(took)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"vocoder_vs_griffin_lim: {error}") from error
