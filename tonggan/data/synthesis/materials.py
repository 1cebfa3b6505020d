"""Materials: how things of wood, metal, glass, ... look, bounce and ring.

Sound is modal (van den Doel & Pai 1998; O'Brien et al. 2002): a struck thing rings in a few modes, each a sine that dies away at the rate
alpha + beta f^2 (Rayleigh damping); a soft contact is long and leaves high modes alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BAR_RATIOS = (1.0, 2.756, 5.404, 8.933, 13.34, 18.64)
"""Frequencies of the modes of a free bar relative to the first (Euler-Bernoulli)."""
BALL_RATIOS = (1.0, 1.51, 2.04, 2.63, 3.17, 3.95, 4.79)
"""Spheroidal modes of a solid ball, about."""
INAUDIBLE = 9.2
"""Nepers below which a mode is not computed: 80 dB."""


@dataclass(frozen=True)
class Material:
    """Colour (sRGB), shine in [0, 1], restitution, pitch of a thing of size 1 in Hz, damping (1/s, s), contact cutoff in Hz, loudness, brittleness."""

    name: str
    colour: tuple[int, int, int]
    shine: float
    restitution: float
    pitch_hz: float
    alpha: float
    beta: float
    cutoff_hz: float
    loudness: float
    brittle: bool = False


MATERIALS: dict[str, Material] = {
    each.name: each
    for each in (
        Material("metal", (150, 165, 190), 0.9, 0.72, 900, 5, 1.5e-7, 9000, 1.0),
        Material("wood", (170, 110, 55), 0.1, 0.5, 480, 45, 2e-6, 2600, 1.0),
        Material("glass", (120, 225, 215), 1.0, 0.62, 1500, 14, 3e-7, 12000, 0.8, brittle=True),
        Material("rubber", (205, 50, 60), 0.3, 0.78, 130, 55, 2e-5, 500, 1.3),
        Material("stone", (105, 105, 100), 0.0, 0.42, 1100, 95, 1.5e-6, 5000, 1.0),
        Material("ceramic", (240, 238, 228), 0.6, 0.45, 2100, 40, 6e-7, 9000, 0.9, brittle=True),
    )
}


@dataclass(frozen=True)
class Voice:
    """The modes of one thing: frequencies in Hz, decay rates in 1/s, and gains (modes,)."""

    frequencies: np.ndarray
    decays: np.ndarray
    gains: np.ndarray

    @classmethod
    def of(cls, material: Material, *, ratios: Sequence[float], size: float, random: np.random.Generator) -> "Voice":
        """Return the voice of a thing of a material; the larger, the lower. No two are quite the same."""
        detuned = np.asarray(ratios) * (1 + 0.02 * random.standard_normal(len(ratios)))
        frequencies = material.pitch_hz / size * detuned
        decays = material.alpha + material.beta * frequencies**2
        gains = np.exp(-((frequencies / material.cutoff_hz) ** 2)) * random.uniform(0.4, 1.0, len(ratios))
        return cls(frequencies, decays, material.loudness * gains / max(np.sqrt((gains**2).sum()), 1e-6))

    def struck(self, *, sample_rate_hz: int, strength: float, random: np.random.Generator) -> np.ndarray:
        """Return what is heard from the moment of a blow (samples,): the place of the blow colours it, a harder one is brighter."""
        highest = 0.45 * sample_rate_hz
        heard = (self.frequencies < highest) & (self.gains > 1e-4)
        heard[self.frequencies.argmin()] = True
        frequencies, decays = np.minimum(self.frequencies[heard], highest), self.decays[heard]
        gains = self.gains[heard] * random.uniform(0.6, 1.0, heard.sum()) * strength ** (1 + 0.15 * np.arange(heard.sum()))
        seconds = np.arange(int(INAUDIBLE / decays.min() * sample_rate_hz)) / sample_rate_hz
        modes = np.exp(-decays[:, None] * seconds) * np.sin(2 * np.pi * frequencies[:, None] * seconds)
        click = random.standard_normal(len(seconds)) * np.exp(-seconds * 900)
        return gains @ modes + 0.12 * strength * click
