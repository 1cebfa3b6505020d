import numpy as np
import pytest

from tonggan.evaluation.retrieval import caption_sensitivity, ground_truth_ranks, nearest_training, other_captions, seed_diversity


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
