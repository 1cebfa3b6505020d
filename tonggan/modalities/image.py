"""Pictures: file <-> tensor, and what is to be known of a file before it is trusted."""

import io
import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from tonggan.errors import UnusableFileError, UserError
from tonggan.files import replacing
from tonggan.modalities import Framing, Modality, Store

MAX_PIXELS = 178_956_970
"""More pixels than this are taken for a decompression bomb (Pillow's own limit for an error)."""
BOMB = "decompression-bomb"
MEMORISED_PSNR = 25.0
"""Peak signal-to-noise ratio in dB from which a picture counts as learned by heart."""
STORED_QUALITY = 90
"""WebP quality of pictures in a memory: about a kilobyte for a drawing of 64 x 64."""
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""File endings by which pictures are looked for in a folder."""
ORIENTATION = 0x0112
"""The tag of EXIF that says how a camera was held."""
BROKEN_EXIF = (SyntaxError, struct.error, ValueError, TypeError, LookupError, ArithmeticError, OSError, EOFError)
"""What Pillow raises, at one place or another, for EXIF that is cut off or written wrongly; the picture itself may be whole."""
Fit = Literal["crop", "pad"]


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture file: `remarks` are handled, `problems` make it unusable."""

    format: str = ""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    remarks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def open_picture(source: Path | bytes, *, name: str = "") -> Image.Image:
    """Return the picture upright (as it is where its EXIF is broken), RGB, 8 bit, on white where it is transparent; of an animation the first frame.

    Raises `UserError` that names the file where it is missing, empty, not a picture, cut off, or larger than `MAX_PIXELS`.
    """
    called = name or (str(source) if isinstance(source, Path) else "picture")
    picture = open_unchanged(source, name=called)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture.load()
            with reading_exif():
                ImageOps.exif_transpose(picture, in_place=True)  # a copy would not know its format any more
            return flatten(picture)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{called}: the picture is truncated or broken ({error}).") from error


def open_unchanged(source: Path | bytes, *, name: str = "") -> Image.Image:
    """Return the picture as it is, its pixels not read yet; raises `UnusableFileError` where `open_picture` raises `UserError`, but for what is cut off."""
    called = name or (str(source) if isinstance(source, Path) else "picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            data = source.read_bytes() if isinstance(source, Path) else source
            if not data:
                raise UnusableFileError(f"{called}: the file is empty.", problem="empty")
            picture = Image.open(io.BytesIO(data))
    except FileNotFoundError as error:
        raise UnusableFileError(f"{called}: no such file.", problem="missing") from error
    except IsADirectoryError as error:
        raise UnusableFileError(f"{called}: a folder, not a picture.") from error
    except Image.DecompressionBombError as error:
        raise UnusableFileError(f"{called}: a decompression-bomb (more than {MAX_PIXELS:,} pixels). Scale it down first.", problem=BOMB) from error
    except UserError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UnusableFileError(f"{called}: not a picture that can be read, or broken.") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise UnusableFileError(
            f"{called}: a decompression-bomb ({picture.width} x {picture.height} pixels, the limit is {MAX_PIXELS:,}). Scale it down first.",
            problem=BOMB,
        )
    return picture


@contextmanager
def reading_exif() -> Iterator[None]:
    """Let what Pillow raises, or warns of, where EXIF is broken end the block and nothing else."""
    with warnings.catch_warnings(), suppress(*BROKEN_EXIF):
        warnings.simplefilter("ignore")
        yield


def flatten(picture: Image.Image) -> Image.Image:
    """Return any mode as RGB: greys of more than 8 bits scaled, transparency laid on white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float32)
        return Image.fromarray(np.clip(values / _white(picture, values) * 255, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _white(picture: Image.Image, values: np.ndarray) -> float:
    """Return the level of white in greys of more than 8 bits."""
    if picture.mode.startswith("I;16") or (picture.mode, picture.format) == ("I", "PPM"):  # Pillow reads a PGM of 16 bits as `I`, scaled to them
        return 65535.0
    if picture.mode == "F" and values.min(initial=0) >= 0 and values.max(initial=0) <= 1:
        return 1.0
    return 65535.0 if values.max(initial=0) > 255 else 255.0  # 32 bits tell no range: it is guessed


def inspect_picture(source: Path | bytes) -> PictureFacts:
    """Return what there is to say of a picture file; never raises for what the file holds."""
    try:
        picture = open_unchanged(source)
    except UnusableFileError as error:
        return PictureFacts(problems=(error.problem,))
    facts = PictureFacts(picture.format or "", picture.size, picture.mode)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            remarks = tuple(_remarks(picture, _png_depth(source)))
            picture.load()
    except (OSError, SyntaxError, ValueError, EOFError):
        return replace(facts, problems=("truncated",))
    return replace(facts, remarks=remarks)


def _png_depth(source: Path | bytes) -> int:
    """Return the bits a channel that a PNG's header tells (Pillow reads 16-bit colours as 8-bit ones), 0 for other files."""
    if isinstance(source, Path):
        with open(source, "rb") as file:
            head = file.read(25)
    else:
        head = source[:25]
    return head[24] if len(head) == 25 and head.startswith(b"\x89PNG") else 0


def _remarks(picture: Image.Image, png_depth: int) -> list[str]:
    orientation = 1
    with reading_exif():
        orientation = picture.getexif().get(ORIENTATION, 1)
    found = {
        "cmyk": picture.mode == "CMYK",
        "palette": picture.mode in ("P", "PA"),
        "alpha": picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info,
        "16-bit": picture.mode.startswith("I;16") or picture.mode == "I" or png_depth == 16,
        "exif-rotated": orientation not in (0, 1),
        "animated": getattr(picture, "n_frames", 1) > 1,
    }
    return [name for name, is_so in found.items() if is_so]


def square(picture: Image.Image, size: int, *, fit: Fit = "crop") -> Image.Image:
    """Return the picture as `size` x `size`, antialiased: its middle cropped, or all of it padded with white."""
    if picture.size == (size, size):
        return picture
    if fit == "pad":
        return ImageOps.pad(picture, (size, size), Image.Resampling.LANCZOS, color=(255, 255, 255))
    return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)


def to_array(picture: Image.Image) -> np.ndarray:
    """Return uint8 (3, height, width)."""
    return np.ascontiguousarray(np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1))


def to_tensor(picture: Image.Image) -> Tensor:
    """Return float32 (3, height, width) in [-1, 1]."""
    return torch.from_numpy(to_array(picture)).float() / 127.5 - 1


def to_picture(tensor: Tensor) -> Image.Image:
    """Return float (3, height, width) in [-1, 1] as a picture."""
    values = ((tensor.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).numpy())


def psnr(made: Tensor, truth: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio in dB of batches (batch, 3, height, width) in [-1, 1]."""
    errors = ((made - truth) ** 2).flatten(1).mean(1).clamp_min(1e-10)
    return float((10 * torch.log10(4 / errors)).mean())


def preview(made: Tensor, path: Path, framing: Framing) -> None:
    """Write a batch as one PNG, a near-square grid; `path` comes without the ending."""
    columns = math.ceil(math.sqrt(len(made)))
    rows, (height, width) = -(-len(made) // columns), made.shape[-2:]
    sheet = Image.new("RGB", (columns * (width + 2) + 2, rows * (height + 2) + 2), (255, 255, 255))
    for index, tensor in enumerate(made):
        sheet.paste(to_picture(tensor), (2 + index % columns * (width + 2), 2 + index // columns * (height + 2)))
    with replacing(path.with_name(f"{path.name}.png")) as beside:
        sheet.save(beside, format="PNG")


def _to_inputs(pictures: Sequence[Any], framing: Framing) -> Tensor:
    return torch.stack([to_tensor(square(flatten(picture), framing.size, fit=framing.fit)) for picture in pictures])


def _open(path: Path, framing: Framing) -> Image.Image:
    return open_picture(path)


def _misfit(picture: Image.Image, framing: Framing) -> str:
    wanted = (framing.size, framing.size)
    return "" if picture.size == wanted else f"{picture.width} x {picture.height} pixels, not {framing.size} x {framing.size}"


def _to_outputs(made: Tensor, framing: Framing) -> list[Any]:
    return [to_picture(tensor) for tensor in made]


def _closeness(made: Tensor, truth: Tensor) -> tuple[float, str, float]:
    return psnr(made.cpu(), truth.cpu()), "dB", MEMORISED_PSNR


def to_float(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as float32 in [-1, 1]."""
    return pictures.float().div_(127.5).sub_(1)


def _encode(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(array, 0, -1)).save(file, "WEBP", quality=STORED_QUALITY, method=4)
    return file.getvalue()


def _decode(stored: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(stored)) as picture:
        return to_array(picture.convert("RGB"))


def show(picture: Image.Image, made_from: Path | None, path: Path) -> Path:
    """Write one picture as a PNG that says nothing of its making, and return the file."""
    file = path.with_name(f"{path.name}.png")
    with replacing(file) as beside:
        picture.save(beside, format="PNG")
    return file


STORE = Store(_encode, _decode, to_float)
MODALITY = Modality(
    "image", lambda value: isinstance(value, Image.Image), _to_inputs, _to_outputs, show, preview, _closeness, STORE, _open, misfit=_misfit
)
