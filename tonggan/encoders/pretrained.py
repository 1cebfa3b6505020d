"""Text encoder of `transformers`: a model of the BERT family, CLIP's text side, the encoder of a T5; from a folder or a hub id.

A trained model keeps its weights with its own and the rest (config.json, tokenizer) in a folder of its own: it loads where the first folder is not.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, PrivateAttr

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.latent.record import Latent, masked_mean
from tonggan.parts import Encoder, PartConfig

PREPARE = {"text": "AutoTokenizer", "image": "AutoImageProcessor"}
"""Which class of `transformers` prepares what a modality's encoder reads."""


class PretrainedConfig(PartConfig):
    """Settings that all pretrained encoders have."""

    model: str
    """A folder with config.json, what prepares inputs and safetensors weights, or a hub id such as `google-bert/bert-base-uncased`."""
    download: bool = False
    """Whether a hub id may be fetched; nothing reaches out unless this says so."""
    trainable: bool = False
    _kept: Path | None = PrivateAttr(None)

    def kept_in(self, folder: Path) -> Self:
        """See `PartConfig.kept_in`; models that were saved before anything was kept name their encoder's folder."""
        kept = self.model_copy()
        kept._kept = path if ((path := folder / self.kind) / "config.json").is_file() else None
        return kept

    def load(self, modality: str) -> tuple[Any, Any]:
        """See `load_pretrained`; a network that was kept has no weights yet."""
        return load_pretrained(self.model, download=self.download, modality=modality) if self._kept is None else _load_kept(self._kept, modality)


class TextPretrainedConfig(PretrainedConfig):
    """Settings of `TextPretrained`."""

    kind: Literal["text_pretrained"] = "text_pretrained"
    tokens: Literal["all", "mean"] = "all"
    """What decoders attend to: every token, or one token, the mean of the last hidden states (the article)."""
    max_tokens: int = Field(default=64, ge=3)


class TextPretrained(Encoder[TextPretrainedConfig]):
    """Captions -> last hidden states of a pretrained model, `pooled` their mean over the real tokens."""

    modality = "text"
    Config = TextPretrainedConfig

    def __init__(self, config: TextPretrainedConfig) -> None:
        super().__init__(config)
        self.tokenizer, network = config.load(self.modality)
        network = getattr(network, "text_model", network)
        if hasattr(network, "encoder") and hasattr(network, "decoder"):  # a T5: what its encoder gives, its decoder would read
            network = network.encoder
        _check_texts(network, self.tokenizer, config.model)
        self.network, self.width = network, int(network.config.hidden_size)
        self.network.requires_grad_(config.trainable)

    def train(self, mode: bool = True) -> "TextPretrained":
        """Keep a frozen network in evaluation mode: its dropout would only add noise."""
        super().train(mode)
        self.network.train(mode and self.config.trainable)
        return self

    def save_assets(self, folder: Path) -> None:
        """Keep what the encoder needs beside its weights."""
        keep(folder / self.config.kind, self.tokenizer, self.network.config)

    def _tokens(self, inputs: Sequence[str]) -> Any:
        how = {"padding": True, "truncation": True, "max_length": self.config.max_tokens, "return_attention_mask": True}
        return self.tokenizer(list(inputs), **how, return_tensors="pt")

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
        encoded = self._tokens(inputs).to(next(self.network.parameters()).device)
        with torch.set_grad_enabled(self.config.trainable and torch.is_grad_enabled()):
            hidden = self.network(**encoded).last_hidden_state.float()
        mask = encoded["attention_mask"].bool()
        pooled = masked_mean(hidden, mask)
        if self.config.tokens == "mean":
            return Latent(pooled.unsqueeze(1), torch.ones(len(pooled), 1, dtype=torch.bool, device=pooled.device), pooled)
        return Latent(hidden, mask, pooled)


def _check_texts(network: Any, tokenizer: Any, model: str) -> None:
    """Raise `UserError` where a network gives no hidden states of texts, or cannot be given several texts at once."""
    if not hasattr(network.config, "hidden_size"):
        raise UserError(
            f"text_pretrained: '{model}' is a {type(network).__name__}, which has no hidden states of texts. Name a BERT, a CLIP or a T5."
        )
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"text_pretrained: the tokenizer of '{model}' has no padding token, by which captions of several lengths become a batch. "
            "Name a BERT, a CLIP or a T5."
        )


def load_pretrained(model: str, *, download: bool, modality: str = "text", allow: str | None = None) -> tuple[Any, Any]:
    """Return what prepares inputs (tokenizer, image processor) and the network of a `transformers` encoder, safetensors weights only.

    `allow` is how a user allows the download where it is not by the recipe. Raises `UserError` with what to do where it cannot be had.
    """
    transformers = _library(modality)
    options = {"local_files_only": not download, "trust_remote_code": False}
    try:
        with _without_bars(transformers):
            before = getattr(transformers, PREPARE[modality]).from_pretrained(model, **options)
            network = transformers.AutoModel.from_pretrained(model, use_safetensors=True, **options)
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


def keep(folder: Path, *parts: Any) -> None:
    """Write what `transformers` saves of a tokenizer, an image processor or a network's settings into `folder`, file by file."""
    with tempfile.TemporaryDirectory() as made:
        for part in parts:
            part.save_pretrained(made)
        for file in Path(made).iterdir():
            with replacing(folder / file.name) as beside:
                shutil.copyfile(file, beside)


def _load_kept(folder: Path, modality: str) -> tuple[Any, Any]:
    """Return what `load_pretrained` would, from what `keep` wrote; the network's weights are still to be loaded."""
    transformers = _library(modality)
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        before = getattr(transformers, PREPARE[modality]).from_pretrained(folder, **options)
        return before, transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder, **options))
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{folder} is damaged ({str(error).strip().splitlines()[0].rstrip('.')}). Copy the model again.") from error


def _library(modality: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UserError(f"a pretrained {modality} encoder needs `transformers`: pip install transformers (the extra 'pretrained')") from error
    return transformers


@contextmanager
def _without_bars(transformers: Any) -> Iterator[None]:
    """Let `transformers` draw no bar for tensors read from the disk; what is downloaded has its own."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
