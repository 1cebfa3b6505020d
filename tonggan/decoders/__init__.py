"""Decoders: `Latent` -> one modality."""

from tonggan.decoders.image_deconv import ImageDeconv
from tonggan.decoders.image_flow import ImageFlow
from tonggan.parts import Decoder

DECODERS: dict[str, type[Decoder]] = {
    "image_deconv": ImageDeconv,
    "image_flow": ImageFlow,
}
