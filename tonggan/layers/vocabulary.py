"""Byte-pair vocabularies that are trained on the captions, in every language they come in."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tonggan.errors import UserError
from tonggan.files import replacing

PAD, START, END = "<pad>", "<start>", "<end>"
REPLACED = "\ufffd"
"""What bytes are decoded to that are no whole character."""
LEAST_PIECES = 256 + len((PAD, START, END))
"""A byte each, so that nothing is unknown, padding, start and end: there are no fewer pieces, however few are asked for."""


def _checked(size: int) -> int:
    if size < LEAST_PIECES:
        raise UserError(
            f"{size} pieces are too few: the 256 bytes that texts are made of, padding, start and end are {LEAST_PIECES} alone. Give more."
        )
    return size


VocabularySize = Annotated[int, AfterValidator(_checked)]
"""Most pieces of a vocabulary, as a recipe asks for them."""


class Vocabulary:
    """Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909) on NFKC text: every script is covered and nothing is unknown. Id 0 is the padding."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.start, self.end = self.id_of(START), self.id_of(END)
        self.size = int(tokenizer.get_vocab_size())
        """Pieces that there are: no more than were asked for, fewer where the captions held no more."""

    @classmethod
    def train(cls, captions: Iterable[str], *, size: int, lowercase: bool, specials: Sequence[str] = ()) -> "Vocabulary":
        """Train `size` pieces at most, `LEAST_PIECES` and `specials` at the least: tokens beside padding, start and end that no text contains."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])])
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[PAD, START, END, *specials],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
            min_frequency=2,
        )
        tokenizer.train_from_iterator(captions, trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote; raises `UserError` where it is missing or broken."""
        if not path.is_file():
            raise UserError(f"{path} is missing: the folder holds no whole model. Copy the model again.")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{path} is not a vocabulary that can be read ({error}). Copy the model again.") from error

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON; raises `UserError` where the disk is full or may not be written to, and what was there stays."""
        with replacing(path) as beside:
            self.tokenizer.save(str(beside))

    def id_of(self, token: str) -> int:
        """Return the id of a special token."""
        found = self.tokenizer.token_to_id(token)
        assert found is not None, token
        return found

    def knows(self, token: str) -> bool:
        """Return whether there is a token of this name."""
        return self.tokenizer.token_to_id(token) is not None

    def pieces(self) -> list[str]:
        """Return the pieces as text, but for those that are parts of a character."""
        decoded = (self.tokenizer.decoder.decode([piece]) for piece in self.tokenizer.get_vocab())
        return [piece for piece in decoded if REPLACED not in piece]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end."""
        return self.tokenizer.encode(text).ids

    def cut_at(self, text: str, room: int) -> tuple[int, int]:
        """Return (tokens of the text, place in it behind the first `room` of them); none and its beginning where there is nothing to read."""
        encoding = self.tokenizer.encode(text)
        read = encoding.offsets[:room]
        return len(encoding.ids), read[-1][1] if read else 0

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special tokens are left out."""
        return self.tokenizer.decode(list(ids)).strip()


class WithVocabulary:
    """What text encoders and decoders have in common: a vocabulary in a file beside the weights."""

    vocabulary_file: ClassVar[str]
    vocabulary: Vocabulary | None = None

    def known_vocabulary(self) -> Vocabulary:
        """Return the vocabulary; raises `UserError` where there is none yet."""
        if self.vocabulary is None:
            raise UserError("there is no vocabulary yet: call fit(captions) or load a trained model.")
        return self.vocabulary

    def save_assets(self, folder: Path) -> None:
        """Write the vocabulary."""
        self.known_vocabulary().save(folder / self.vocabulary_file)

    def load_assets(self, folder: Path) -> None:
        """Read the vocabulary; raises `UserError` where it is missing or broken."""
        self.vocabulary = Vocabulary.load(folder / self.vocabulary_file)
