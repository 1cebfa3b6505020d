"""Scenes: a few things before a moving background, as frames and as sound."""

from dataclasses import dataclass

import numpy as np

from tonggan.data.synthesis.materials import Material
from tonggan.data.synthesis.things import FLOOR, GRAVITY, KINDS, Event, Pose, Thing

LEAST_APART_SECONDS = 0.12
"""No two events of a scene are closer: each can be heard for itself."""
SHARES = {"ball": 0.6, "bar": 0.2, "block": 0.2}
MARGIN = 16
"""Pixels around the picture that are painted, too, so that things may leave it."""


@dataclass(frozen=True)
class Scene:
    """Things, and the seconds it lasts."""

    things: tuple[Thing, ...]
    seconds: float

    @property
    def events(self) -> list[Event]:
        """All that is heard, in order."""
        return sorted((event for thing in self.things for event in thing.events), key=lambda event: event.second)


def compose(random: np.random.Generator, *, seconds: float) -> Scene:
    """Return one to three things, each in a lane of its own, whose events are apart from each other."""
    while True:
        count = int(random.choice([1, 2, 3], p=[0.35, 0.4, 0.25]))
        edges = np.linspace(0.02, 0.98, count + 1)
        kinds = random.choice(list(SHARES), size=count, p=list(SHARES.values()))
        things = tuple(KINDS[str(kind)](random, lane=(edges[i], edges[i + 1]), seconds=seconds) for i, kind in enumerate(kinds))
        scene = Scene(things, seconds)
        times = [event.second for event in scene.events]
        if times and times[-1] < seconds - 0.05 and (len(times) < 2 or min(np.diff(times)) > LEAST_APART_SECONDS):
            return scene


def sound(scene: Scene, random: np.random.Generator, *, sample_rate_hz: int) -> np.ndarray:
    """Return what is heard of a scene, float32 (samples,) in [-1, 1]."""
    heard = np.zeros(round(scene.seconds * sample_rate_hz))
    for thing in scene.things:
        for event in thing.events:
            part = SOUNDS[event.what](thing, event, random, sample_rate_hz)
            first = round(event.second * sample_rate_hz)
            heard[first : first + len(part)] += 0.35 * part[: len(heard) - first]
    return (heard / max(1.0, float(np.abs(heard).max()) / 0.95)).astype(np.float32)


def _impact(thing: Thing, event: Event, random: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    return thing.voice.struck(sample_rate_hz=sample_rate_hz, strength=event.strength, random=random)


def _shatter(thing: Thing, event: Event, random: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A blow, and grains of the pieces' higher voices that thin out, each too soft to be an event of its own."""
    heard = np.zeros(int(0.9 * sample_rate_hz))
    grains = [0.0, *np.sort(random.exponential(0.06, 4 * len(thing.shards)))]
    for number, second in enumerate(grains):
        pitched = type(thing.voice)(thing.voice.frequencies * random.uniform(1.1, 2.6), thing.voice.decays * 2.5, thing.voice.gains)
        strength = event.strength * (1.0 if number == 0 else random.uniform(0.04, 0.2) * np.exp(-second / 0.15))
        part = pitched.struck(sample_rate_hz=sample_rate_hz, strength=strength, random=random)
        first = int(second * sample_rate_hz)
        heard[first : first + len(part)] += part[: max(0, len(heard) - first)]
    return heard


def _slide(thing: Thing, event: Event, random: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Noise through the thing's modes, as loud as it is fast (friction as in van den Doel et al. 2001, section 4)."""
    count = int(event.lasts_seconds * sample_rate_hz)
    kernel = thing.voice.struck(sample_rate_hz=sample_rate_hz, strength=1.0, random=random)[: sample_rate_hz // 8]
    rough = random.standard_normal(count)
    length = count + len(kernel)
    rung = np.fft.irfft(np.fft.rfft(rough, length) * np.fft.rfft(kernel, length), length)[:count]
    speed = np.linspace(1, 0, count) * event.strength
    return 0.5 * speed * rung / max(float(np.abs(rung).std()), 1e-6) * np.minimum(1, np.linspace(0, 1, count) * count / (0.004 * sample_rate_hz))


SOUNDS = {"impact": _impact, "shatter": _shatter, "slide": _slide}
"""What an event is -> (thing, event, random, sample rate) -> what is heard from its second on (samples,)."""


def frames(scene: Scene, random: np.random.Generator, *, size: int, frames_per_second: float) -> np.ndarray:
    """Return what is seen, uint8 (frames, 3, size, size); frame i shows the moment i / frames_per_second."""
    times = np.arange(round(scene.seconds * frames_per_second)) / frames_per_second
    canvas = _background(random, times, size)
    for thing in scene.things:
        pose = thing.pose(times)
        visible = np.flatnonzero(pose.whole)
        _paint(canvas, visible, pose.centre * size, pose.angle, thing.shape, (thing.half[0] * size, thing.half[1] * size), thing.material)
        if len(thing.shards) and not pose.whole.all():
            _paint_shards(canvas, times, thing, pose, size)
    inside = canvas[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    return np.clip(inside, 0, 255).astype(np.uint8).transpose(0, 3, 1, 2)


def _background(random: np.random.Generator, times: np.ndarray, size: int) -> np.ndarray:
    """Return float32 (frames, height, width, 3) with margins: soft drifting waves above a floor."""
    axis = (np.arange(-MARGIN, size + MARGIN) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    base, tint = random.uniform(60, 150, 3), random.uniform(-30, 30, (3, 3))
    pattern = np.zeros((len(times), *x.shape), dtype=np.float32)
    canvas = np.empty((*pattern.shape, 3), dtype=np.float32)
    waves = []
    for _ in range(3):
        fx, fy, drift, phase = random.uniform(-9, 9), random.uniform(-9, 9), random.uniform(-3, 3), random.uniform(0, 2 * np.pi)
        waves.append(np.sin((fx * x + fy * y + phase)[None] + drift * times[:, None, None]).astype(np.float32))
    for channel in range(3):
        canvas[..., channel] = base[channel] + sum(tint[wave, channel] * waves[wave] for wave in range(3))
    on_floor = np.clip((y - FLOOR) * size + 0.5, 0, 1)[None, :, :, None].astype(np.float32)
    ground = (random.uniform(30, 90, 3) + 8 * np.sin(x * random.uniform(20, 60))[..., None]).astype(np.float32)
    return canvas * (1 - on_floor) + ground * on_floor


def _paint(
    canvas: np.ndarray, which: np.ndarray, centre: np.ndarray, angle: np.ndarray, shape: str, half: tuple[float, float], material: Material
) -> None:
    """Blend a thing into the frames `which`, in a patch around its centre alone; edges are smooth over a pixel, so that motion below a pixel shows."""
    reach = int(np.hypot(*half)) + 2
    corner = np.floor(centre[which] - reach).astype(int)
    offsets = np.arange(2 * reach + 1)
    rows, columns = corner[:, 1, None] + offsets + MARGIN, corner[:, 0, None] + offsets + MARGIN
    keep = (rows[:, 0] >= 0) & (columns[:, 0] >= 0) & (rows[:, -1] < canvas.shape[1]) & (columns[:, -1] < canvas.shape[2])
    which, rows, columns, corner = which[keep], rows[keep], columns[keep], corner[keep]
    dx = (corner[:, 0, None] + offsets + 0.5 - centre[which, 0, None])[:, None, :]
    dy = (corner[:, 1, None] + offsets + 0.5 - centre[which, 1, None])[:, :, None]
    cosine, sine = np.cos(angle[which])[:, None, None], np.sin(angle[which])[:, None, None]
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    if shape == "ball":
        outside = np.hypot(dx, dy) - half[0]
        mark = np.where(np.abs(along) < 0.18 * half[0], 0.75, 1.0)  # a stripe, so that rolling shows
    else:
        outside = np.maximum(np.abs(along) - half[0], np.abs(across) - half[1])
        mark = np.ones_like(outside)
    light = 0.8 - 0.25 * (dx + dy) / (half[0] + half[1])
    glint = 160 * material.shine * np.exp(-((dx + 0.35 * half[0]) ** 2 + (dy + 0.35 * half[1]) ** 2) / max(0.15 * half[0] * half[1], 0.5))
    colour = (light * mark)[..., None] * np.asarray(material.colour) + glint[..., None]
    cover = np.clip(0.5 - outside, 0, 1)[..., None]
    place = (which[:, None, None], rows[:, :, None], columns[:, None, :])
    canvas[place] = canvas[place] * (1 - cover) + colour * cover


def _paint_shards(canvas: np.ndarray, times: np.ndarray, thing: Thing, pose: Pose, size: int) -> None:
    broken = np.flatnonzero(~pose.whole)
    since = times[broken] - thing.events[0].second
    where = pose.centre[broken[0]]
    for number, (across, up, half) in enumerate(thing.shards):
        fly = np.minimum(since, -2 * up / GRAVITY)  # until it is down again
        centre = np.zeros((len(times), 2))
        centre[broken, 0] = where[0] + across * fly
        centre[broken, 1] = FLOOR - half + up * fly + GRAVITY * fly**2 / 2
        angle = np.zeros(len(times))
        angle[broken] = number + 9 * fly
        _paint(canvas, broken, centre * size, angle, "bar", (max(half * size, 0.9), max(half * size * 0.6, 0.7)), thing.material)
