"""Text encoder of the BERT family: any `transformers` model, from a folder or a hub id."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from tonggan.errors import UserError
from tonggan.latent.record import Latent, masked_mean
from tonggan.parts import Encoder, PartConfig


class TextPretrainedConfig(PartConfig):
    """Settings of `TextPretrained`."""

    kind: Literal["text_pretrained"] = "text_pretrained"
    model: str
    """A folder with config.json, tokenizer and safetensors weights, or a hub id such as `google-bert/bert-base-uncased`."""
    download: bool = False
    """Whether a hub id may be fetched; nothing reaches out unless this says so."""
    trainable: bool = False
    tokens: Literal["all", "mean"] = "all"
    """What decoders attend to: every token, or one token, the mean of the last hidden states (the article)."""
    max_tokens: int = 64


class TextPretrained(Encoder[TextPretrainedConfig]):
    """Captions -> last hidden states of a pretrained model, `pooled` their mean over the real tokens."""

    modality = "text"
    Config = TextPretrainedConfig

    def __init__(self, config: TextPretrainedConfig) -> None:
        super().__init__(config)
        self.tokenizer, self.network = load_pretrained(config.model, download=config.download)
        self.width = int(self.network.config.hidden_size)
        self.network.requires_grad_(config.trainable)

    def train(self, mode: bool = True) -> "TextPretrained":
        """Keep a frozen network in evaluation mode: its dropout would only add noise."""
        super().train(mode)
        self.network.train(mode and self.config.trainable)
        return self

    def _tokens(self, inputs: Sequence[str]) -> Any:
        return self.tokenizer(list(inputs), padding=True, truncation=True, max_length=self.config.max_tokens, return_tensors="pt")

    def notices(self, inputs: Sequence[str]) -> list[str]:
        """Name the captions that are longer than the encoder reads."""
        whole = [len(ids) for ids in self.tokenizer(list(inputs), verbose=False)["input_ids"]]
        room, lines = self.config.max_tokens, []
        for caption, tokens in zip(inputs, whole, strict=True):
            if tokens > room:
                kept = self.tokenizer(caption, truncation=True, max_length=room, return_offsets_mapping=True)["offset_mapping"]
                end = max(last for _, last in kept)
                lines.append(f"caption of {tokens} tokens is cut to {room}, after '…{caption[max(0, end - 24) : end]}'")
        return lines

    def forward(self, inputs: Sequence[str]) -> Latent:
        """Captions -> `Latent`."""
        encoded = self._tokens(inputs).to(self.network.device)
        with torch.set_grad_enabled(self.config.trainable and torch.is_grad_enabled()):
            hidden = self.network(**encoded).last_hidden_state.float()
        mask = encoded["attention_mask"].bool()
        pooled = masked_mean(hidden, mask)
        if self.config.tokens == "mean":
            return Latent(pooled.unsqueeze(1), torch.ones(len(pooled), 1, dtype=torch.bool, device=pooled.device), pooled)
        return Latent(hidden, mask, pooled)


def load_pretrained(model: str, *, download: bool, modality: str = "text", allow: str | None = None) -> tuple[Any, Any]:
    """Return what prepares inputs (tokenizer, image processor) and the network of a `transformers` encoder, safetensors weights only.

    `allow` is how a user allows the download where it is not by the recipe. Raises `UserError` with what to do where it cannot be had.
    """
    try:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
    except ImportError as error:
        raise UserError(f"a pretrained {modality} encoder needs `transformers`: pip install transformers (the extra 'pretrained')") from error
    options = {"local_files_only": not download, "trust_remote_code": False}
    try:
        before = (AutoTokenizer if modality == "text" else AutoImageProcessor).from_pretrained(model, **options)
        network = AutoModel.from_pretrained(model, use_safetensors=True, **options)
    except (OSError, ValueError, ImportError) as error:
        what = (
            f"the folder {model} holds no model that can be read"
            if Path(model).is_dir()
            else f"'{model}' is neither a folder nor a model fetched before"
        )
        files = "tokenizer.json" if modality == "text" else "preprocessor_config.json"
        by = allow or f"model.encoders.{modality}.download=true"
        hint = "" if download or Path(model).is_dir() else f", or allow the download with {by}"
        raise UserError(
            f"{what}: {str(error).strip().splitlines()[0].rstrip('.')}. Name a folder with config.json, {files} and model.safetensors{hint}."
        ) from error
    return before, network
