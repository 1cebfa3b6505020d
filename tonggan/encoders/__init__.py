"""Encoders: inputs of one modality -> `Latent`."""

from tonggan.encoders.audio import AudioTransformer
from tonggan.encoders.image import ImageConvolutional
from tonggan.encoders.image_pretrained import ImagePretrained
from tonggan.encoders.image_transformer import ImageTransformer
from tonggan.encoders.pretrained import TextPretrained
from tonggan.encoders.text import TextTransformer
from tonggan.encoders.video import VideoTransformer
from tonggan.parts import Encoder

ENCODERS: dict[str, type[Encoder]] = {
    "text_transformer": TextTransformer,
    "text_pretrained": TextPretrained,
    "image_convolutional": ImageConvolutional,
    "image_transformer": ImageTransformer,
    "image_pretrained": ImagePretrained,
    "video_transformer": VideoTransformer,
    "audio_transformer": AudioTransformer,
}
