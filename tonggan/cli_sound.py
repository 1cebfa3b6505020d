"""The verb that makes sounds: `sound`. Heavy imports happen inside, as in `cli`."""

from pathlib import Path
from typing import Annotated

import typer

from tonggan.cli_options import Dtype, Steps, TrustCode, given_settings
from tonggan.errors import UserError
from tonggan.progress import progress_bars, warn
from tonggan.strict import LARGEST_SEED


def sound(
    clip: Annotated[Path | None, typer.Argument(help="A video. Without one, --prompt alone says what is to be heard.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="MP4, MOV, MKV or WebM (pictures copied), WAV or FLAC; with -n the number is added. Default: out/sound, ending as the clip does, or .wav.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many sounds.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Sound i is made from seed + i.")] = 0,
    prompt: Annotated[str | None, typer.Option(help="What is to be heard, in words; for models that take a prompt.")] = None,
    mix: Annotated[float, typer.Option(help="Share of the clip's own sound in what is heard.")] = 0.0,
    keep_original: Annotated[bool, typer.Option("--keep-original", help="Keep the clip's own sound as a further track.")] = False,
    preview: Annotated[Path | None, typer.Option(help="A PNG of key frames over waveform and spectrogram, with the onsets.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A model that ships, a model folder, or a run. Default: foley-fast, of words alone spoken-digits.")
    ] = None,
    trust_code: TrustCode = False,
    guidance_scale: Annotated[
        float | None, typer.Option(help="How closely what is seen is followed, or words without a clip; 1 is unguided.")
    ] = None,
    prompt_guidance_scale: Annotated[
        float | None, typer.Option(help="How closely the prompt beside a clip is followed (default: as closely as what is seen).")
    ] = None,
    num_inference_steps: Steps = None,
    dtype: Dtype = None,
) -> None:
    """Give a silent clip its sound, in time with what is seen; the pictures are copied, not encoded again. Called again after it was stopped, it goes on.

    Without a clip, words become a sound.
    """
    from tonggan.modalities.sound_files import VIDEO_FORMATS
    from tonggan.pipeline import Tonggan
    from tonggan.sound_of_words import sound_words
    from tonggan.sounding import Request, sound_clip

    if clip is None and prompt is None:
        raise UserError("there is nothing to make a sound of: name a clip, or say with --prompt what is to be heard.")
    if prompt is None and prompt_guidance_scale is not None:
        raise UserError("--prompt-guidance-scale says how closely a prompt is followed: give one with --prompt, or leave it out.")
    if clip is None and prompt_guidance_scale is not None:
        raise UserError("--prompt-guidance-scale is for a prompt beside a clip; how closely words alone are followed says --guidance-scale.")
    wishes: dict[str, object] = {"guidance_scale": guidance_scale, "prompt_guidance_scale": prompt_guidance_scale}
    wishes |= {"num_inference_steps": num_inference_steps, "dtype": dtype}
    request = Request(seed=seed, settings=given_settings(wishes), mix=mix, keep_original=keep_original, prompt=prompt)
    loaded = Tonggan.from_pretrained(model or ("spoken-digits" if clip is None else "foley-fast"), trust_code=trust_code)
    if clip is None:
        for path in sound_words(loaded, output or Path("out/sound.wav"), n=n, request=request, warn=warn, preview=preview):
            print(path)
        return
    output = output or Path("out/sound").with_suffix(clip.suffix if clip.suffix.lower() in VIDEO_FORMATS else ".mp4")
    with progress_bars() as show:
        for path in sound_clip(loaded, clip, output, n=n, request=request, warn=warn, preview=preview, progress=show):
            print(path)
