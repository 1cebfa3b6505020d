"""The card: everything that an evaluation found, and everything needed to repeat it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tonggan.errors import UserError
from tonggan.evaluation.intervals import Interval
from tonggan.evaluation.kinds import MORE_KINDS, FigureKind
from tonggan.files import replacing

FORMAT = 1


FIGURES: Mapping[str, FigureKind] = {
    **MORE_KINDS,
    "frechet_distance": FigureKind(
        "Fréchet distance",
        "弗雷歇距离",
        "lower",
        "Squared Fréchet distance of Gaussians fitted to features of drawn pictures and ground truths, of EfficientNet-Lite0 unless another network is"
        " named. Not FID, which is by definition computed from Inception-v3. Compares only at equal sample count.",
    ),
    "kernel_distance": FigureKind(
        "kernel distance",
        "核距离",
        "lower",
        "Unbiased squared maximum mean discrepancy, cubic kernel, on features of EfficientNet-Lite0 unless another network is named. Slightly"
        " negative where the sets are alike.",
        factor=1000,
        unit="×10⁻³",
        digits=2,
    ),
    "recall_at_1": FigureKind(
        "R@1 of the own ground truth",
        "首位命中率",
        "higher",
        "Share of drawn pictures whose own ground truth is the nearest of the ground truths of all evaluated captions.",
        factor=100,
        unit="%",
    ),
    "recall_at_5": FigureKind(
        "R@5 of the own ground truth",
        "前五命中率",
        "higher",
        "Share of drawn pictures whose own ground truth is among the five nearest of all evaluated captions.",
        factor=100,
        unit="%",
    ),
    "rank_percentile": FigureKind(
        "ground truths farther than the own one",
        "平均排位",
        "higher",
        "Mean share of the other evaluated ground truths that are farther from a drawn picture than its own. 50 % is chance.",
        factor=100,
        unit="%",
    ),
    "shuffled_recall_at_5": FigureKind(
        "R@5 with shuffled captions",
        "打乱标题后的前五命中率",
        "lower",
        "R@5 of the row's ground truth by a picture drawn for another row's caption. Near chance where the caption is what decides.",
        factor=100,
        unit="%",
    ),
    "caption_sensitivity": FigureKind(
        "sensitivity to the caption",
        "对标题的敏感度",
        "higher",
        "Distance of pictures drawn from one seed for two captions, relative to the distance of the two ground truths. 0: the caption is ignored;"
        " 1: pictures differ as much as real ones.",
        digits=2,
    ),
    "seed_diversity": FigureKind(
        "diversity over seeds",
        "随种子的多样性",
        "",
        "Distance of pictures drawn for one caption from two seeds, relative to the distance of the ground truths of two captions. 0: every seed draws"
        " the same; 1: seeds change as much as captions.",
        digits=2,
    ),
    "copy_rate": FigureKind(
        "copies of training pictures",
        "训练图复制率",
        "lower",
        "Share of pictures nearer to a training picture than a third of that picture's distance to its own nearest neighbour in the training set.",
        factor=100,
        unit="%",
    ),
    "exact": FigureKind(
        "exact sentences",
        "整句相同",
        "higher",
        "Share of sentences that are the first reference, but for case and white space.",
        factor=100,
        unit="%",
    ),
    "exact_label": FigureKind(
        "exact labels",
        "标签相同",
        "higher",
        "Share of sentences that begin with the row's label (the tag `label`) and go on, if at all, behind a comma.",
        factor=100,
        unit="%",
    ),
    **{
        f"bleu_{order}": FigureKind(
            f"BLEU-{order}", f"BLEU-{order}", "higher", "Corpus BLEU (Papineni et al. 2002) on COCO's tokens, as pycocoevalcap has it.", factor=100
        )
        for order in (1, 4)
    },
    "rouge_l": FigureKind("ROUGE-L", "ROUGE-L", "higher", "Mean ROUGE-L (Lin 2004), as pycocoevalcap has it.", factor=100),
    "cider_d": FigureKind(
        "CIDEr-D", "CIDEr-D", "higher", "CIDEr-D (arXiv:1411.5726), document frequencies from the references of the evaluated rows.", digits=3
    ),
    "distinct_2": FigureKind(
        "distinct pairs of words",
        "不同词对比例",
        "",
        "Share of different pairs of neighbouring words among all that were said.",
        factor=100,
        unit="%",
    ),
    "repeat_rate": FigureKind(
        "sentences that repeat themselves", "自我重复率", "lower", "Share of sentences in which a pair of words stands twice.", factor=100, unit="%"
    ),
    "sentence_length": FigureKind("words a sentence", "平均词数", "", "Mean number of tokens a sentence."),
    "onset_f1": FigureKind(
        "F1 of the onsets",
        "起音 F1",
        "higher",
        "Onsets that are heard and true ones, matched one to one within the tolerance: twice the matched over all of both (bootstrap over clips).",
        factor=100,
        unit="%",
    ),
    "onset_lateness": FigureKind(
        "mean lateness of matched onsets",
        "平均滞后",
        "",
        "Mean of (heard - true) over matched onsets: above zero, the sound is late.",
        factor=1000,
        unit="ms",
    ),
    "onset_count_error": FigureKind(
        "error of the count of onsets",
        "起音数误差",
        "lower",
        "Sum over clips of |heard - true| over the number of true onsets.",
        factor=100,
        unit="%",
    ),
    "mel_distance": FigureKind(
        "log-mel distance",
        "对数梅尔距离",
        "lower",
        "Mean absolute difference of the log-mel spectrograms (nepers) of what was made and of the true sound.",
        digits=2,
    ),
    **{
        f"{name}_at_{k}": FigureKind(
            f"{words}, R@{k}",
            f"{words_zh} R@{k}",
            "higher",
            "Share of queries whose own partner is among the nearest in the model's own shared space, among all evaluated rows.",
            factor=100,
            unit="%",
        )
        for name, words, words_zh in (
            ("text_to_image", "picture found by its sentence", "以句找图"),
            ("image_to_text", "sentence found by its picture", "以图找句"),
        )
        for k in (1, 5, 10)
    },
}


@dataclass(frozen=True)
class Figure:
    """One measured value; `name` is a key of `FIGURES`. `low` and `high` are a 95 % interval, None where the value is exact."""

    name: str
    value: float
    low: float | None
    high: float | None
    samples: int
    details: dict[str, float] = field(default_factory=dict)
    """Numbers that belong to it, such as the mean and deviation over subsets."""
    net: str = ""
    """The feature network that it is of, where that is not the card's first one."""

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


@dataclass(frozen=True)
class MachineFacts:
    """Where it was measured."""

    processor: str
    threads: int
    system: str


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
    speed: SpeedFacts
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
            raise UserError(f"the card {path} cannot be read ({error.strerror}).") from error
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
    return [name for name, (mine, theirs) in pairs.items() if mine != theirs]


def _identity(net: NetFacts) -> tuple[str, str, int, int]:
    """What decides about features; cards of earlier versions have no note."""
    return net.name, net.sha256, net.input_size, net.width


def column_of(other: Card, *, card: Card) -> Column:
    """Return an earlier card as a column beside `card`; the note says where it may not be compared."""
    found = differences(card, other)
    note = f"differs in {', '.join(found)}: not comparable" if found else f"the same captions, evaluated {other.date[:10]}"
    return Column(other.model.name, note, other.figures)
