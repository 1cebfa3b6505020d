"""Voters whose taste is known: one likes pictures in one drawing style, another colourful ones, whatever they show.

What the style is was learned from real drawings of the training split: a linear classifier (multinomial logistic regression) of the six styles on
EfficientNet-Lite0 features, which no model here was trained with. Liking is the log-odds of the one style against all others. Colourfulness is a formula
(Hasler and Süsstrunk 2003, "Measuring colourfulness in natural images", section 7).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F

from tonggan.data.pack import Pack
from tonggan.errors import UserError, nearest
from tonggan.evaluation.features import FeatureNet, Features, kept_features
from tonggan.feedback.tables import Choice

ROWS_A_STYLE = 330
HELD_OUT = 80
WEIGHT_DECAY = 1e-2
COLOURFUL = "colourful"
JUST_NOTICEABLE = 0.5
"""Log-odds by which two pictures must differ; below, the voter calls it a tie."""
JUST_NOTICEABLE_COLOUR = 2.0
"""The same in units of colourfulness, of which a drawing here has 20 to 100."""
Likings = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What voters look at: features (pictures, width) and colourfulness (pictures,)."""

    features: Features
    colourfulness: Likings


def colourfulness(pictures: Sequence[Image.Image]) -> Likings:
    """Return how colourful each picture is: spread and mean of the opponent colours, 0 for grey (Hasler and Süsstrunk's M3)."""
    found = []
    for picture in pictures:
        red, green, blue = np.asarray(picture.convert("RGB"), dtype=np.float64).reshape(-1, 3).T
        opponents = np.stack([red - green, (red + green) / 2 - blue])
        found.append(np.hypot(*opponents.std(1)) + 0.3 * np.hypot(*opponents.mean(1)))
    return np.asarray(found)


@dataclass(frozen=True)
class Taste:
    """Styles, which of them is liked (or `COLOURFUL`), and the classifier: logits = standardised features @ weights + bias."""

    styles: tuple[str, ...]
    liked: str
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    accuracy: float
    """Share of real drawings of the training split, not learned from, whose style it tells."""

    def logits(self, features: Features) -> npt.NDArray[np.float32]:
        """Return (pictures, styles)."""
        return np.asarray((features - self.mean) / self.deviation @ self.weights + self.bias, dtype=np.float32)

    def styles_of(self, features: Features) -> list[str]:
        """Return the likeliest style of each picture."""
        return [self.styles[place] for place in self.logits(features).argmax(1)]

    def liking(self, seen: Seen) -> Likings:
        """Return the log-odds of the liked style of each picture, or how colourful it is."""
        if self.liked == COLOURFUL:
            return seen.colourfulness
        logits = torch.from_numpy(self.logits(seen.features)).double()
        own = self.styles.index(self.liked)
        others = torch.cat([logits[:, :own], logits[:, own + 1 :]], dim=1)
        return (logits[:, own] - others.logsumexp(1)).numpy()

    def vote(self, first: float, second: float) -> Choice:
        """Return what the voter says of two likings."""
        if abs(first - second) < (JUST_NOTICEABLE_COLOUR if self.liked == COLOURFUL else JUST_NOTICEABLE):
            return Choice.TIE
        return Choice.FIRST if first > second else Choice.SECOND


def learn_taste(pack: Pack, liked: str, *, net: FeatureNet, cache: Path, split: str = "train") -> Taste:
    """Learn to tell the styles from drawings of the training split; raises `UserError` where `liked` is neither one of them nor `COLOURFUL`."""
    by_style: dict[str, list[int]] = {}
    for row in np.random.default_rng(0).permutation(pack.indices(split)):
        by_style.setdefault(str(pack.row(int(row)).tags["style"]), []).append(int(row))
    if liked not in (*by_style, COLOURFUL):
        raise UserError(f"no drawing is in the style '{liked}'.{nearest(liked, [*by_style, COLOURFUL])}")
    styles = tuple(sorted(by_style))
    rows = [row for style in styles for row in by_style[style][: ROWS_A_STYLE + HELD_OUT]]
    truth = torch.tensor([place for place, style in enumerate(styles) for _ in by_style[style][: ROWS_A_STYLE + HELD_OUT]])
    held = torch.cat([torch.arange(len(by_style[style][: ROWS_A_STYLE + HELD_OUT])) >= ROWS_A_STYLE for style in styles])
    features = torch.from_numpy(kept_features(net, pack.pictures, rows=rows, content_hash=pack.content_hash, folder=cache))
    mean, deviation = features[~held].mean(0), features[~held].std(0).clamp_min(1e-6)
    seen = (features - mean) / deviation
    weights, bias = torch.zeros(seen.shape[1], len(styles), requires_grad=True), torch.zeros(len(styles), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(seen[~held] @ weights + bias, truth[~held]) + WEIGHT_DECAY * (weights**2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        accuracy = float(((seen[held] @ weights + bias).argmax(1) == truth[held]).float().mean())
    return Taste(styles, liked, mean.numpy(), deviation.numpy(), weights.detach().numpy(), bias.detach().numpy(), accuracy)
