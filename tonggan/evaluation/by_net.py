"""What each feature network says of drawn pictures: distances, precision and its kin, and how well CLIP finds that they fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tonggan.data.pack import Pack
from tonggan.evaluation.card import Figure, NetFacts
from tonggan.evaluation.distances import frechet_distance, gaussian_kernel, kernel_distance
from tonggan.evaluation.drawing import Chosen, Drawn
from tonggan.evaluation.features import FeatureExtractor, Features
from tonggan.evaluation.intervals import Numbers, mean_interval
from tonggan.evaluation.manifold import manifold
from tonggan.evaluation.measure import Reference, Ruler
from tonggan.evaluation.retrieval import Ranks, ground_truth_ranks, other_captions
from tonggan.evaluation.sliced import sliced_distance
from tonggan.evaluation.vision import VisionNet

NAMES = {"inception": ("fid", "kid", "mind")}
"""What the Fréchet, kernel and sliced distances are called on the network that they are defined on."""
PLAIN = ("frechet_distance", "kernel_distance", "sliced_distance")


@dataclass(frozen=True)
class Fit:
    """Captions against pictures by CLIP: cosines (N,) and ranks of drawn pictures, of the ground truths, and of what looking up gets (None without
    training pictures); cosines of drawn pictures with another row's caption."""

    drawn: Numbers
    truths: Numbers
    shuffled: Numbers | None
    retrieved: Numbers | None
    ranks: Ranks
    truth_ranks: Ranks
    retrieved_ranks: Ranks | None


@dataclass(frozen=True)
class ByNet:
    """Features by one further network. `retrieved` and `real` are None without training pictures, `fit` where the network reads no captions."""

    net: FeatureExtractor
    drawn: Features
    truths: Features
    retrieved: Features | None
    real: Features | None
    fit: Fit | None


def facts_of(net: FeatureExtractor) -> NetFacts:
    """Return what a card says of a feature network."""
    return NetFacts(net.name, net.sha256, net.input_size, net.width, net.note)


def measure_by_net(
    net: FeatureExtractor, ruler: Ruler, chosen: Chosen, drawn: Drawn, *, pack: Pack, reference: Reference | None, retrieved: Sequence[int]
) -> ByNet:
    """Return what a further network sees; `retrieved` are the rows of the pack that looking up gets, one a caption."""
    own = Ruler(net, ruler.cache, ruler.progress)
    found = net.features(drawn.pictures, progress=own.named(f"drawn pictures, {net.name}"))
    truths = own.pack_features(pack, [sample.index for sample in chosen.samples], f"ground truths, {net.name}")
    looked_up = real = None
    if reference:
        real = own.pack_features(pack, reference.rows[: len(found)], f"training pictures, {net.name}")
        looked_up = own.pack_features(pack, retrieved, f"looked-up pictures, {net.name}")
    captions = [sample.caption for sample in chosen.samples]
    reads = isinstance(net, VisionNet) and net.tokenizer is not None and net.family == "clip"
    return ByNet(net, found, truths, looked_up, real, _fit(net, captions, found, truths, looked_up) if reads and isinstance(net, VisionNet) else None)


def _fit(net: VisionNet, captions: Sequence[str], drawn: Features, truths: Features, looked_up: Features | None) -> Fit:
    texts = net.texts(captions)
    partners = other_captions(captions, count=len(captions))
    shuffled = (drawn * texts[partners]).sum(axis=1) if partners else None
    return Fit(
        (drawn * texts).sum(axis=1),
        (truths * texts).sum(axis=1),
        shuffled,
        None if looked_up is None else (looked_up * texts).sum(axis=1),
        ground_truth_ranks(drawn, texts),
        ground_truth_ranks(truths, texts),
        None if looked_up is None else ground_truth_ranks(looked_up, texts),
    )


def distance_figures(features: Features, truths: Features, *, family: str = "efficientnet", net: str = "") -> list[Figure]:
    """Return distances from the ground truths, precision, recall, density and coverage by the features of one network."""
    frechet_name, kernel_name, sliced_name = NAMES.get(family, PLAIN)
    count = len(features)
    frechet = frechet_distance(features, truths)
    figures = [Figure.of(frechet_name, frechet.interval, count, net=net, standard_error=frechet.standard_error)]
    if family == "clip":
        figures.append(_kernel("cmmd", features, truths, net))
    else:
        figures.append(_kernel(kernel_name, features, truths, net))
        sliced = sliced_distance(features, truths)
        figures.append(Figure.of(sliced_name, sliced.interval, sliced.samples, net=net, standard_error=sliced.standard_error))
    if around := manifold(features, truths):
        names = ("precision", "recall", "density", "coverage")
        figures += [Figure.of(name, getattr(around, name), around.samples, net=net, nearest=around.nearest) for name in names]
    return figures


def _kernel(name: str, features: Features, truths: Features, net: str) -> Figure:
    kernel = kernel_distance(features, truths, kernel=gaussian_kernel) if name == "cmmd" else kernel_distance(features, truths)
    subsets = {"subset_mean": kernel.subset_mean, "subset_deviation": kernel.subset_deviation}
    return Figure.of(name, kernel.interval, len(features), net=net, **subsets, subset_size=kernel.subset_size, subsets=kernel.subsets)


def fit_figures(cosines: Numbers, ranks: Ranks | None, *, net: str) -> list[Figure]:
    """Return CLIPScore, and R-precision of the captions where there are enough of them."""
    figures = [Figure.of("clip_score", mean_interval(clip_scores(cosines)), len(cosines), net=net)]
    if ranks and (precision := ranks.r_precision()):
        figures.append(Figure.of("caption_r_precision", precision, len(cosines), net=net))
    return figures


def clip_scores(cosines: Numbers) -> Numbers:
    """Return 100 x max(cosine, 0)."""
    return 100 * np.maximum(np.asarray(cosines, dtype=np.float64), 0)
