"""Decoders: `Latent` -> one modality."""

from tonggan.decoders.audio_flow import AudioFlow
from tonggan.decoders.image_deconv import ImageDeconv
from tonggan.decoders.image_flow import ImageFlow
from tonggan.decoders.image_stylegan import ImageStylegan
from tonggan.decoders.text_autoregressive import TextAutoregressive
from tonggan.parts import Decoder

DECODERS: dict[str, type[Decoder]] = {
    "image_deconv": ImageDeconv,
    "image_flow": ImageFlow,
    "image_stylegan": ImageStylegan,
    "text_autoregressive": TextAutoregressive,
    "audio_flow": AudioFlow,
}
