"""How fast and how large the index of `tonggan search` is: python benchmarks/search_speed.py [COUNT]

COUNT points (a million unless given) of width 320, in 2,000 clumps as pictures of kinds of things are; prints seconds to build, the size of the index file,
the memory that the loaded index takes, the median milliseconds of a query, and how many of the true ten nearest it finds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tonggan.searching import VectorIndex

WIDTH, CLUMPS, QUERIES = 320, 2000, 50


def memory_gib() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def points(count: int, *, seed: int) -> np.ndarray:
    """Return unit vectors in clumps."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(CLUMPS, WIDTH)).astype(np.float32)
    made = centres[generator.integers(CLUMPS, size=count)] + generator.normal(size=(count, WIDTH)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def query(path: Path) -> None:
    """Load an index and print what searching in it takes: in a process of its own, so that its memory is that of the index."""
    before = memory_gib()
    index = VectorIndex.load(path)
    wanted = points(QUERIES, seed=2)
    for each in wanted[:5]:
        index.nearest(each, 10)
    seconds = []
    for each in wanted:
        began = time.perf_counter()
        index.nearest(each, 10)
        seconds.append(time.perf_counter() - began)
    print(f"loaded: {memory_gib() - before:.2f} GiB; query: median {1000 * statistics.median(seconds):.1f} ms, longest {1000 * max(seconds):.1f} ms")


def main() -> None:
    """Build, save, and let another process search."""
    if sys.argv[1:2] == ["--query"]:
        return query(Path(sys.argv[2]))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    vectors = points(count, seed=1)
    began = time.perf_counter()
    index = VectorIndex.build(vectors, np.arange(count))
    print(f"{count:,} points of width {WIDTH}: built in {time.perf_counter() - began:.0f} s")
    wanted = points(QUERIES, seed=2)
    found = 0
    for each in wanted:
        exact = set(np.argpartition(-(vectors @ each), 10)[:10].tolist())
        found += len(exact & {number for number, _ in index.nearest(each, 10)})
    print(f"true ten nearest found: {found / (10 * QUERIES):.1%}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.faiss"
        index.save(path)
        print(f"file: {path.stat().st_size / 2**30:.2f} GiB")
        subprocess.run([sys.executable, __file__, "--query", str(path)], check=True)
    return None


if __name__ == "__main__":
    main()
