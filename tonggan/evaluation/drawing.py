"""Which rows are drawn, and drawing them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image

from tonggan.data.loader import Phrasings, first_caption
from tonggan.data.pack import Pack
from tonggan.errors import UserError, nearest
from tonggan.evaluation.unfinished import NOTHING_KEPT, Unfinished
from tonggan.modalities.provenance import save_marked
from tonggan.pipeline import Tonggan
from tonggan.progress import Show


class Drawer(Protocol):
    """What the evaluation asks of a model."""

    @property
    def name(self) -> str:
        """What a card calls it."""
        ...

    @property
    def phrasings(self) -> Phrasings | None:
        """How captions were phrased in training."""
        ...

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return the settings that `generate` uses, such as `num_inference_steps`."""
        ...

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Image.Image]:
        """Draw one picture a caption, picture i from `seeds[i]` alone."""
        ...


@dataclass(frozen=True)
class BestOf:
    """A model that draws `count` pictures of each caption and keeps the one that lies nearest to it, as `draw --best-of` does.

    Picture i of an evaluation is chosen among those from `seed` + i * `count` and following.
    """

    model: Tonggan
    count: int
    seed: int = 0

    @property
    def name(self) -> str:
        """What a card calls it."""
        return self.model.name

    @property
    def phrasings(self) -> Phrasings | None:
        """How captions were phrased in training."""
        return self.model.phrasings

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights."""
        return self.model.weights_hash

    def learned_from(self, pack: Pack, indices: np.ndarray) -> np.ndarray | None:
        """Return which rows of a pack the model learned from."""
        return self.model.learned_from(pack, indices)

    def trained_as(self) -> dict[str, Any]:
        """Return what is known of how the model was trained."""
        return self.model.trained_as()

    def settings(self) -> dict[str, Any]:
        """Return the model's settings, and `best_of`."""
        return self.model.settings() | {"best_of": self.count}

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Image.Image]:
        """Draw `count` pictures a caption and return the best of each."""
        found: list[Image.Image] = []
        several = max(1, len(inputs) // self.count)  # as many pictures at once as were asked for
        for start in range(0, len(inputs), several):
            own = [self.seed + (seed - self.seed) * self.count + i for seed in seeds[start : start + several] for i in range(self.count)]
            found += [each.output for each in self.model.candidates(inputs[start : start + several], to=to, best_of=self.count, seeds=own)]
        return found


@dataclass(frozen=True)
class Sample:
    """A row that is drawn: where it is in the pack, what is written, what else is known of it."""

    index: int
    file_name: str
    caption: str
    seed: int
    tags: Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The rows of an evaluation, and what was left out."""

    samples: tuple[Sample, ...]
    split_rows: int
    without_caption: int

    def hash(self) -> str:
        """Return the SHA-256 of names, captions and order."""
        lines = [json.dumps([sample.file_name, sample.caption], ensure_ascii=False) for sample in self.samples]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Drawn:
    """Drawn pictures, uint8 (height, width, 3) each, and how long it took in wall seconds."""

    pictures: list[Image.Image]
    seconds: float


def choose(pack: Pack, *, split: str, language: str | None, phrasings: Phrasings | None, seed: int, limit: int | None) -> Chosen:
    """Return the rows of `split` in a random order that never changes, the first `limit` of them; sample i has the seed `seed` + i.

    The order is shuffled because files lie sorted by kind: so every prefix is a fair sample, and a small evaluation is the beginning of a large one.
    Without a `language` rows need no caption, and have their first one in any. Raises `UserError` for an unknown split, a language without captions, or a
    limit below two.
    """
    if limit is not None and limit < 2:
        raise UserError(f"an evaluation needs two rows or more; the limit is {limit}.")
    indices = pack.indices(split)
    samples: list[Sample] = []
    without, languages = 0, set[str]()
    for index in np.random.default_rng(0).permutation(indices):
        row = pack.row(int(index))
        languages.update(row.captions)
        caption = first_caption(row, language, phrasings) if language else next((texts[0] for texts in row.captions.values() if texts), "")
        if language and not caption:
            without += 1
        elif limit is None or len(samples) < limit:
            samples.append(Sample(int(index), row.file_name, caption or "", seed + len(samples), row.tags))
    if not samples and language:
        raise UserError(f"no row of the split '{split}' has a caption in '{language}'.{nearest(language, languages)}")
    if len(samples) < 2:
        captioned = f" with a caption in '{language}'" if language else ""
        raise UserError(f"an evaluation needs two rows or more; the split '{split}' has {len(samples)}{captioned}.")
    return Chosen(tuple(samples), len(indices), without)


def draw(
    model: Drawer,
    captions: Sequence[str],
    *,
    seeds: Sequence[int],
    batch_size: int,
    what: str = "drawing",
    kept: Unfinished = NOTHING_KEPT,
    progress: Show | None = None,
) -> Drawn:
    """Draw one picture a caption, in batches, picture i from `seeds[i]`, but those that are `kept`. Raises `UserError` for a batch size below one."""
    if batch_size < 1:
        raise UserError(f"a batch needs one caption or more; the batch size is {batch_size}.")

    def drawn(part: slice) -> list[np.ndarray]:
        batch = list(captions[part])
        found = model.generate(batch, to="image", seeds=list(seeds[part]))
        if len(found) != len(batch):
            raise ValueError(f"{model.name} drew {len(found)} pictures for {len(batch)} captions.")
        return [np.asarray(picture.convert("RGB")) for picture in found]

    asked = list(zip(captions, seeds, strict=True))
    pictures, seconds = kept.outputs(asked, drawn, batch_size=batch_size, what=what, progress=progress)
    return Drawn([Image.fromarray(picture) for picture in pictures], seconds)


def below(name: str) -> PurePosixPath:
    """Return a name as a path that leads nowhere but into the folder that it is put behind."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".") and not part.endswith(":")]
    return PurePosixPath(*parts) if parts else PurePosixPath("picture")


def picture_path(file_name: str) -> PurePosixPath:
    """Return where the drawn picture of a row lies below the folder of pictures: `<file_name>.png`, never outside of the folder."""
    path = below(file_name)
    return path if path.suffix.lower() == ".png" else path.with_name(f"{path.name}.png")


def picture_paths(samples: Iterable[Sample]) -> list[PurePosixPath]:
    """Return `picture_path` of all samples, each another: rows that share a picture (a table with several captions of it) get `-2`, `-3`, ..."""
    found: list[PurePosixPath] = []
    taken: set[str] = set()
    for sample in samples:
        path = first = picture_path(sample.file_name)
        number = 1
        # Some file systems take names that differ in case alone for one.
        while str(path).casefold() in taken:
            number += 1
            path = first.with_name(f"{first.stem}-{number}{first.suffix}")
        taken.add(str(path).casefold())
        found.append(path)
    return found


def save_pictures(folder: Path, samples: Iterable[Sample], pictures: Iterable[Image.Image]) -> None:
    """Write every drawn picture as PNG into `folder`, at its `picture_paths`."""
    for path, picture in zip(picture_paths(samples), pictures, strict=True):
        save_marked(picture, folder / path)
