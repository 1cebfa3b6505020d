"""Any vision transformer of `transformers` as a feature network: DINOv2 for Fréchet distances, CLIP for CMMD and CLIPScore."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tonggan.encoders.pretrained import load_pretrained
from tonggan.errors import UserError
from tonggan.evaluation.features import PREPARATION, Features, Pictures, in_passes
from tonggan.progress import Show

TEXT_BATCH = 64


class VisionNet:
    """CLIP up to its shared space (`family` is `clip`), or another vision transformer up to its class token (`vision`)."""

    def __init__(self, network: Any, processor: Any, *, name: str, tokenizer: Any | None = None) -> None:
        self.network = network.eval()
        self.family = "clip" if hasattr(network, "visual_projection") else "vision"
        kind = network.config.model_type
        self.name = f"{kind} {name}"
        self.sha256 = weights_hash(network)
        self.input_size = _input_size(processor)
        self.width = int(network.config.projection_dim if self.family == "clip" else _vision(network).config.hidden_size)
        self.note = f"transformers, {'image embedding' if self.family == 'clip' else 'class token'}; {PREPARATION}"
        self.tokenizer = tokenizer
        self.mean = torch.tensor(processor.image_mean).reshape(3, 1, 1)
        self.deviation = torch.tensor(processor.image_std).reshape(3, 1, 1)

    @classmethod
    def load(cls, model: str, *, download: bool = False) -> "VisionNet":
        """Load a folder or a hub id with safetensors weights; nothing is fetched unless `download` says so.

        Raises `UserError` where it cannot be had, or is no vision transformer.
        """
        processor, network = load_pretrained(model, download=download, modality="image", allow="--download")
        if not hasattr(_vision(network).config, "hidden_size") or not hasattr(processor, "image_mean"):
            raise UserError(f"'{model}' is a {type(network).__name__}, not a vision transformer. Name a CLIP, DINOv2, SigLIP or ViT.")
        return cls(network, processor, name=Path(model).name, tokenizer=_tokenizer(model, download) if hasattr(network, "text_model") else None)

    def features(self, pictures: Pictures, *, rows: Sequence[int] | None = None, progress: Show | None = None) -> Features:
        """Return features float32 (N, width) of pictures uint8 (N, 3, height, width) in [0, 255] or PIL pictures; CLIP's are of unit length."""
        return in_passes(self._forward, pictures, rows=rows, size=self.input_size, width=self.width, progress=progress)

    @torch.inference_mode()
    def _forward(self, batch: npt.NDArray[np.uint8]) -> Features:
        pixels = (torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255 - self.mean) / self.deviation
        told = _vision(self.network)(pixel_values=pixels)
        if self.family == "clip":
            return nn.functional.normalize(self.network.visual_projection(told.pooler_output), dim=1).numpy()
        # SigLIP has no class token; what it pools with is trained.
        pooled = told.pooler_output if self.network.config.model_type.startswith("siglip") else told.last_hidden_state[:, 0]
        return pooled.float().numpy()

    @torch.inference_mode()
    def texts(self, captions: Sequence[str]) -> Features:
        """Return the embeddings of captions in CLIP's space, float32 (N, width) at unit length; longer ones are cut at the length that it was trained with.

        Raises `UserError` where the model is no CLIP or came without its tokenizer.
        """
        if self.family != "clip" or self.tokenizer is None:
            raise UserError(f"{self.name} does not read captions: its tokenizer is missing.")
        found = []
        for start in range(0, len(captions), TEXT_BATCH):
            tokens = self.tokenizer(list(captions[start : start + TEXT_BATCH]), padding=True, truncation=True, return_tensors="pt")
            told = self.network.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
            found.append(nn.functional.normalize(self.network.text_projection(told.pooler_output), dim=1))
        return torch.cat(found).numpy()


def weights_hash(network: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, by name, whatever files they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _vision(network: Any) -> Any:
    return getattr(network, "vision_model", network)


def _input_size(processor: Any) -> int:
    for sizes in (getattr(processor, "crop_size", None), getattr(processor, "size", None)):
        found = dict(sizes) if sizes else {}
        for name in ("height", "shortest_edge"):
            if found.get(name):
                return int(found[name])
    return 224


def _tokenizer(model: str, download: bool) -> Any | None:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, local_files_only=not download, trust_remote_code=False)
    except (OSError, ValueError):
        return None
