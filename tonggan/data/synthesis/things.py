"""Things that fall, bounce, slide and shatter: where each is at any time, and when and how hard it is heard.

Lengths are in heights of the picture, y grows downwards, gravity is so weak that a fall takes about half a second: the camera is a little slow.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tonggan.data.synthesis.materials import BALL_RATIOS, BAR_RATIOS, MATERIALS, Material, Voice

GRAVITY = 4.6
"""Heights of the picture per square second."""
FLOOR = 0.84
LEAST_INTERVAL_SECONDS = 0.13
"""A bounce that would be shorter is none: the thing lies still."""
FRICTION = 0.22


@dataclass(frozen=True)
class Event:
    """Something heard at a second: what, of which material, how hard (1 is a fall from the top of the picture); a slide goes on for a while."""

    second: float
    what: str
    material: str
    strength: float
    lasts_seconds: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Where a thing is at each of some times: centre (times, 2), angle in radians (times,), and whether it is whole (times,)."""

    centre: np.ndarray
    angle: np.ndarray
    whole: np.ndarray


@dataclass(frozen=True)
class Thing:
    """One thing: shape (`ball`, `bar` or `block`), half extents in picture heights, voice, events, and where it is at the times (times,) asked for."""

    shape: str
    material: Material
    half: tuple[float, float]
    voice: Voice
    events: tuple[Event, ...]
    pose: Callable[[np.ndarray], Pose]
    shards: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    """Velocity (x, y) and size of each piece it breaks into (shards, 3)."""


def _speed_of_fall(height: float) -> float:
    return float(np.sqrt(2 * GRAVITY * height))


def ball(random: np.random.Generator, *, lane: tuple[float, float], seconds: float) -> Thing:
    """Return a ball that is let go, falls and bounces until it lies still; one of a brittle material may shatter instead."""
    material = MATERIALS[str(random.choice(list(MATERIALS)))]
    radius = random.uniform(0.055, 0.095)
    drop, release = random.uniform(0.25, 0.6), random.uniform(0.1, 0.6) * seconds
    shatters = material.brittle and random.random() < 0.6
    speed, second = _speed_of_fall(drop), release + np.sqrt(2 * drop / GRAVITY)
    flights = [(release, 0.0, drop)]  # (begins, upward speed, height above rest)
    events = []
    while second < seconds:
        events.append(Event(second, "shatter" if shatters else "impact", material.name, speed / _speed_of_fall(0.6)))
        speed *= material.restitution
        if shatters or 2 * speed / GRAVITY < LEAST_INTERVAL_SECONDS:
            flights.append((second, 0.0, 0.0))
            break
        flights.append((second, speed, 0.0))
        second += 2 * speed / GRAVITY
    travel = max(0.0, lane[1] - lane[0] - 2 * radius)
    x, drift = lane[0] + radius + travel * random.uniform(0, 1), random.uniform(-1, 1) * 0.12
    begins = np.asarray([begin for begin, _, _ in flights])

    def pose(times: np.ndarray) -> Pose:
        current = np.clip(np.searchsorted(begins, times, side="right") - 1, 0, None)
        since = np.clip(times - begins[current], 0, None)
        up, high = (np.asarray([flight[part] for flight in flights])[current] for part in (1, 2))
        height = np.where((up > 0) | (high > 0), high + up * since - GRAVITY * since**2 / 2, 0)
        moved = np.clip(x + drift * np.clip(times - release, 0, begins[-1] - release), lane[0] + radius, lane[1] - radius)
        centre = np.stack([moved, FLOOR - radius - np.clip(height, 0, None)], axis=1)
        whole = times < begins[-1] if shatters and events else np.ones(len(times), dtype=bool)
        return Pose(centre, (moved - x) / radius, whole)

    voice = Voice.of(material, ratios=BALL_RATIOS, size=radius / 0.075, random=random)
    return Thing("ball", material, (radius, radius), voice, tuple(events), pose, _shards(random, radius) if shatters else np.zeros((0, 3)))


def _shards(random: np.random.Generator, radius: float) -> np.ndarray:
    count = int(random.integers(9, 15))
    return np.stack([random.normal(0, 0.3, count), -random.uniform(0.1, 0.75, count), random.uniform(0.2, 0.42, count) * radius], axis=1)


def bar(random: np.random.Generator, *, lane: tuple[float, float], seconds: float) -> Thing:
    """Return a bar that falls aslant: one end strikes the floor, then the other."""
    material = MATERIALS[str(random.choice([name for name, each in MATERIALS.items() if not each.brittle and name != "rubber"]))]
    length, thick = random.uniform(0.1, 0.14), random.uniform(0.018, 0.028)
    tilt = random.uniform(0.35, 0.7) * random.choice([-1, 1])
    drop, release = random.uniform(0.2, 0.45), random.uniform(0.1, 0.6) * seconds
    first = release + float(np.sqrt(2 * drop / GRAVITY))
    second = first + random.uniform(0.16, 0.3)
    strengths = _speed_of_fall(drop) / _speed_of_fall(0.6), 0.75 * _speed_of_fall(drop) / _speed_of_fall(0.6)
    found = zip((first, second), strengths, strict=True)
    events = tuple(Event(when, "impact", material.name, strength) for when, strength in found if when < seconds)
    x = random.uniform(lane[0] + length, max(lane[0] + length, lane[1] - length))

    def pose(times: np.ndarray) -> Pose:
        height = np.clip(drop - GRAVITY * np.clip(times - release, 0, None) ** 2 / 2, 0, None)
        angle = tilt * (1 - np.clip((times - first) / (second - first), 0, 1) ** 2)
        reach = length * np.abs(np.sin(angle)) + thick * np.cos(angle)
        return Pose(np.stack([np.full(len(times), x), FLOOR - reach - height], axis=1), angle, np.ones(len(times), dtype=bool))

    return Thing("bar", material, (length, thick), Voice.of(material, ratios=BAR_RATIOS, size=length / 0.12, random=random), events, pose)


def block(random: np.random.Generator, *, lane: tuple[float, float], seconds: float) -> Thing:
    """Return a block on the floor that is pushed, slides and stops."""
    material = MATERIALS[str(random.choice(["wood", "stone", "metal"]))]
    half = (random.uniform(0.05, 0.08), random.uniform(0.04, 0.06))
    room = max(0.05, lane[1] - lane[0] - 2 * half[0])
    slows = FRICTION * GRAVITY
    speed = float(np.sqrt(2 * slows * room * random.uniform(0.6, 1.0)))
    lasts = speed / slows
    begins = random.uniform(0.1, 0.75) * (seconds - lasts)
    way = random.choice([-1, 1])
    x = lane[0] + half[0] if way > 0 else lane[1] - half[0]

    def pose(times: np.ndarray) -> Pose:
        since = np.clip(times - begins, 0, lasts)
        moved = x + way * (speed * since - slows * since**2 / 2)
        return Pose(np.stack([moved, np.full(len(times), FLOOR - half[1])], axis=1), np.zeros(len(times)), np.ones(len(times), dtype=bool))

    events = (Event(begins, "slide", material.name, speed, lasts),)
    return Thing("block", material, half, Voice.of(material, ratios=BAR_RATIOS, size=half[0] / 0.065, random=random), events, pose)


KINDS: dict[str, Callable[..., Thing]] = {"ball": ball, "bar": bar, "block": block}
"""What a scene is made of, and how."""
