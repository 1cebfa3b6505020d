"""What a caption leaves open and a model wants to be told: a caption that names no drawing style is completed with one before it is drawn, and signs in it
(emoji) are put into the words that weights learn from.

Without a style the memory recalls one drawing in each, and the decoder draws between them. Which words name one is a matter of what the weights learned,
so it stands in their config.json, not in the recipe: whoever trains on other data has none.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache

import emoji

from tonggan.latent.lexical import UNSPACED
from tonggan.strict import Strict

APART = r"[\s_-]?"
"""What may stand between the letters of a style's name: "Emoji One" and "emoji-one" are `emojione`."""


@lru_cache(maxsize=8)
def _named(styles: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds names of styles, spelt anyhow, where nothing else can be meant ("no to", "a fire fox"): before "style", or alone behind a comma."""
    names = "|".join(APART.join(map(re.escape, re.sub(APART, "", style))) for style in sorted(styles, key=len, reverse=True))
    return re.compile(rf"(?<![^\W\d_])(?:{names})(?=[\s_-]*(?:style\b|风格))|(?<=[,，])(\s*)(?:{names})(?=\s*(?:[,，.。]|$))", re.IGNORECASE)


def _respelt(caption: str, styles: Sequence[str]) -> str:
    """Return the caption with the names of styles as the weights know them; capital letters stay, which they do not see."""
    known = {re.sub(APART, "", style): style for style in styles}

    def spelt(found: re.Match[str]) -> str:
        gap, name = found[1] or "", found[0].strip()
        style = known[re.sub(APART, "", name.casefold())]
        return gap + (name if name.casefold() == style else style)

    return _named(tuple(styles)).sub(spelt, caption)


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
    """Names, in small Latin letters, one of which says what is left open otherwise; in a caption they may be spelt with other spaces and hyphens."""
    spaced: str
    """The completed caption, with {caption} in it."""
    unspaced: str
    """The same for Chinese and Japanese."""

    def of(self, caption: str, *, read: Callable[[str], str] = str) -> str:
        """Return the caption, spelt out, and completed where none of the names is in it; an empty one stays empty.

        `read` returns what is read of a text, all or its beginning: the end of a caption gives way to what completes it.
        """
        caption = _respelt(spelt_out(caption), self.unless)
        plain = unicodedata.normalize("NFKC", caption).casefold()  # full-width letters are letters, as the tokenizer has them
        if not caption.strip() or any(re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", plain) for word in self.unless):
            return caption
        form = self.unspaced if UNSPACED.search(caption) else self.spaced

        def completed(characters: int) -> str:
            return form.replace("{caption}", caption[:characters])

        def too_long(characters: int) -> bool:
            return read(completed(characters)) != completed(characters)

        return completed(max(1, bisect_left(range(1, len(caption) + 1), True, key=too_long)))
