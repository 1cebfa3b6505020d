"""Words become a sound, with no clip beside: a caption leads to a window of sound as a model was trained to make it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tonggan.errors import UserError
from tonggan.files import numbered, replacing
from tonggan.modalities.audio import Sound
from tonggan.modalities.onsets import onsets
from tonggan.modalities.sound_files import SOUND_FORMATS, check_ending, save_sound
from tonggan.modalities.timeline import stacked, timeline
from tonggan.pipeline import Tonggan
from tonggan.sounding import LOUDEST, Request, check_preview, provenance


def sound_words(
    model: Tonggan, output: Path, *, n: int = 1, request: Request, warn: Callable[[str], None], preview: Path | None = None
) -> list[Path]:
    """Make `n` sounds of the request's prompt, number i from `seed` + i, and return the files (WAV, FLAC); `preview` is a PNG of their spectrograms.

    Raises `UserError` for an empty prompt, a model that was not trained on text->audio, an output that holds pictures, and wishes that need a clip;
    nothing is written then.
    """
    paths = numbered(output, n)
    for path in paths:
        check_ending(path)
    if output.suffix.lower() not in SOUND_FORMATS:
        raise UserError(f"{output}: words have no pictures. Choose {' or '.join(SOUND_FORMATS)}, or name a clip.")
    if request.mix or request.keep_original:
        raise UserError(f"{'--mix' if request.mix else '--keep-original'} is for the sound of a clip: name one, or leave it out.")
    check_preview(preview)
    made: list[Sound] = model.generate(request.prompt, to="audio", seed=request.seed, n=n, settings=request.settings)
    for line in [*model.guessed(str(request.prompt), "audio"), *model.notices(request.prompt)]:
        warn(line)
    for index, (path, sound) in enumerate(zip(paths, made, strict=True)):
        loudest = max(float(abs(sound.samples).max()), 1e-9)
        level = replace(sound, samples=sound.samples * min(1.0, LOUDEST / loudest))
        save_sound([level], path, provenance(model, request, seed=request.seed + index, size=None))
    if preview is not None:
        with replacing(preview) as beside:
            drawn = [(sound.mono(), sound.sample_rate_hz) for sound in made]
            stacked([timeline([], [heard], rate, marks=[onsets(heard, rate).tolist()]) for heard, rate in drawn]).save(beside, format="PNG")
    return paths
