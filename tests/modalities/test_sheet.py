from PIL import Image

from tonggan.modalities.sheet import contact_sheet, text_width, wrap


def test_chinese_and_english_wrap_within_the_cell() -> None:
    for text in ("一个戴着红色帽子的女人在公园里跑步，noto 风格" * 2, "a woman with red hair running in the park, fluent flat style"):
        lines = wrap(text, 160)
        assert len(lines) > 1
        assert all(text_width(line) <= 160 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_every_character_of_a_chinese_caption_is_drawn() -> None:
    blank, drawn = (contact_sheet([Image.new("RGB", (8, 8), "white")], [text], cell=96).convert("L") for text in ("", "红心"))
    assert min(blank.get_flattened_data()) == 255
    assert drawn.size[1] > blank.size[1] or min(drawn.get_flattened_data()) < 100
