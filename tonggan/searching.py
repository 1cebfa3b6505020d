"""Search by words and by pictures: an index on disk over the pooled points of a folder's pictures or of a file's lines, kept current when they change.

The vectors lie in FAISS (Douze et al. 2024, arXiv:2401.08281): in half precision and searched whole up to `WHOLE` of them, above in cells with eight bits a
number, so that a million points of width 320 take 0.35 GiB.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tonggan.describing import files_in
from tonggan.errors import UserError
from tonggan.files import is_named_in_utf8, one_at_a_time, read_text, replacing
from tonggan.modalities.image import open_picture
from tonggan.modalities.text import clean_caption
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

FORMAT = 1
FOLDER = ".tonggan-index"
BATCH = 64
WHOLE = 50_000
PROBED = 48
"""Cells that are searched, of about 4 sqrt(n)."""

Vectors = npt.NDArray[np.float32]
Stamp = tuple[int, int]
"""What changes with a file: modification time in nanoseconds and size in bytes."""


@dataclass(frozen=True)
class Hit:
    """Something found: a file's path or a line, and its cosine with what was sought."""

    name: str
    score: float


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise UserError("searching needs FAISS: pip install faiss-cpu (the extra 'search').") from error
    return faiss


class VectorIndex:
    """Points of unit length by number; the one place that knows FAISS."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Vectors, numbers: npt.NDArray[np.int64]) -> "VectorIndex":
        """Index `vectors` (count, width) under `numbers` (count,)."""
        faiss = _faiss()
        count, width = vectors.shape
        if count <= WHOLE:
            inner = faiss.index_factory(width, "IDMap2,SQfp16", faiss.METRIC_INNER_PRODUCT)
        else:
            cells = int(4 * count**0.5)
            inner = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
            faiss.extract_index_ivf(inner).nprobe = min(PROBED, cells)
        chosen = np.random.default_rng(0).permutation(count)[: max(WHOLE, int(4 * count**0.5) * 48)]
        inner.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
        inner.add_with_ids(np.ascontiguousarray(vectors), numbers)
        return cls(inner)

    @classmethod
    def load(cls, path: Path) -> "VectorIndex":
        """Read what `save` wrote; raises `UserError` where it is damaged."""
        try:
            return cls(_faiss().read_index(str(path)))
        except RuntimeError as error:
            raise UserError(f"{path} is damaged. Remove {path.parent} and index again.") from error

    def save(self, path: Path) -> None:
        """Write the index into a file; raises `UserError` where the disk is full."""
        with replacing(path) as beside:
            _faiss().write_index(self._index, str(beside))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Vectors, numbers: npt.NDArray[np.int64]) -> None:
        """Add points."""
        self._index.add_with_ids(np.ascontiguousarray(vectors), numbers)

    def remove(self, numbers: npt.NDArray[np.int64]) -> None:
        """Remove points."""
        self._index.remove_ids(numbers)

    def nearest(self, vector: Vectors, count: int) -> list[tuple[int, float]]:
        """Return up to `count` (number, cosine), nearest first."""
        scores, numbers = self._index.search(vector.reshape(1, -1), count)
        return [(int(number), float(score)) for number, score in zip(numbers[0], scores[0], strict=True) if number >= 0]


class SearchIndex:
    """Pictures of a folder, or lines of a text file, as points of one model's space; lies in `.tonggan-index` beside what it is of.

    Attributes:
        problems: files that could not be read, and why.
    """

    def __init__(self, source: Path, model: Tonggan) -> None:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder.")
        self.source, self.model = source, model
        self.folder = source / FOLDER if source.is_dir() else source.with_name(f".{source.name}{FOLDER}")
        self.problems: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._stamps: dict[str, Stamp] = {}
        self._vectors: VectorIndex | None = None
        self._load()

    def __len__(self) -> int:
        return len(self._names)

    def _load(self) -> None:
        path = self.folder / "index.json"
        if not path.is_file():
            return
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["format"] > FORMAT:
                raise UserError(f"{path} was written by a newer version. Update tonggan, or remove {self.folder}.")
            if facts["weights_hash"] != self.model.weights_hash:
                raise UserError(
                    f"{self.folder} was made by another model ('{facts['model']}'). Search with that model, or remove the folder to index anew."
                )
            self._names = {int(number): name for number, name in facts["names"].items()}
            self._stamps = {name: (int(stamp[0]), int(stamp[1])) for name, stamp in facts["stamps"].items()}
        except (ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is damaged ({error}). Remove {self.folder} and index again.") from error
        self._vectors = VectorIndex.load(self.folder / f"{facts['vectors']}")

    def _save(self) -> None:
        assert self._vectors is not None
        previous = {path.name for path in self.folder.glob("vectors-*.faiss")} if self.folder.is_dir() else set()
        name = f"vectors-{len(previous) and max(int(each[8:-6]) for each in previous) + 1}.faiss"
        self._vectors.save(self.folder / name)
        facts: Mapping[str, Any] = {
            "format": FORMAT,
            "model": self.model.name,
            "weights_hash": self.model.weights_hash,
            "vectors": name,
            "names": self._names,
            "stamps": self._stamps,
        }
        # The names are the last to be written and say which vectors are theirs: an index is whole at every moment.
        with replacing(self.folder / "index.json") as beside:
            beside.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        for old in previous:
            (self.folder / old).unlink(missing_ok=True)

    def refresh(self, progress: Show | None = None) -> tuple[int, int]:
        """Bring the index up to what is there now; returns (added, removed), a changed file counting as both. What cannot be read is in `problems`."""
        there = self._there()
        gone, new = self._changes(there)
        vectors, names = self._encoded(new, progress)
        if not names and len(gone) == len(self._names):
            raise UserError(f"{self.source}: nothing in it can be read: {next(iter(self.problems.values()), 'it is empty')}")
        if not gone and not names:  # nothing to write: the folder may be one that may only be read
            return 0, 0
        with one_at_a_time(self.folder / ".lock"):
            known = (self._names, self._stamps)
            self._load()
            if (self._names, self._stamps) != known:  # another process has brought it up meanwhile
                gone, new = self._changes(there)
                vectors, names = self._encoded(new, progress)
            if gone or names:
                self._follow(gone, vectors, names, there)
        return len(names), len(gone)

    def _changes(self, there: Mapping[str, Stamp]) -> tuple[list[int], list[str]]:
        """Return the numbers of what is gone or changed, and the names of what is new or changed."""
        gone = [number for number, name in self._names.items() if there.get(name) != self._stamps.get(name)]
        left = set(gone)
        kept = {name for number, name in self._names.items() if number not in left}
        return gone, [name for name in there if name not in kept]

    def _follow(self, gone: Sequence[int], vectors: Vectors, names: list[str], there: Mapping[str, Stamp]) -> None:
        """Take out what is gone, put in what is new, and save."""
        first = max(self._names, default=-1) + 1
        numbers = np.arange(first, first + len(names), dtype=np.int64)
        for number in gone:
            self._stamps.pop(self._names.pop(number), None)
        if self._vectors is None or (len(self._vectors) <= WHOLE < len(self._names) + len(names)):
            vectors, names, numbers = self._all_again(vectors, names, numbers)
            self._vectors = VectorIndex.build(vectors, numbers)
        else:
            self._vectors.remove(np.asarray(gone, dtype=np.int64))
            if names:
                self._vectors.add(vectors, numbers)
        self._names |= {int(number): name for number, name in zip(numbers, names, strict=True)}
        self._stamps |= {name: there[name] for name in names if name in there}
        self._save()

    def _all_again(self, vectors: Vectors, names: list[str], numbers: npt.NDArray[np.int64]) -> tuple[Vectors, list[str], npt.NDArray[np.int64]]:
        """Return what is to be indexed where an index is made whole: what is indexed already, too."""
        if self._vectors is None or not self._names:
            return vectors, names, numbers
        old, known = self._encoded(list(self._names.values()), None)
        lookup = {name: number for number, name in self._names.items()}
        earlier = np.asarray([lookup[name] for name in known], dtype=np.int64)
        return np.concatenate([old, vectors]), [*known, *names], np.concatenate([earlier, numbers])

    def _there(self) -> dict[str, Stamp]:
        """Return what there is to index, with what changes when it changes."""
        if self.source.is_dir():
            found: dict[str, Stamp] = {}
            for path in files_in([self.source]):
                try:
                    facts = path.stat()
                except FileNotFoundError:  # removed while the folder was read
                    continue
                name = path.relative_to(self.source)
                if is_named_in_utf8(name):
                    found[name.as_posix()] = (facts.st_mtime_ns, facts.st_size)
                else:
                    self.problems[name.as_posix()] = f"{path}: its name is not UTF-8. Rename it."
            return found
        lines = dict.fromkeys(line for each in read_text(self.source).split("\n") if (line := clean_caption(each)))
        if not lines:
            raise UserError(f"{self.source}: the file has no line to search in.")
        return {line: (0, len(line)) for line in lines}

    def _encoded(self, names: Sequence[str], progress: Show | None) -> tuple[Vectors, list[str]]:
        points: list[Vectors] = []
        read: list[str] = []
        for start in range(0, len(names), BATCH):
            opened = list(self._opened(names[start : start + BATCH]))
            if opened:
                points.append(self.model.encode([value for _, value in opened]).numpy())
                read += [name for name, _ in opened]
            if progress is not None:
                progress("indexing", min(start + BATCH, len(names)), len(names))
        return (np.concatenate(points) if points else np.empty((0, 0), dtype=np.float32)), read

    def _opened(self, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for name in names:
            if not self.source.is_dir():
                yield name, name
                continue
            try:
                yield name, open_picture(self.source / name)
            except UserError as error:
                self.problems[name] = str(error)

    def search(self, wanted: Any, count: int = 10) -> list[Hit]:
        """Return the nearest of what is indexed to a caption or a picture, nearest first."""
        if self._vectors is None:
            return []
        found = self._vectors.nearest(self.model.encode(wanted).numpy(), count)
        return [Hit(self._names[number], score) for number, score in found if number in self._names]
