"""Image encoder of any vision transformer that `transformers` knows (ViT, DINOv2, SigLIP, CLIP's image side, timm's models), from a folder or a hub id."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tonggan.encoders.pretrained import PretrainedConfig, keep
from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.parts import Encoder


class ImagePretrainedConfig(PretrainedConfig):
    """Settings of `ImagePretrained`; `model` is `facebook/dinov2-small`, say."""

    kind: Literal["image_pretrained"] = "image_pretrained"


class ImagePretrained(Encoder[ImagePretrainedConfig]):
    """Pictures (batch, 3, height, width) in [-1, 1] -> last hidden states of a pretrained model, `pooled` their mean."""

    modality = "image"
    Config = ImagePretrainedConfig

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ImagePretrainedConfig) -> None:
        super().__init__(config)
        self.processor, network = config.load(self.modality)
        self.network = getattr(network, "vision_model", network)
        settings = self.network.config
        if not hasattr(settings, "hidden_size") or not hasattr(settings, "image_size"):
            raise UserError(
                f"image_pretrained: '{config.model}' is a {type(network).__name__}, not a vision transformer. Name a ViT, DINOv2, SigLIP or CLIP."
            )
        self.width, size = int(settings.hidden_size), settings.image_size
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.register_buffer("mean", torch.tensor(self.processor.image_mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(self.processor.image_std).reshape(3, 1, 1), persistent=False)
        self.network.requires_grad_(config.trainable)

    def train(self, mode: bool = True) -> "ImagePretrained":
        """Keep a frozen network in evaluation mode: its dropout would only add noise."""
        super().train(mode)
        self.network.train(mode and self.config.trainable)
        return self

    def save_assets(self, folder: Path) -> None:
        """Keep what the encoder needs beside its weights."""
        keep(folder / self.config.kind, self.processor, self.network.config)

    def forward(self, inputs: Tensor) -> Latent:
        """Resize to what the model was trained on, normalise as it was, encode."""
        pictures = (F.interpolate(inputs, self.size, mode="bicubic", antialias=True).clamp(-1, 1) + 1) / 2
        with torch.set_grad_enabled(self.config.trainable and torch.is_grad_enabled()):
            tokens = self.network(pixel_values=(pictures - self.mean) / self.deviation).last_hidden_state.float()
        return Latent(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), tokens.mean(1))
