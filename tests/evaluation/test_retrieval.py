from pathlib import Path

import numpy as np
import pytest

from tonggan.data.pack import pack
from tonggan.evaluation.drawing import Sample, choose, picture_paths
from tonggan.evaluation.findings import groups
from tonggan.evaluation.retrieval import Ranks, caption_sensitivity, ground_truth_ranks, nearest_training, other_captions, seed_diversity


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_ranks_count_what_is_nearer_than_the_own_truth() -> None:
    truths = on_circle(0, 10, 20, 90)
    ranks = ground_truth_ranks(on_circle(1, 19, 19, 46), truths)
    assert ranks.closer.tolist() == [0, 1, 0, 2]
    assert ranks.recall(1).value == 0.5
    assert ranks.recall(2).value == 0.75
    assert ranks.chance(2) == 0.5


def test_a_tie_is_left_to_chance() -> None:
    truths = on_circle(0, 0, 90)
    ranks = ground_truth_ranks(on_circle(0, 0, 90), truths)
    assert ranks.hits(1).tolist() == [0.5, 0.5, 1.0]
    assert ranks.hits(2).tolist() == [1.0, 1.0, 1.0]


def test_unequal_numbers_do_not_pair() -> None:
    with pytest.raises(ValueError, match="do not pair"):
        ground_truth_ranks(on_circle(0), on_circle(0, 1))


def test_a_copy_is_nearer_than_a_third_of_the_way_to_the_neighbour() -> None:
    training = np.asarray([[0.0, 0], [3, 0], [10, 0]], dtype=np.float32)
    drawn = np.asarray([[0.5, 0], [1.4, 0], [9, 0], [7, 0]], dtype=np.float32)
    found = nearest_training(drawn, training)
    assert found.nearest.tolist() == [0, 0, 2, 2]
    assert found.ratio.tolist() == pytest.approx([0.5 / 3, 1.4 / 3, 1 / 7, 3 / 7])
    assert found.copied().tolist() == [True, False, True, False]


def test_a_duplicate_in_the_training_set_hides_no_copy() -> None:
    training = np.asarray([[5.0, 0], [5, 0], [8, 0]], dtype=np.float32)
    assert nearest_training(np.asarray([[5.1, 0]], dtype=np.float32), training).copied().tolist() == [True]


def test_a_partner_has_other_words() -> None:
    captions = ["a", "a", "b", "a"]
    assert all(captions[partner] != caption for caption, partner in zip(captions, other_captions(captions, count=4), strict=True))
    assert other_captions(["a", "a"], count=2) == []


def test_sensitivity_is_nought_for_the_deaf_and_one_for_the_perfect() -> None:
    truths, partners = on_circle(0, 90, 180), [1, 2, 0]
    deaf, perfect = (caption_sensitivity(truths, other, truths, partners=partners) for other in (truths, truths[partners]))
    assert deaf is not None
    assert perfect is not None
    assert (deaf.value, perfect.value) == (0.0, 1.0)


def test_diversity_is_that_of_seeds_over_that_of_captions() -> None:
    truths = np.eye(4, dtype=np.float32)
    assert seed_diversity(truths, truths, truths).value == 0
    moved = truths[:2] + np.array([[0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float32) * 2**0.5
    assert seed_diversity(truths, moved, truths).value == pytest.approx(1)
    assert seed_diversity(truths, truths, np.ones((4, 4), dtype=np.float32)) is None


def test_r_precision_is_the_mean_over_distractors_that_are_drawn() -> None:
    """AttnGAN draws 99 others; what `chosen_of` computes is what many such draws give, ties broken at random."""
    random = np.random.default_rng(0)
    gallery, distractors = 120, 99
    closer, tied = np.array([0, 1, 3, 0, 2]), np.array([1, 1, 2, 3, 1])
    ranks = Ranks(closer, tied, np.zeros(5), gallery)
    drawn = np.zeros(5)
    for _ in range(20_000):
        others = random.permutation(gallery - 1)[:distractors]
        for row, (nearer, same) in enumerate(zip(closer, tied - 1, strict=True)):
            ahead, beside = (others < nearer).sum(), ((others >= nearer) & (others < nearer + same)).sum()
            drawn[row] += (ahead == 0) / (beside + 1)
    found = ranks.chosen_of(distractors)
    assert found is not None
    assert found == pytest.approx(drawn / 20_000, abs=0.01)
    assert Ranks(closer, tied, np.zeros(5), 99).chosen_of(distractors) is None


def test_groups_are_the_rows_of_a_tag() -> None:
    styles = ["flat"] * 6 + ["round"] * 6 + ["rare"] * 2
    samples = [Sample(i, f"{i}.png", "x", i, {"style": style, "label": {"en": "x"}}) for i, style in enumerate(styles)]
    closer = np.array([0] * 6 + [9] * 6 + [0] * 2)
    found = {group.value: group for group in groups(samples, Ranks(closer, np.ones(14, dtype=np.int64), np.zeros(14), 14))}
    assert sorted(found) == ["flat", "round"]
    assert {value: (group.samples, group.recall_at_5.value) for value, group in found.items()} == {"flat": (6, 1.0), "round": (6, 0.0)}


def test_names_lead_nowhere_but_below_the_folder() -> None:
    names = ["a.png", "../../a.png", "/a.jpg", "b/c.webp", "B/C.webp.png", "..", "C:\\x\\y.png"]
    paths = picture_paths([Sample(i, name, "x", i, {}) for i, name in enumerate(names)])
    assert [str(path) for path in paths] == ["a.png", "a-2.png", "a.jpg.png", "b/c.webp.png", "B/C.webp-2.png", "picture.png", "x/y.png"]


def test_a_limit_is_the_beginning_of_the_whole(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    whole, few = (choose(packed, split="train", language="en", phrasings=None, seed=3, limit=limit) for limit in (None, 5))
    assert few.samples == whole.samples[:5]
    assert [sample.seed for sample in few.samples] == [3, 4, 5, 6, 7]
    assert len({sample.index for sample in whole.samples}) == whole.split_rows == 12
