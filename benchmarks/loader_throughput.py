"""How many pictures a second come from a pack, on one core: python benchmarks/loader_throughput.py PACK [BATCHES]

Batches of 128 at the pack's size as float32 with captions, alone on the machine. Prints pictures a second, and the growth of memory while reading.
"""

import resource
import sys
import time
from pathlib import Path

import torch

from tonggan.data.loader import Loader
from tonggan.data.pack import Pack


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    pack = Pack.open(Path(sys.argv[1]))
    batches = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    loader = Loader(pack, pack.indices("train"), batch_size=128, seed=0)
    loader.batch(0)
    began = time.perf_counter()
    for number in range(batches):
        loader.batch(number * 128)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{batches * 128 / seconds:,.0f} pictures/s, peak memory {memory:.0f} MiB (of which mapped pages of the pack)")


if __name__ == "__main__":
    main()
