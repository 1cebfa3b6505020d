"""Which sampling settings draw best: python benchmarks/sampling_settings.py MODEL [--captions 256] [--setting guidance_scale=1,2] [--setting best_of=1,4]

Draws captions of rows that were held out of training (never a test split) under every combination of the settings, and prints for each the network
evaluations a picture, the kernel distance and R@1/R@5 on EfficientNet-Lite0 features against the held-out drawings, and pictures a second.
"""

import itertools
import time
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import PIL.Image
import typer
import yaml
from rich.console import Console
from torch import nn

from tonggan.data.loader import first_caption, hold_out
from tonggan.data.pack import ensure_pack
from tonggan.evaluation.distances import kernel_distance
from tonggan.evaluation.drawing import BestOf
from tonggan.evaluation.features import FeatureNet
from tonggan.evaluation.retrieval import ground_truth_ranks
from tonggan.pipeline import Tonggan

BATCH = 64


def main(
    model: str,
    captions: Annotated[int, typer.Option(min=2)] = 256,
    setting: Annotated[list[str] | None, typer.Option(help="name=value,value,... of the decoder; best_of=1,4 keeps the best of so many.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of packs.")] = Path("runs/packs"),
) -> None:
    """Draw under every combination and print a table."""
    console = Console(soft_wrap=True, highlight=False)
    loaded, net = Tonggan.from_pretrained(model, device="cpu"), FeatureNet.load()
    data = loaded.recipe.data
    pack = ensure_pack(Path(data.path), framing=data.framing, cache=cache)
    trained = pack.indices(data.train_split)
    held = trained[hold_out(pack.digests(trained), share=data.hold_out, seed=data.hold_out_seed, seen=loaded.rows)]
    rows = [int(row) for row in np.random.default_rng(0).permutation(held)[:captions]]
    asked = [first_caption(pack.row(row), "en", loaded.phrasings) or "" for row in rows]
    truths = net.features(pack.pictures[rows])
    names, choices = zip(*(_parsed(each) for each in setting or ["num_inference_steps=4,8,12"]), strict=True)
    evaluations = [0]
    network = cast(nn.Module, loaded.model.decoders["image"].network)
    network.register_forward_pre_hook(lambda _, inputs: evaluations.__setitem__(0, evaluations[0] + len(inputs[0])))
    loaded.generate(asked[:BATCH], to="image", settings={"num_inference_steps": 1})  # what is slow the first time is not the first setting's
    console.print(f"{len(rows)} held-out captions\n{'settings':60} evaluations  kernel distance x1000   R@1   R@5  pictures/s")
    for values in itertools.product(*choices):
        chosen: dict[str, Any] = dict(zip(names, values, strict=True))
        best_of = chosen.get("best_of", 1)
        loaded.overrides = {name: value for name, value in chosen.items() if name != "best_of"}
        evaluations[0], began = 0, time.perf_counter()
        drawn: list[PIL.Image.Image] = []
        for start in range(0, len(asked), BATCH):
            part = asked[start : start + BATCH]
            drawer = loaded if best_of == 1 else BestOf(loaded, best_of)
            drawn += drawer.generate(part, to="image", seeds=list(range(start, start + len(part))))
        seconds = time.perf_counter() - began
        features = net.features(drawn)
        ranks = ground_truth_ranks(features, truths)
        told = " ".join(f"{name}={value}" for name, value in chosen.items())
        console.print(
            f"{told:60} {evaluations[0] / len(rows):11.1f} {1000 * kernel_distance(features, truths).interval.value:22.2f} "
            f"{ranks.recall(1).value:6.1%} {ranks.recall(5).value:6.1%} {len(rows) / seconds:10.1f}"
        )


def _parsed(setting: str) -> tuple[str, list[Any]]:
    name, _, values = setting.partition("=")
    return name, yaml.safe_load(f"[{values}]")


if __name__ == "__main__":
    typer.run(main)
