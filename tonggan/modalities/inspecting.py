"""What any file of a known kind says of its making."""

from pathlib import Path
from typing import Any

from tonggan.modalities import audio, provenance, sound_files, video


def inspect_file(path: Path) -> dict[str, Any]:
    """Return format, size, the mark of trained algorithms and our provenance; raises `UserError` where the file cannot be read."""
    moving = path.suffix.lower() in {*video.ENDINGS, *audio.ENDINGS} - {*provenance.FORMATS, *provenance.ANIMATED}
    return sound_files.inspect_sound_file(path) if moving else provenance.inspect_picture_file(path)
