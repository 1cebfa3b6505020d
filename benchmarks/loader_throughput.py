"""How many pictures a second come from a pack, on one core: python benchmarks/loader_throughput.py PACK [RECIPE]

Batches of 128 at the pack's size as float32 with captions, alone on the machine; with a recipe its phrasings are used. Prints pictures a second, and the
growth of anonymous memory while a second epoch is read: mapped pages of the pack are not in it, the system takes them back when it needs them.
"""

import sys
import time
from pathlib import Path

import torch

from tonggan.data.loader import Loader
from tonggan.data.pack import Pack
from tonggan.training.recipe import load_recipe

BATCH = 128


def anonymous_mib() -> float:
    """Return the process's anonymous memory in MiB (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) / 1024


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    pack = Pack.open(Path(sys.argv[1]))
    phrasings = load_recipe(sys.argv[2]).data.loader_phrasings() if len(sys.argv) > 2 else None
    loader = Loader(pack, pack.indices("train"), batch_size=BATCH, seed=0, phrasings=phrasings)
    batches = max(100, len(loader.rows) // BATCH)
    for number in range(batches):  # an epoch in which the allocator takes what it needs
        loader.batch(number * BATCH)
    before, began = anonymous_mib(), time.perf_counter()
    for number in range(batches, 2 * batches):
        loader.batch(number * BATCH)
    rate = batches * BATCH / (time.perf_counter() - began)
    print(f"{rate:,.0f} pictures/s at {pack.size}x{pack.size}; anonymous memory grew by {anonymous_mib() - before:.1f} MiB over {batches} batches")


if __name__ == "__main__":
    main()
