"""What a file says of its making: written into every picture (and by `sound_files` into every sound), read back by `tonggan inspect`.

Three forms, for three kinds of readers: the `parameters` text of A1111 (which web interfaces and galleries read), our own JSON, and the IPTC mark
`trainedAlgorithmicMedia` in XMP (which says that a trained algorithm made the picture).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities.image import flatten, open_unchanged, reading_exif

MARK = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
ANIMATED = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
LARGEST_SEGMENT = 65_533
"""Bytes of metadata that a JPEG can hold in one piece."""
USER_COMMENT = 0x9286
EXIF_FOLDER = 0x8769
XMP_TEXT = "XML:com.adobe.xmp"


@dataclass(frozen=True)
class Provenance:
    """How a file was made. `settings` are the decoder's (`num_inference_steps`, `guidance_scale`, `solver`); `created` is an ISO date."""

    prompt: str | None
    negative_prompt: str | None
    seed: int
    model: str
    model_hash: str
    settings: Mapping[str, Any]
    size: tuple[int, int] | None
    """Width and height in pixels; None where nothing is to be seen."""
    software: str
    created: str
    references: tuple[str, ...] = ()
    """Names of the training rows that the model's memory recalled for the prompt."""
    start: str | None = None
    """Name of the picture that it was made from; None where it began as noise."""


def parameters_text(provenance: Provenance) -> str:
    """Return the text that A1111 writes: prompt, negative prompt, then `Name: value` pairs on one line."""
    settings = provenance.settings
    pairs = {
        "Steps": settings.get("num_inference_steps"),
        "Sampler": settings.get("solver"),
        "CFG scale": settings.get("guidance_scale"),
        "Seed": provenance.seed,
        "Size": provenance.size and f"{provenance.size[0]}x{provenance.size[1]}",
        "Model hash": provenance.model_hash[:10],
        "Model": provenance.model,
        "Version": provenance.software,
    }
    lines = [provenance.prompt or ""] + ([f"Negative prompt: {provenance.negative_prompt}"] if provenance.negative_prompt else [])
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in pairs.items() if value is not None)])


def comment_text(provenance: Provenance) -> str:
    """Return `parameters_text` with our own JSON on a line below: for formats that have one place for words."""
    return f"{parameters_text(provenance)}\ntonggan: {json.dumps(asdict(provenance), ensure_ascii=False)}"


def provenance_in(text: str) -> Provenance | None:
    """Return what our JSON, alone or at the end of a comment, says; None where it is not ours."""
    try:
        facts = json.loads(text.rpartition("\ntonggan: ")[2])
        size = None if facts["size"] is None else tuple(facts["size"])
        return Provenance(**(facts | {"size": size, "references": tuple(facts.get("references", ()))}))
    except (ValueError, TypeError, KeyError):
        return None


def xmp_packet(software: str) -> str:
    """Return the XMP packet with the IPTC digital source type."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'Iptc4xmpExt:DigitalSourceType="{MARK}" xmp:CreatorTool="{escape(software)}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def check_ending(path: Path, *, moving: bool = False, where: str = "") -> str:
    """Return the format that a picture, or an animation where it is `moving`, has by its ending.

    Raises `UserError`, beginning with `where` (the path, if not given), for an ending that is not written.
    """
    known = ANIMATED if moving else FORMATS
    kind = known.get(path.suffix.lower())
    if kind is None:
        what = "animations" if moving else "pictures"
        raise UserError(f"{where or path}: {what} are not written as '{path.suffix}'. Known: {', '.join(known)}.")
    return kind


def save_picture(
    picture: Image.Image,
    path: Path,
    provenance: Provenance,
    *,
    include_prompt: bool = True,
    frames: Sequence[Image.Image] = (),
    frame_seconds: float = 0.08,
) -> None:
    """Write a picture with its provenance, in the format of the file's ending; with `frames` behind it as an endless animation.

    Without `include_prompt` neither prompt is written, nor the names of references and of the picture that it began from, which give it away; the
    mark, seed and model are. Raises `UserError` for an unknown ending or a full disk.
    """
    kind = check_ending(path, moving=bool(frames))
    moving: dict[str, Any] = {"save_all": True, "append_images": list(frames), "duration": round(frame_seconds * 1000), "loop": 0} if frames else {}
    told = provenance if include_prompt else replace(provenance, prompt=None, negative_prompt=None, references=(), start=None)
    xmp = xmp_packet(told.software)
    whole = comment_text(told)
    with replacing(path) as beside:
        if kind == "PNG":
            info = PngInfo()
            info.add_itxt("parameters", parameters_text(told))
            info.add_itxt("tonggan", json.dumps(asdict(told), ensure_ascii=False))
            info.add_itxt(XMP_TEXT, xmp)
            picture.save(beside, format=kind, pnginfo=info, **moving)
        elif kind == "GIF":
            picture.save(beside, format=kind, comment=f"{MARK}\n{whole}".encode(), **moving)
        else:
            exif = Image.Exif()
            exif.get_ifd(EXIF_FOLDER)[USER_COMMENT] = b"UNICODE\0" + whole.encode("utf-16-be")
            if kind == "JPEG" and len(exif.tobytes()) > LARGEST_SEGMENT:
                raise UserError(
                    f"{path}: what it says of itself is longer than a JPEG can hold: the prompt. Write a PNG or WebP, or leave the prompt out."
                )
            picture.convert("RGB").save(beside, format=kind, quality=95, exif=exif, xmp=xmp.encode(), **moving)


def save_marked(picture: Image.Image, path: Path) -> None:
    """Write a picture as a PNG that says no more than that a trained algorithm made it (contact sheets, pictures that were drawn to be measured)."""
    info = PngInfo()
    info.add_itxt(XMP_TEXT, xmp_packet("tonggan"))
    with replacing(path) as beside:
        picture.save(beside, format="PNG", pnginfo=info)


def _opened(path: Path) -> Image.Image:
    picture = open_unchanged(path)
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: the picture is truncated or broken ({error}).") from error
    return picture


def _comment(picture: Image.Image) -> str:
    if isinstance(picture.info.get("comment"), bytes) and picture.format == "GIF":
        return picture.info["comment"].decode("utf-8", "replace").removeprefix(f"{MARK}\n")
    value: Any = b""
    with reading_exif():
        value = picture.getexif().get_ifd(EXIF_FOLDER).get(USER_COMMENT, b"")
    if not isinstance(value, bytes):
        return str(value)
    return value[8:].decode("utf-16-be", "replace") if value.startswith(b"UNICODE\0") else value.decode("utf-8", "replace")


def read_provenance(path: Path) -> Provenance | None:
    """Return what we wrote into a picture, or None where it is not ours; raises `UserError` where the file cannot be read."""
    picture = _opened(path)
    return provenance_in(picture.info.get("tonggan") or _comment(picture))


def inspect_picture_file(path: Path) -> dict[str, Any]:
    """Return what a picture file says of itself: format, size, the mark of trained algorithms, our provenance, and any A1111 `parameters`."""
    picture = _opened(path)
    provenance = read_provenance(path)
    xmp = picture.info.get(XMP_TEXT) or picture.info.get("xmp") or b""
    xmp = picture.info.get("comment", b"") if picture.format == "GIF" else xmp
    marked = MARK in (xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp))
    facts: dict[str, Any] = {"file": str(path), "format": picture.format, "size": list(flatten(picture).size), "made_by_trained_algorithm": marked}
    facts["provenance"] = None if provenance is None else asdict(provenance)
    foreign = picture.info.get("parameters") or _comment(picture)
    return facts if not foreign else facts | {"parameters": foreign.partition("\ntonggan: ")[0]}
