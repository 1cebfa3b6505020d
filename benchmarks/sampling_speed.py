"""How fast a model draws: python benchmarks/sampling_speed.py [MODEL] [float32|bfloat16]

End to end (caption to picture), alone on the machine, at batch 1 and 64, for the default settings and for 1, 2 and 4 steps. Prints the median seconds of a
call, pictures a second, and how often the network ran for one picture (a guided step counts as two).
"""

import statistics
import sys
import time

import torch

from tonggan.pipeline import Tonggan

REPEATS = 3


def main() -> None:
    """Measure and print."""
    model = Tonggan.from_pretrained(sys.argv[1] if len(sys.argv) > 1 else "emoji-64")
    model.overrides["dtype"] = sys.argv[2] if len(sys.argv) > 2 else "float32"
    network = model.model.decoders["image"].network
    rows = 0

    def count(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...], __: torch.Tensor) -> None:
        nonlocal rows
        rows += len(arguments[0])

    network.register_forward_hook(count)
    print(
        f"{torch.get_num_threads()} threads; settings {model.settings()}\n| steps | batch | seconds | pictures/s | network runs a picture |\n|---|---|---|---|---|"
    )
    for steps in (None, 4, 2, 1):
        settings = {} if steps is None else {"num_inference_steps": steps}
        for batch in (1, 64):
            captions = [f"red heart number {index}" for index in range(batch)]
            model.generate(captions, to="image", settings=settings)
            rows, seconds = 0, []
            for _ in range(REPEATS):
                began = time.perf_counter()
                model.generate(captions, to="image", settings=settings)
                seconds.append(time.perf_counter() - began)
            median = statistics.median(seconds)
            print(f"| {steps or 'default'} | {batch} | {median:.3f} | {batch / median:.1f} | {rows / batch / REPEATS:g} |")


if __name__ == "__main__":
    main()
