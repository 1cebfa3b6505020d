"""Record clips of a game with its own sound: python scripts/record_game_clips.py DIR [--clips 1000] [--seed 1]

A scripted player plays Freedoom (BSD 3-Clause) in ViZDoom (MIT). Clips of 4 s, 128x96 at 17.5 fps, sound of 22,050 Hz; metadata.jsonl has captions and what
happened when. All of them are for training. Needs `pip install vizdoom` and Debian's libopenal1; a minute brings about a hundred clips.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, cast

import numpy as np
import typer
import vizdoom
from vizdoom import Button, GameVariable

from tonggan.files import replacing
from tonggan.modalities import video
from tonggan.progress import progress_bars

TICS = 35
"""Of the engine, a second; a frame is taken every two."""
FRAMES, TIMES_A_SECOND = 70, 17.5
SIZE = (128, 96)
RATE_HZ = 22_050
SCENARIOS = {
    "defend_the_center": 103,
    "defend_the_line": 89,
    "deadly_corridor": 88,
    "take_cover": 47,
    "health_gathering_supreme": 46,
    "deathmatch": 135,
    "map01": 76,
    "map02": 38,
    "map03": 43,
    "map05": 50,
    "map07": 47,
    "map11": 46,
    "map16": 46,
}
"""How many clips each gives of every 854."""
WEAPONS = {1: "a chainsaw", 2: "a pistol", 3: "a shotgun", 4: "a chaingun", 5: "a rocket launcher", 6: "a plasma rifle"}
MONSTERS = {
    "DoomImp": "a serpentipede (imp)",
    "Demon": "a flesh worm (demon)",
    "Zombieman": "a zombie",
    "ShotgunGuy": "a shotgun zombie",
    "MarineChainsawVzd": "a soldier",
    "ChaingunGuy": "a minigun zombie",
    "HellKnight": "a pain bringer",
}
"""What they are called in Freedoom, by their names in Doom."""
COUNTED = {"kill": GameVariable.KILLCOUNT, "hit": GameVariable.HITCOUNT, "pickup": GameVariable.ITEMCOUNT, "player hurt": GameVariable.HITS_TAKEN}
DEADLY = "deadly_corridor"
TURNS = (Button.TURN_LEFT, Button.TURN_RIGHT)
STEPS = (Button.MOVE_LEFT, Button.MOVE_RIGHT)


@dataclass
class Recording:
    """A clip as it is recorded.

    Attributes:
        frames: uint8 (3, height, width), one every two tics.
        sound: int16 (samples, 2), a tic each.
        events: [second, what].
        seen: monsters by how many frames show them.
    """

    frames: list[np.ndarray] = field(default_factory=list)
    sound: list[np.ndarray] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


def begun(scenario: str, seed: int) -> vizdoom.DoomGame:
    """Return the game at the beginning of its first episode."""
    game = vizdoom.DoomGame()
    if scenario.startswith("map"):
        game.set_doom_game_path(str(Path(vizdoom.__file__).with_name("freedoom2.wad")))
        game.set_doom_map(scenario)
        game.set_episode_timeout(90 * TICS)
    else:
        game.load_config(str(Path(vizdoom.scenarios_path) / f"{scenario}.cfg"))
    if scenario.startswith("map") or scenario == "deathmatch":
        game.set_available_buttons([Button.ATTACK, Button.MOVE_FORWARD, *TURNS, *STEPS, Button.USE])
    game.set_doom_skill(3)  # at the hardest, which one scenario has, the game takes no orders
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.CRCGCB)
    game.set_window_visible(False)
    for shown in ("hud", "messages", "decals", "effects_sprites", "screen_flashes"):
        getattr(game, f"set_render_{shown}")(False)
    game.set_labels_buffer_enabled(True)
    game.set_sound_enabled(True)
    game.set_audio_buffer_enabled(True)
    game.set_audio_sampling_rate(vizdoom.SamplingRate.SR_22050)
    game.set_audio_buffer_size(1)
    game.add_game_args("+snd_efx 0 +snd_musicvolume 0")  # with EFX some builds of OpenAL stop on an assertion
    game.set_seed(seed)
    game.init()
    return game


def arm(game: vizdoom.DoomGame, scenario: str, random: np.random.Generator) -> None:
    """Let the player live where he would die within a clip; give him, where he is free to choose, all weapons, and take one of them in hand."""
    if scenario == DEADLY:
        game.send_game_command("god")
    if Button.USE in game.get_available_buttons():
        game.send_game_command("give weapons")
        game.send_game_command("give ammo")
        game.advance_action()  # it has them from the next tic on
        weapon = random.choice(list(WEAPONS), p=[0.1, 0.1, 0.27, 0.19, 0.24, 0.1])
        game.send_game_command(f"use {('', 'Chainsaw', 'Pistol', 'Shotgun', 'Chaingun', 'RocketLauncher', 'PlasmaRifle')[weapon]}")


class Player:
    """Walks, turns to what he sees, fires in bursts, and lets nothing of it last."""

    def __init__(self, buttons: Sequence[Button], random: np.random.Generator) -> None:
        self.buttons, self.random = list(buttons), random
        self._held: dict[Button, int] = {}
        self._restless = random.uniform(0.3, 1.0)
        self._trigger = random.uniform(0.004, 0.05)

    def act(self, aim: float | None, *, stuck: bool) -> list[float]:
        """Return what is pressed in this tic; `aim` is how far the nearest monster stands right of the middle, in widths of the picture."""
        random = self.random
        self._held = {button: tics - 1 for button, tics in self._held.items() if tics > 1}
        if aim is not None and abs(aim) < 0.06:
            self._held = {button: tics for button, tics in self._held.items() if button not in TURNS}
            if random.random() < 0.15:
                self._held[Button.ATTACK] = int(random.integers(2, 12))
        elif aim is not None and random.random() < 0.6:
            self._held |= {TURNS[int(aim > 0)]: 2}
        elif not any(turn in self._held for turn in TURNS) and random.random() < (0.3 if stuck else 0.03 * self._restless):
            self._held[TURNS[int(random.integers(2))]] = int(random.integers(3, 18))
        if random.random() < self._trigger:
            self._held[Button.ATTACK] = int(random.integers(2, 9))
        if random.random() < 0.04:
            self._held[Button.MOVE_FORWARD] = int(random.integers(10, 50))
        if random.random() < 0.02:
            self._held[STEPS[int(random.integers(2))]] = int(random.integers(5, 20))
        if random.random() < 0.05:
            self._held[Button.USE] = 1
        return [float(button in self._held) for button in self.buttons]


def nearest(state: Any) -> float | None:
    """Return where the largest monster stands, from -0.5 (left) to 0.5; None where there is none."""
    monsters = [label for label in state.labels if label.object_name in MONSTERS]
    if not monsters:
        return None
    largest = max(monsters, key=lambda label: label.height)
    return float((largest.x + largest.width / 2) / state.screen_buffer.shape[2] - 0.5)


def record(game: vizdoom.DoomGame, player: Player) -> Recording | None:
    """Play for the length of a clip; None where the episode ends before."""
    clip = Recording()
    scale = np.array(game.get_state().screen_buffer.shape[1:])
    rows, columns = (np.arange(length) * scale[axis] // length for axis, length in ((0, SIZE[1]), (1, SIZE[0])))
    counts = {what: game.get_game_variable(variable) for what, variable in COUNTED.items()}
    ammunition = game.get_game_variable(GameVariable.SELECTED_WEAPON_AMMO)
    place = (0.0, 0.0)
    for tic in range(2 * FRAMES):
        now = (game.get_game_variable(GameVariable.POSITION_X), game.get_game_variable(GameVariable.POSITION_Y))
        state = game.get_state()
        if tic % 2 == 1:  # the picture of the middle of its sound, as in the clips that this project is measured on
            clip.frames.append(state.screen_buffer[:, rows][:, :, columns])
            clip.seen.update({label.object_name for label in state.labels or () if label.object_name in MONSTERS})
        game.make_action(player.act(nearest(state), stuck=now == place))
        place = now
        if game.is_episode_finished() or (state := game.get_state()) is None:
            return None
        left = game.get_game_variable(GameVariable.SELECTED_WEAPON_AMMO)
        happened = ["shot"] if left < ammunition else []
        ammunition = left
        for what, variable in COUNTED.items():
            value = game.get_game_variable(variable)
            happened += [what] if value > counts[what] else []
            counts[what] = value
        clip.events += [(round(tic / TICS, 2), what) for what in happened]
        clip.sound.append(cast(np.ndarray, state.audio_buffer))
    return clip


def caption(clip: Recording, weapon: str) -> str:
    """Say what happens, as the clips that this project is measured on say it."""
    times = Counter(what for _, what in clip.events)
    monsters = " and ".join(MONSTERS[name] for name, frames in clip.seen.most_common(2) if frames > 8)
    said = []
    if times["shot"]:
        often = "once" if times["shot"] == 1 else f"{times['shot']} times"
        said.append(f"fires {weapon} {often}" + (f" at {monsters}" if monsters else ""))
    elif weapon == WEAPONS[1] and times["hit"]:
        said.append(f"swings {weapon}" + (f" at {monsters}" if monsters else ""))
    elif monsters:
        said.append(f"faces {monsters}")
    said += [f"kills {times['kill']}"] if times["kill"] else []
    said += ["is hurt"] if times["player hurt"] else []
    said += ["picks up an item"] if times["pickup"] else []
    return f"first-person shooter game: the player {' and '.join(said) or 'walks through a level'}"


def clips(scenario: str, count: int, seed: int) -> Iterator[tuple[Recording, str]]:
    """Yield clips of a scenario with their captions, two of an episode at most."""
    random = np.random.default_rng([seed, list(SCENARIOS).index(scenario)])
    game = begun(scenario, int(random.integers(2**31)))
    made = 0
    while made < count:
        game.set_seed(int(random.integers(2**31)))
        game.new_episode()
        arm(game, scenario, random)
        player = Player(game.get_available_buttons(), random)
        for _ in range(2):
            for _ in range(int(random.integers(TICS, 4 * TICS))):
                if not game.is_episode_finished():
                    game.make_action(player.act(nearest(game.get_state()), stuck=False))
            weapon = WEAPONS.get(int(game.get_game_variable(GameVariable.SELECTED_WEAPON)), "a weapon")
            if made < count and not game.is_episode_finished() and (clip := record(game, player)) is not None:
                made += 1
                yield clip, caption(clip, weapon)
    game.close()


def main(
    out: Annotated[Path, typer.Argument(help="The new folder.")],
    number: Annotated[int, typer.Option("--clips", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Another one gives other clips.")] = 1,
) -> None:
    """Record clips of Freedoom, with captions and events, for training."""
    shares = np.round(np.cumsum(list(SCENARIOS.values())) / sum(SCENARIOS.values()) * number).astype(int)
    with (
        replacing(out.resolve()) as beside,
        TemporaryDirectory() as playing,
        chdir(playing),
        progress_bars() as progress,
    ):  # the game writes where it is run
        (beside / "clips").mkdir(parents=True)
        with open(beside / "metadata.jsonl", "w", encoding="utf-8") as table:
            done = 0
            for scenario, count in zip(SCENARIOS, np.diff(shares, prepend=0), strict=True):
                for index, (clip, said) in enumerate(clips(scenario, int(count), seed)):
                    name = f"clips/{scenario}_{seed}_{index:04d}.mp4"
                    samples = np.concatenate(clip.sound).T.astype(np.float32) / 2**15
                    video.encode(
                        beside / name,
                        np.stack(clip.frames),
                        frames_per_second=TIMES_A_SECOND,
                        samples=samples,
                        sample_rate_hz=RATE_HZ,
                        lossless=False,
                    )
                    row = {"file_name": name, "captions": [said], "scenario": scenario, "events": clip.events, "split": "train"}
                    table.write(json.dumps(row) + "\n")
                    done += 1
                    progress("recording", done, number)


if __name__ == "__main__":
    typer.run(main)
