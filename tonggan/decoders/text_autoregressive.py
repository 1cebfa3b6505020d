"""Sentences, token by token: a causal transformer that also reads the latent's tokens.

Training compares every next token with the truth at once (teacher forcing); `generate` writes one token a pass, with keys and values of the earlier
ones kept. The first token behind the start names the language.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.decoders.search import REAL, WHOLE, Search, beam_search, sample
from tonggan.errors import UserError, nearest
from tonggan.latent.record import Latent
from tonggan.layers.transformer import Block, KeysValues, Past, RMSNorm, mask_bias
from tonggan.layers.vocabulary import LEAST_PIECES, Vocabulary, VocabularySize, WithVocabulary
from tonggan.modalities.text import Caption
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, PartConfig
from tonggan.strict import Count, CountOrZero, Finite, Share

COMMA = re.compile(r", ?")


class TextAutoregressiveConfig(PartConfig):
    """Settings of `TextAutoregressive`."""

    kind: Literal["text_autoregressive"] = "text_autoregressive"
    latent_width: Count = 320
    width: Count = 256
    layers: Count = 4
    heads: Count = 4
    vocabulary: VocabularySize = 8192
    max_tokens: int = Field(default=48, ge=3)
    languages: tuple[str, ...] = ("en", "zh")
    """The first is what `generate` writes unless told otherwise."""
    label_smoothing: Share = 0.1
    num_beams: Count = 3
    length_penalty: Finite = 1.0
    no_repeat_ngram_size: CountOrZero = 0
    repetition_penalty: float = Field(default=1.0, ge=1, allow_inf_nan=False)


class TextAutoregressive(WithVocabulary, Decoder[TextAutoregressiveConfig]):
    """`Latent` -> sentences, one a row, as `Caption` (text, language, mean log-probability of its tokens)."""

    modality = "text"
    Config = TextAutoregressiveConfig
    vocabulary_file = "text-decoder-tokenizer.json"

    def __init__(self, config: TextAutoregressiveConfig) -> None:
        super().__init__(config)
        if not config.languages:
            raise UserError("text_autoregressive: languages is empty; name at least one.")
        if config.vocabulary < (least := LEAST_PIECES + len(config.languages)):
            raise UserError(
                f"text_autoregressive: a vocabulary of {config.vocabulary} pieces has no room for every language's sign: {least} is the least."
            )
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(torch.randn(config.max_tokens, config.width) * 0.02)
        self.point = nn.Linear(config.latent_width, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, context_width=config.latent_width) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        nn.init.normal_(self.embed.weight, std=0.02)

    def fit(self, examples: Iterable[str]) -> None:
        """Train the vocabulary on sentences; upper and lower case stay apart."""
        specials = [f"<{language}>" for language in self.config.languages]
        self.vocabulary = Vocabulary.train(examples, size=self.config.vocabulary, lowercase=False, specials=specials)

    def check_taken(self) -> None:
        """Raise `UserError` where the vocabulary of a trained decoder was made without a language of these settings."""
        strange = [each for each in self.config.languages if not self.known_vocabulary().knows(f"<{each}>")]
        if strange:
            raise UserError(
                f"model.decoders.text.languages: the initial model was not trained on {', '.join(strange)}, and its vocabulary has no sign for that. Leave it "
                "out of languages and data, or let the decoder learn its vocabulary anew: refit=[decoders.text]."
            )

    def default_settings(self) -> dict[str, Any]:
        """Return the settings of the search; `temperature` 0 means the likeliest sentence (greedy, or beam where `num_beams` is above 1)."""
        config = self.config
        return {
            "language": config.languages[0],
            "num_beams": config.num_beams,
            "temperature": 0.0,
            "top_p": 0.9,
            "length_penalty": config.length_penalty,
            "no_repeat_ngram_size": config.no_repeat_ngram_size,
            "repetition_penalty": config.repetition_penalty,
            "max_new_tokens": config.max_tokens - 2,
        }

    def _language_token(self, language: str) -> int:
        if language not in self.config.languages:
            raise UserError(f"the text decoder was not trained on language '{language}'.{nearest(language, self.config.languages)}")
        return self.known_vocabulary().id_of(f"<{language}>")

    def sentences_to_ids(self, sentences: Sequence[str]) -> Tensor:
        """Return (batch, tokens): start, language, the sentence (cut where too long), end, padding. A plain string counts as the first language."""
        vocabulary, rows = self.known_vocabulary(), []
        for sentence in sentences:
            language = getattr(sentence, "language", "") or self.config.languages[0]
            pieces = vocabulary.encode(sentence)[: self.config.max_tokens - 2]
            rows.append([vocabulary.start, self._language_token(language), *pieces, vocabulary.end])
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        return ids

    def read(self, latent: Latent) -> list[KeysValues]:
        """Return each block's keys and values of the latent: its point as one more token in front, then its tokens. Computed once a sentence."""
        point = latent.scaled_point.unsqueeze(1)
        tokens = torch.cat([point.to(latent.tokens.dtype), latent.tokens], dim=1)
        bias = mask_bias(F.pad(latent.mask, (1, 0), value=True), torch.float32)
        return [block.attention.read(tokens, bias) for block in self._blocks()]

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, ids: Tensor, contexts: Sequence[KeysValues], pasts: Sequence[Past] | None = None, *, position: int = 0) -> Tensor:
        """(batch, tokens) ids -> (batch, tokens, pieces of the vocabulary) logits of each next token; with `pasts` the ids stand at `position` and later."""
        tokens = ids.shape[1]
        x = self.embed(ids) + self.positions[position : position + tokens]
        causal = torch.ones(tokens, position + tokens, dtype=torch.bool, device=ids.device).tril(position)
        bias = torch.zeros(causal.shape, device=ids.device).masked_fill(~causal, -1e4)[None, None]
        for index, block in enumerate(self._blocks()):
            x = block(x, bias, context=contexts[index], past=None if pasts is None else pasts[index])
        known = self.embed.weight[: self.known_vocabulary().size]  # rows beyond stand for nothing: neither learned nor written
        return self.norm(x) @ known.T.to(x.dtype)

    def loss(self, latent: Latent, target: Sequence[str], *, randomness: torch.Generator) -> LossTerms:
        """Cross-entropy of each next token, smoothed; `target` are sentences, with their language where they are `Caption`s."""
        ids = self.sentences_to_ids(target).to(latent.tokens.device)
        truth = ids[:, 2:]  # the language is given, not guessed
        logits = self(ids[:, :-1], self.read(latent))[:, 1:].float()
        loss = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), ignore_index=0, label_smoothing=self.config.label_smoothing)
        return LossTerms({"cross_entropy": loss})

    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Any | None = None) -> Any:
        """Write one sentence a row, row i sampled from `seeds[i]` where `temperature` is above 0; `against` changes nothing.

        Returns a list of `Caption`. Raises `UserError` for an unknown language, and for a `start`: sentences are written from nothing.
        """
        if start is not None:
            raise UserError("a sentence cannot be started from another one.")
        vocabulary, language = self.known_vocabulary(), str(settings["language"])
        search = Search(
            prefix=(vocabulary.start, self._language_token(language)),
            end=vocabulary.end,
            banned=(0, vocabulary.start, *(self._language_token(each) for each in self.config.languages)),
            **{name: settings[name] for name in (*WHOLE, *REAL)},
        )
        search.check()
        search = replace(search, max_new_tokens=min(search.max_new_tokens, self.config.max_tokens - 2))
        beams = search.num_beams if search.temperature == 0 else 1
        writer = _Writer(self, latent.repeat(beams) if beams > 1 else latent)
        found = beam_search(writer, len(latent), search) if search.temperature == 0 else sample(writer, seeds, search)
        return [Caption(typeset(vocabulary.decode(each.ids), language), language=language, score=each.score) for each in found]


def typeset(sentence: str, language: str) -> str:
    """Return a sentence with the commas of its language: the vocabulary (NFKC) knows one comma alone."""
    return COMMA.sub("，", sentence) if language == "zh" else sentence


class _Writer:
    """What a search, which counts on the CPU, asks: the next token's log-probabilities, given the tokens that it chose last."""

    def __init__(self, decoder: TextAutoregressive, latent: Latent) -> None:
        self.decoder, self.device = decoder, latent.tokens.device
        self.contexts = decoder.read(latent)
        self.pasts = [Past() for _ in self.contexts]
        self.position = 0

    def next(self, ids: Tensor) -> Tensor:
        """(rows, tokens) new tokens -> (rows, vocabulary) log-probabilities of what follows."""
        logits = self.decoder(ids.to(self.device), self.contexts, self.pasts, position=self.position)[:, -1]
        self.position += ids.shape[1]
        return logits.float().log_softmax(-1).cpu()

    def take(self, rows: Tensor) -> None:
        """Go on with `rows`, in that order: each of the same sample as the row whose place it takes, so that the contexts stay."""
        for past in self.pasts:
            past.take(rows.to(self.device))
