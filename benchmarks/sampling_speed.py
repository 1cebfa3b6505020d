"""How fast a model answers: python benchmarks/sampling_speed.py [--model emoji-64] [--arrow "image->text"] [--dtype bfloat16] [--unet]

End to end (caption to picture, or picture to sentence), alone on the machine, at batch 1 and 64: pictures at the default settings and in 4, 2 and 1 steps,
sentences at the default beam and greedy. Prints the median seconds of a call, outputs a second and, for pictures, how often the network ran for one (a
guided step counts as two). `--unet` adds diffusers' small UNet in the same arithmetic at 25 guided steps of DPM-Solver++,
its weights untrained: its speed does not depend on them.
"""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from peers.clock import awake_seconds
from rich.console import Console

from tonggan.data.pack import ensure_pack
from tonggan.errors import UserError
from tonggan.modalities import modalities
from tonggan.model import ends
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import load_recipe

BATCHES = (1, 64)
PACKS = Path("runs/packs")
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "image": {"default": {}, **{f"{steps} steps": {"num_inference_steps": steps} for steps in (4, 2, 1)}},
    "text": {"default": {}, "greedy": {"num_beams": 1}},
}


def main(
    model: str = "emoji-64",
    arrow: str = "text->image",
    dtype: str = "float32",
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    unet: Annotated[bool, typer.Option("--unet", help="Measure diffusers' small UNet, too (needs the pack of emoji-64's data).")] = False,
) -> None:
    """Measure and print."""
    ours = Tonggan.from_pretrained(model, device="cpu")
    source, target = ends(arrow)
    if target not in VARIANTS:
        raise UserError(f"'{arrow}': what is timed here ends in {' or '.join(VARIANTS)}.")
    if target == "image" and "dtype" in ours.settings(target):
        ours.overrides["dtype"] = dtype
    elif dtype != "float32":
        raise UserError(f"{model} makes its {target} in float32 alone. Leave --dtype out.")
    runs = _counted(ours, target)
    print(f"{torch.get_num_threads()} threads; {arrow}; settings {ours.settings(target)}")
    print("| | batch | seconds | a second | network runs for one |\n|---|---|---|---|---|")
    for name, settings in VARIANTS[target].items():
        if not settings.keys() <= ours.settings(target).keys():
            continue  # one pass has no steps
        for batch in BATCHES:
            inputs = _inputs(ours, source, batch)
            ours.generate(inputs, to=target, settings=settings)
            runs[0] = 0
            median = _median(partial(ours.generate, inputs, to=target, settings=settings), repeats)
            print(f"| {name} | {batch} | {median:.3f} | {batch / median:.1f} | {f'{runs[0] / batch / repeats:g}' if runs[0] else '-'} |", flush=True)
    if unet:
        _measure_unet(dtype, repeats)


def _median(call: Callable[[], Any], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        began = awake_seconds()
        call()
        seconds.append(awake_seconds() - began)
    return statistics.median(seconds)


def _counted(model: Tonggan, target: str) -> list[int]:
    """Return a counter of the rows that the decoder's network (of pictures) is run on."""
    rows = [0]

    def count(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...], __: torch.Tensor) -> None:
        rows[0] += len(arguments[0])

    if target == "image":
        decoder = model.model.decoders[target]
        getattr(decoder, "network", decoder).register_forward_hook(count)
    return rows


def _inputs(model: Tonggan, source: str, batch: int) -> list[Any]:
    """Return captions, or pictures of noise (what is seen in them costs the same)."""
    if source == "text":
        return [f"red heart number {index}" for index in range(batch)]
    size = model.framing.size
    noise = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return modalities()[source].to_outputs(noise, model.framing)


def _measure_unet(dtype: str, repeats: int) -> None:
    from peers.diffusion import unet_small
    from text_to_image_vs_peers import make_arena

    recipe = load_recipe("emoji-64")
    pack = ensure_pack(Path(recipe.data.path), framing=recipe.data.framing, cache=PACKS)
    arena = make_arena(recipe, pack, dtype=dtype, budget_seconds=60, smoke=False, console=Console(quiet=True))
    peer = unet_small(arena, Path("runs"), 1e-3, False)
    for batch in BATCHES:
        captions, seeds = [f"red heart number {index}" for index in range(batch)], list(range(batch))
        steps, peer.steps = peer.steps, 1
        peer.draw(captions, seeds)
        peer.steps = steps
        median = _median(partial(peer.draw, captions, seeds), repeats)
        print(f"| diffusers' small UNet, {peer.steps} guided steps | {batch} | {median:.3f} | {batch / median:.2f} | {2 * peer.steps} |", flush=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"sampling_speed: {error}") from error
