"""The card: everything that an evaluation found, and everything needed to repeat it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from tonggan.errors import UserError
from tonggan.evaluation.intervals import Interval
from tonggan.files import replacing

FORMAT = 1


@dataclass(frozen=True)
class Figure:
    """One measured value; `name` is a key of `kinds.FIGURES`. `low` and `high` are a 95 % interval, None where the value is exact."""

    name: str
    value: float
    low: float | None
    high: float | None
    samples: int
    details: dict[str, float] = field(default_factory=dict)
    """Numbers that belong to it, such as the mean and deviation over subsets."""
    net: str = ""
    """The feature network that it is of, where that is not the card's first one."""

    @classmethod
    def of(cls, name: str, interval: Interval, samples: int, *, net: str = "", **details: float) -> Self:
        """Return the figure that an interval is of."""
        return cls(name, interval.value, interval.low, interval.high, samples, details, net)

    @property
    def key(self) -> str:
        """What tells it from the other figures of a card."""
        return f"{self.name} @ {self.net}" if self.net else self.name


@dataclass(frozen=True)
class Column:
    """Figures to read the model's beside: a floor, a ceiling, chance, or another model."""

    name: str
    note: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Group:
    """Retrieval of the rows that share the value of a tag (the gallery stays that of all evaluated captions)."""

    tag: str
    value: str
    samples: int
    recall_at_1: Interval
    recall_at_5: Interval


@dataclass(frozen=True)
class ModelFacts:
    """What drew: name, SHA-256 of the weights, settings of the generation."""

    name: str
    weights_hash: str
    settings: dict[str, Any]
    hashed: str = "weights"
    """What the hash is of: the `outputs` of another system, whose weights are not here."""
    trained: dict[str, Any] = field(default_factory=dict)
    """How it was trained, as `Tonggan.trained_as` tells; empty where that is not known."""


@dataclass(frozen=True)
class DataFacts:
    """What was drawn: which rows of which pack. `rows_hash` is of their names, captions and order; the rows themselves are in `rows.jsonl`."""

    content_hash: str
    split: str
    language: str
    samples: int
    split_rows: int
    rows_hash: str
    picture_size: int


@dataclass(frozen=True)
class NetFacts:
    """What was measured with."""

    name: str
    sha256: str
    input_size: int
    width: int
    note: str = ""
    """Whose implementation, and how pictures are brought to its size."""
    unit: str = "pixels"
    """Of `input_size`: `Hz` for sounds."""


@dataclass(frozen=True)
class MachineFacts:
    """Where it was measured."""

    processor: str
    threads: int
    system: str
    device: str = "cpu"
    """Where outputs were made: the processor, or the name of a GPU."""

    def __str__(self) -> str:
        where = "" if self.device == "cpu" else f"{self.device}, "
        return f"{where}{self.processor}, {self.threads} threads, {self.system}"


@dataclass(frozen=True)
class SpeedFacts:
    """How long drawing took, in wall seconds, captions to pictures; the shuffled captions not counted."""

    drawing_seconds: float
    pictures_per_second: float
    batch_size: int


@dataclass(frozen=True)
class Card:
    """An evaluation. `figures` are the model's, `columns` the floors beside them, `beside` those of earlier cards."""

    arrow: str
    model: ModelFacts
    data: DataFacts
    features: NetFacts
    first_seed: int
    """Picture i of the rows is drawn with `first_seed` + i."""
    figures: tuple[Figure, ...]
    columns: tuple[Column, ...]
    beside: tuple[Column, ...]
    groups: tuple[Group, ...]
    speed: SpeedFacts | None
    """None where outputs were made elsewhere."""
    machine: MachineFacts
    versions: dict[str, str]
    date: str
    """UTC, ISO 8601."""
    warnings: tuple[str, ...]
    definitions: dict[str, str]
    """Name of a figure -> what it means."""
    format: int = FORMAT
    nets: tuple[NetFacts, ...] = ()
    """Feature networks besides the first; their figures name them."""
    request: dict[str, Any] = field(default_factory=dict)
    """What was asked for: `evaluate --repeat` asks for it again."""

    def figure(self, name: str) -> Figure:
        """Return the model's figure of that key (its name, for figures of the first network); raises `KeyError`."""
        return {figure.key: figure for figure in self.figures}[name]

    def save(self, path: Path) -> None:
        """Write the card as JSON."""
        with replacing(path) as beside:
            beside.write_bytes(_ADAPTER.dump_json(self, indent=2) + b"\n")

    @classmethod
    def load(cls, path: Path) -> "Card":
        """Read a card; raises `UserError` where the file is missing, damaged, or no card."""
        try:
            card = _ADAPTER.validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(
                f"the card {path} cannot be read ({error.strerror}). `tonggan evaluate MODEL --data DATA --out FOLDER` writes one."
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise UserError(f"{path} is not an evaluation card: {where}: {first['msg']}.") from error
        if card.format != FORMAT:
            raise UserError(f"{path} is a card of format {card.format}, this version reads {FORMAT}. Evaluate again.")
        return card


_ADAPTER = TypeAdapter(Card)


def differences(card: Card, other: Card) -> list[str]:
    """Return in what the conditions of two cards differ, in words; empty where their figures may be compared."""
    pairs = {
        "data": (card.data.content_hash, other.data.content_hash),
        "split": (card.data.split, other.data.split),
        "language": (card.data.language, other.data.language),
        "sample count": (card.data.samples, other.data.samples),
        "captions": (card.data.rows_hash, other.data.rows_hash),
        "picture size": (card.data.picture_size, other.data.picture_size),
        "feature network": (_identity(card.features), _identity(other.features)),
    }
    found = [name for name, (mine, theirs) in pairs.items() if mine != theirs]
    others = {net.name: net for net in other.nets}
    return found + [net.name for net in card.nets if net.name in others and _identity(net) != _identity(others[net.name])]


def _identity(net: NetFacts) -> tuple[str, str, int, int]:
    """What decides about features; cards of earlier versions have no note."""
    return net.name, net.sha256, net.input_size, net.width


def column_of(other: Card, *, card: Card) -> Column:
    """Return an earlier card as a column beside `card`; the note says where it may not be compared."""
    found = differences(card, other)
    note = f"differs in {', '.join(found)}: not comparable" if found else f"the same captions, evaluated {other.date[:10]}"
    return Column(other.model.name, note, other.figures)
