"""A contest: every model's output for every prompt, in a folder under names that tell nothing, made beforehand or when it is asked for."""

import hashlib
import hmac
import json
import mimetypes
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tonggan.errors import UserError, nearest
from tonggan.feedback.tables import Output
from tonggan.feedback.votes import VoteStore
from tonggan.files import replacing
from tonggan.modalities import Modality, modalities
from tonggan.model import ends
from tonggan.pipeline import Tonggan
from tonggan.progress import Show
from tonggan.serving.prompts import Prompt

BATCH = 16
OUTPUTS = "outputs"
PROMPTS = "prompts"


@dataclass(frozen=True)
class Entry:
    """One output of the contest, made or not."""

    id: str
    model: str
    prompt: int
    seed: int


class Contest:
    """Models side by side on the same prompts and seeds."""

    def __init__(
        self, models: Mapping[str, Tonggan], prompts: Sequence[Prompt], folder: Path, store: VoteStore, *, arrow: str, seed: int = 0
    ) -> None:
        """Find what was made before; nothing is made yet. Raises `UserError` where a model has no such arrow, or two models are one and the same."""
        self.source, self.target = modalities_of(arrow)
        for name, each in models.items():
            _check_arrow(name, each, self.source.name, self.target.name)
        self.models, self.prompts, self.arrow, self.folder, self.store = models, prompts, arrow, folder, store
        self.secret = _secret(folder / "secret")
        made = [Entry(self._id(name, prompt, seed + i), name, i, seed + i) for i, prompt in enumerate(self.prompts) for name in models]
        self.entries = {entry.id: entry for entry in made}
        self.pairs = [pair for i in range(len(self.prompts)) for pair in combinations([entry.id for entry in made if entry.prompt == i], 2)]
        self._refuse_twins()
        self.files = {file.stem: file for file in (folder / OUTPUTS).glob("*.*") if file.stem in self.entries}
        self.prompt_files = self._show_prompts()
        self._lock = threading.Lock()
        store.register([self._output(self.entries[name], file) for name, file in self.files.items()])

    def prepare(self, progress: Show | None = None) -> int:
        """Make all that is missing and return how much that was; what is made is kept, so that a stopped call is gone on with."""
        missing = [entry for entry in self.entries.values() if entry.id not in self.files]
        for name in self.models:
            mine = [entry for entry in missing if entry.model == name]
            for start in range(0, len(mine), BATCH):
                self._make(mine[start : start + BATCH])
                if progress is not None:
                    progress(f"outputs of {name}", min(start + BATCH, len(mine)), len(mine))
        return len(missing)

    def ensure(self, outputs: Iterable[str]) -> None:
        """Make those of the outputs that are not there yet; voters that ask for the same wait for one making."""
        wanted = set(outputs)
        if wanted <= self.files.keys():
            return
        with self._lock:
            for name in self.models:
                self._make([self.entries[each] for each in sorted(wanted - self.files.keys()) if self.entries[each].model == name])

    def prompt_of(self, output: str) -> tuple[Prompt, Path | None]:
        """Return the prompt of an output, and the file that shows it (None where the text does)."""
        place = self.entries[output].prompt
        return self.prompts[place], self.prompt_files.get(place)

    def _make(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        model, prompts = self.models[entries[0].model], [self.prompts[entry.prompt] for entry in entries]
        values = [prompt.value(self.source, model.framing) for prompt in prompts]
        made = model.generate(values, to=self.target.name, seeds=[entry.seed for entry in entries])
        files = {
            entry.id: self.target.show(each, prompt.file, self.folder / OUTPUTS / entry.id)
            for entry, prompt, each in zip(entries, prompts, made, strict=True)
        }
        self.store.register([self._output(self.entries[name], file) for name, file in files.items()])
        self.files |= files

    def _output(self, entry: Entry, file: Path) -> Output:
        model, mime = self.models[entry.model], mime_of(file)
        content = file.read_text(encoding="utf-8") if mime.startswith("text/") else f"{OUTPUTS}/{file.name}"
        return Output(
            id=entry.id,
            arrow=self.arrow,
            prompt=self.prompts[entry.prompt].text,
            model=entry.model,
            weights=model.weights_hash[:64],
            seed=entry.seed,
            settings=model.settings(self.target.name),
            mime=mime,
            content=content,
        )

    def _id(self, name: str, prompt: Prompt, seed: int) -> str:
        """Return a name that follows from all that an output is made by, and that nobody without the secret can trace back."""
        model = self.models[name]
        made_by = json.dumps([self.arrow, model.weights_hash, model.settings(self.target.name), prompt.identity, seed], sort_keys=True)
        return hmac.new(self.secret, made_by.encode(), "sha256").hexdigest()[:32]

    def _refuse_twins(self) -> None:
        if len(self.entries) < len(self.models) * len(self.prompts):
            raise UserError(f"two of {', '.join(self.models)} are the same model with the same settings: there is nothing to tell apart.")

    def _show_prompts(self) -> dict[int, Path]:
        """Write what is not text into files that a page can show, as much of it as the models see."""
        if self.source.open is None:
            return {}
        shown, framing = {}, next(iter(self.models.values())).framing
        for place, prompt in enumerate(self.prompts):
            name = hashlib.sha256(prompt.identity.encode()).hexdigest()[:32]
            there = next((self.folder / PROMPTS).glob(f"{name}.*"), None)
            shown[place] = there or self.source.show(prompt.value(self.source, framing), prompt.file, self.folder / PROMPTS / name)
        return shown


def _check_arrow(name: str, model: Tonggan, source: str, target: str) -> None:
    """Raise `UserError`, with the model's name, where it has no way from one end of the arrow to the other."""
    try:
        model.model.part(model.model.encoders, source, "encoder")
        model.model.part(model.model.decoders, target, "decoder")
    except UserError as error:
        raise UserError(f"{name} has no part in {source}->{target}: {error}") from error


def modalities_of(arrow: str) -> tuple[Modality, Modality]:
    """Return both ends of an arrow; raises `UserError` where there is no such modality."""
    source, target = ends(arrow)
    for name in (source, target):
        if name not in modalities():
            raise UserError(f"--arrow {arrow}: '{name}' is not a modality.{nearest(name, modalities())}")
    return modalities()[source], modalities()[target]


def mime_of(file: Path) -> str:
    """Return the MIME type of a file by its ending."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def _secret(file: Path) -> bytes:
    """Return the arena's secret, made at the first call."""
    if not file.is_file():
        with replacing(file) as beside:
            beside.write_bytes(secrets.token_bytes(32))
        file.chmod(0o600)
    return file.read_bytes()
