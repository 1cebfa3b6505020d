import pytest
from PIL import Image

from tonggan.modalities.sheet import LINE, MARGIN, contact_sheet, text_width, wrap


def test_chinese_and_english_wrap_within_the_cell() -> None:
    for text in ("一个戴着红色帽子的女人在公园里跑步，noto 风格" * 2, "a woman with red hair running in the park, fluent flat style"):
        lines = wrap(text, 160)
        assert len(lines) > 1
        assert all(text_width(line) <= 160 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def strip(caption: str) -> Image.Image:
    """Return the line below a white picture, as greys."""
    top = MARGIN + 96 + 10
    whole = contact_sheet([Image.new("RGB", (8, 8), "white")], [caption], cell=96)
    return whole.convert("L").crop((MARGIN, top, MARGIN + 96, top + LINE))


@pytest.mark.parametrize("caption", ["臺灣貓與蘋果", "働く桜タワー", "고양이얼굴", "щёкаґжыЮ", "μήλοΩξΨ"])
def test_scripts_of_captions_have_their_glyphs(caption: str) -> None:
    assert len({strip(character).tobytes() for character in (*caption, "\u2fe0")}) == len(caption) + 1


def test_every_character_of_a_chinese_caption_is_drawn() -> None:
    missing = "\u2fe0"  # of no script: a font has nothing for it but the sign for that
    drawn = {caption: strip(caption) for caption in ("红", "心", missing, "红心", f"红{missing}")}
    for caption in ("红", "心", "红心"):
        assert min(drawn[caption].get_flattened_data()) < 100
    assert len({each.tobytes() for each in drawn.values()}) == len(drawn)
