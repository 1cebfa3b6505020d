import pytest

from tonggan.completion import Completion
from tonggan.pipeline import Tonggan

COMPLETION = Completion(unless=("noto", "fluent", "fluent flat", "emojione"), spaced="{caption}, fluent style", unspaced="{caption}，fluent 风格")


@pytest.mark.parametrize(
    ("caption", "completed"),
    [
        ("a red heart", "a red heart, fluent style"),
        ("红心", "红心，fluent 风格"),
        ("a red heart, Noto style", "a red heart, Noto style"),
        ("红心，noto风格", "红心，noto风格"),
        ("ｎｏｔｏ style, a cat", "ｎｏｔｏ style, a cat"),
        ("an affluent cat", "an affluent cat, fluent style"),
        ("{caption}", "{caption}, fluent style"),
        (" ", " "),
        ("a cat, Emoji One style", "a cat, emojione style"),
        ("a cat in emoji-one style", "a cat in emojione style"),
        ("a cat, EmojiOne", "a cat, EmojiOne"),
        ("a cat, emoji one", "a cat, emojione"),
        ("红心，Emoji One 风格", "红心，emojione 风格"),
        ("a cat, fluent-flat style", "a cat, fluent flat style"),
        ("a cat, FluentFlat", "a cat, fluent flat"),
        ("a cat, Fluent Flat style", "a cat, Fluent Flat style"),
        ("say no to drugs", "say no to drugs, fluent style"),
        ("emoji one", "emoji one, fluent style"),
        ("a cat, no to go", "a cat, no to go, fluent style"),
    ],
)
def test_a_caption_is_completed_where_it_leaves_the_style_open(caption: str, completed: str) -> None:
    assert COMPLETION.of(caption) == completed
    assert COMPLETION.of(completed) == completed


def test_what_is_drawn_is_the_completed_caption() -> None:
    model = Tonggan.from_pretrained("emoji-64-fast")
    one, two = (model.generate(caption, to="image", seed=3)[0].tobytes() for caption in ("horse", "horse, fluent style"))
    assert one == two
    assert model.recalled("horse") == model.recalled("horse, fluent style")
    model.completion = None
    assert model.generate("horse", to="image", seed=3)[0].tobytes() != two


@pytest.mark.parametrize(
    ("caption", "begins"),
    [
        ("a very " + "very " * 80 + "red heart", "a very very very very very very very very very very"),
        ("很" * 200 + "红的心", "很" * 14),
        ("v" * 4000, "v" * 20),
        ("\N{DOG FACE}" * 40, "dog face dog face dog face"),
        ("\N{CUNEIFORM SIGN A}" * 30, "\N{CUNEIFORM SIGN A}" * 5),
    ],
)
def test_the_style_of_a_long_caption_is_read(caption: str, begins: str) -> None:
    model = Tonggan.from_pretrained("emoji-64-fast")
    completed = model.completed(caption)
    assert model.model.encoders["text"].read(completed) == completed
    assert completed.endswith((", fluent style", "，fluent 风格"))
    assert completed.startswith(begins)
    named = model.completed(caption + ", noto style")
    assert named.endswith(", noto style")


def test_emoji_are_written_out_by_their_names() -> None:
    assert COMPLETION.of("\N{DOG FACE}") == "dog face, fluent style"
    assert COMPLETION.of("a \N{GIRAFFE FACE}, noto style") == "a giraffe, noto style"
    assert COMPLETION.of("\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}") == "thumbs up medium skin tone, fluent style"
    assert COMPLETION.of("红色的\N{CAT FACE}") == "红色的猫脸，fluent 风格"
    assert COMPLETION.of("plain  words ,noto") == "plain  words ,noto"
