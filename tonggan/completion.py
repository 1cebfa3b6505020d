"""What a caption leaves open and a model wants to be told: a caption that names no drawing style is completed with one before it is drawn, and signs in it
(emoji) are put into the words that weights learn from.

Without a style the memory recalls one drawing in each, and the decoder draws between them. Which words name one is a matter of what the weights learned,
so it stands in their config.json, not in the recipe: whoever trains on other data has none.
"""

import re
import unicodedata

import emoji

from tonggan.latent.lexical import UNSPACED
from tonggan.strict import Strict


def spelt_out(caption: str) -> str:
    """Return the caption with emoji replaced by their names (Unicode CLDR), in Chinese where there is Chinese beside them, else in English."""
    unspaced = UNSPACED.search(caption) is not None
    language, gap = ("zh", "") if unspaced else ("en", " ")
    emoji.config.load_language(language)
    spelt = emoji.replace_emoji(caption, lambda _, names: f"{gap}{names.get(language, names['en']).strip(':').replace('_', gap)}{gap}")
    return caption if spelt == caption else " ".join(spelt.replace(" ,", ",").split())


class Completion(Strict):
    """How captions are completed."""

    unless: tuple[str, ...]
    """Words, in Latin letters, one of which says what is left open otherwise."""
    spaced: str
    """The completed caption, with {caption} in it."""
    unspaced: str
    """The same for Chinese and Japanese."""

    def of(self, caption: str) -> str:
        """Return the caption, spelt out, and completed where none of the words is in it; an empty one stays empty."""
        caption = spelt_out(caption)
        plain = unicodedata.normalize("NFKC", caption).casefold()  # full-width letters are letters, as the tokenizer has them
        if not caption.strip() or any(re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", plain) for word in self.unless):
            return caption
        return (self.unspaced if UNSPACED.search(caption) else self.spaced).replace("{caption}", caption)
