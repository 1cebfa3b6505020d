"""Text encoder: a small transformer over a BPE vocabulary that is trained on the captions, in every language they come in."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from tonggan.latent.lexical import telling, unknown_words
from tonggan.latent.record import Latent, masked_mean
from tonggan.layers.transformer import Block, RMSNorm, mask_bias
from tonggan.layers.vocabulary import Vocabulary, VocabularySize, WithVocabulary
from tonggan.parts import Encoder, PartConfig
from tonggan.strict import Count


@lru_cache(maxsize=4)
def _scripts(vocabulary: Vocabulary) -> frozenset[str]:
    return frozenset(script for piece in vocabulary.pieces() for script in telling(piece).values())


class TextTransformerConfig(PartConfig):
    """Settings of `TextTransformer`."""

    kind: Literal["text_transformer"] = "text_transformer"
    width: Count = 256
    layers: Count = 4
    heads: Count = 4
    vocabulary: VocabularySize = 8192
    max_tokens: int = Field(default=48, ge=3)


class TextTransformer(WithVocabulary, Encoder[TextTransformerConfig]):
    """Captions -> a token each, `pooled` their mean."""

    modality = "text"
    Config = TextTransformerConfig
    vocabulary_file = "text-tokenizer.json"

    def __init__(self, config: TextTransformerConfig) -> None:
        super().__init__(config)
        self.width = config.width
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(torch.randn(config.max_tokens, config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        nn.init.normal_(self.embed.weight, std=0.02)

    def fit(self, examples: Iterable[str]) -> None:
        """Train the vocabulary on captions."""
        self.vocabulary = Vocabulary.train(examples, size=self.config.vocabulary, lowercase=True)

    def token_ids(self, caption: str) -> list[int]:
        """Return the tokens of a caption between start and end, cut to `max_tokens`."""
        vocabulary = self.known_vocabulary()
        return [vocabulary.start, *vocabulary.encode(caption)[: self.config.max_tokens - 2], vocabulary.end]

    def notices(self, inputs: Sequence[str]) -> list[str]:
        """Name the captions that are longer than the encoder reads, and where they are cut."""
        lines, room = [], self._room
        for caption in inputs:
            tokens, end = self.known_vocabulary().cut_at(caption, room)
            if tokens > room:
                lines.append(f"caption of {tokens} tokens is cut to {room}, after '…{caption[max(0, end - 24) : end]}'")
        return lines

    @property
    def _room(self) -> int:
        """Tokens of a caption that are read: start and end take two."""
        return self.config.max_tokens - 2

    def read(self, text: str) -> str:
        """Return a caption as far as its tokens are read."""
        tokens, end = self.known_vocabulary().cut_at(text, self._room)
        return text if tokens <= self._room else text[:end]

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text in scripts, and its signs, of which the vocabulary has no letter: its captions had none, or next to none."""
        scripts = _scripts(self.known_vocabulary())
        return unknown_words(text, lambda word: scripts.issuperset(telling(word).values()))

    def forward(self, inputs: Sequence[str]) -> Latent:
        """Captions -> `Latent`; the batch is padded to a multiple of eight tokens."""
        rows = [self.token_ids(caption) for caption in inputs]
        length = min(self.config.max_tokens, -(-max(map(len, rows)) // 8) * 8)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = True
        device = self.positions.device
        return self.encode_ids(ids.to(device), mask.to(device))

    def encode_ids(self, ids: torch.Tensor, mask: torch.Tensor) -> Latent:
        """(batch, tokens) ids and mask -> `Latent`."""
        x = self.embed(ids) + self.positions[: ids.shape[1]]
        bias = mask_bias(mask, x.dtype)
        for block in self.blocks:
            x = block(x, bias)
        tokens = self.norm(x)
        return Latent(tokens, mask, masked_mean(tokens, mask))
