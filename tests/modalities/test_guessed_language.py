import pytest

from tonggan.modalities.text import guess_language


@pytest.mark.parametrize(
    ("caption", "language"),
    [
        ("a 包 bun", "en"),
        ("北京 at night", "en"),
        ("a ポケモン card of a red dragon that sits", "en"),
        ("a café, don’t smoke", "en"),
        ("🍎", "en"),
        ("", "en"),
        ("一只 cat", "zh"),
        ("红苹果, emoji style", "zh"),
        ("赤い車", "ja"),
        ("ﾈｺ", "ja"),
        ("고양이와 개", "ko"),
        ("γάτα", "el"),
        ("ม้า", "th"),
        ("красный мяч", "und"),
        ("قطة", "und"),
    ],
)
def test_the_language_is_that_of_most_of_the_caption(caption: str, language: str) -> None:
    assert guess_language(caption) == language
