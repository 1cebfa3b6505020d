"""Orders that are functions of a seed: a hash of numbers, and permutations that are never made."""

import numpy as np

ROUNDS = 4


def mix(values: np.ndarray) -> np.ndarray:
    """Return splitmix64 of uint64 values (Steele et al. 2014): a hash whose every output bit depends on every input bit."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(numbers: np.ndarray) -> np.ndarray:
    """Return uint64 hashes as numbers in [0, 1)."""
    return (numbers >> np.uint64(11)).astype(np.float64) / 2**53


def permuted(positions: np.ndarray, count: int, *, seed: int, epochs: np.ndarray) -> np.ndarray:
    """Return where each of `positions` (0 .. count - 1) lies in its epoch's permutation, without making the permutation.

    A keyed Feistel network permutes the next power of four; values that fall outside walk on until they are inside (Black & Rogaway 2002), so that
    memory does not grow with the data set and any position is reached at once.
    """
    half = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    with np.errstate(over="ignore"):
        keys = mix(np.uint64(seed & (2**64 - 1)) * np.uint64(0x9E3779B97F4A7C15) + epochs.astype(np.uint64))
    values = positions.astype(np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        left, right = values[outside] >> np.uint64(half), values[outside] & mask
        for number in range(ROUNDS):
            with np.errstate(over="ignore"):
                left, right = right, left ^ (mix(right + keys[outside] + np.uint64(number << 32)) & mask)
        values[outside] = (left << np.uint64(half)) | right
        outside = values >= count
    return values.astype(np.int64)
