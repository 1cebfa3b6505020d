import numpy as np
import pytest

from tonggan.latent.lexical import LexicalIndex, words

ROWS = [
    ["red heart, noto style", "红心，noto 风格"],
    ["red heart, twemoji style", "红心，twemoji 风格"],
    ["blue heart, noto style", "蓝心，noto 风格"],
    ["crying cat, noto style", "哭泣的猫，noto 风格"],
    ["dog, twemoji style", "狗，twemoji 风格"],
    ["sunglasses, twemoji style", "墨镜，twemoji 风格"],
]


@pytest.fixture
def index() -> LexicalIndex:
    return LexicalIndex.build(ROWS)


def test_words_of_spaced_and_unspaced_writing() -> None:
    assert words("Red heart, the RED one: Ⅳ") == ["red", "heart", "the", "one", "iv"]
    assert words("红心 2") == ["红", "心", "红心", "2"]
    assert words("…!") == []


def test_a_text_finds_itself_first_with_cosine_one(index: LexicalIndex) -> None:
    for row, texts in enumerate(ROWS):
        for text in texts:
            rows, scores = index.nearest(text, 1)
            assert rows.tolist() == [row]
            assert scores[0] == pytest.approx(1, abs=1e-5)


def test_an_excluded_row_is_never_found(index: LexicalIndex) -> None:
    rows, scores = index.nearest("red heart, noto style", 5, excluded=0)
    assert 0 not in rows
    assert rows[0] == 1
    assert scores[0] < 1


def test_later_rows_answer_what_the_first_left_open(index: LexicalIndex) -> None:
    rows, _ = index.nearest("a dog with sunglasses, twemoji style", 2)
    assert sorted(rows.tolist()) == [4, 5]


def test_nothing_is_found_for_words_never_seen(index: LexicalIndex) -> None:
    assert len(index.nearest("zeppelin", 3)[0]) == 0
    assert len(index.nearest("!", 3)[0]) == 0
    assert len(LexicalIndex.build([]).nearest("red", 3)[0]) == 0


def test_scores_are_the_cosine_of_tf_idf_vectors() -> None:
    texts = ["a b c", "b c d", "d e"]
    index = LexicalIndex.build([[text] for text in texts])
    vocabulary = "abcde"
    rarity = np.array([np.log1p(3 / sum(letter in text for text in texts)) for letter in vocabulary])
    vectors = np.array([[letter in text for letter in vocabulary] for text in texts]) * rarity
    asked = np.array([letter in "b d" for letter in vocabulary]) * rarity
    cosines = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    rows, scores = index.nearest("b d", 1)
    assert rows[0] == cosines.argmax()
    assert scores[0] == pytest.approx(cosines.max(), rel=1e-5)


def test_pieces_of_unspaced_writing_count_half() -> None:
    texts = ["红心 noto", "红星 noto", "蓝心 twemoji", "蓝星 twemoji"]
    index = LexicalIndex.build([[text] for text in texts])
    vocabulary = sorted({word for text in texts for word in words(text)})
    rarity = np.array([np.log1p(4 / sum(word in words(text) for text in texts)) * (1 if word.isascii() else 0.5**0.5) for word in vocabulary])
    vectors = np.array([[word in words(text) for word in vocabulary] for text in texts]) * rarity
    asked = np.array([word in words("红心 twemoji") for word in vocabulary]) * rarity
    cosines = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    rows, scores = index.nearest("红心 twemoji", 2)
    assert rows.tolist() == [0, 2]  # the thing first, then the style that it left open, with the nearer thing
    assert scores[0] == pytest.approx(cosines[0], rel=1e-5)


def test_an_index_survives_being_stored(index: LexicalIndex) -> None:
    again = LexicalIndex.from_arrays(index.arrays())
    for text in ("red heart", "哭泣的猫", "style"):
        one, two = index.nearest(text, 4), again.nearest(text, 4)
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_allclose(one[1], two[1])


def test_words_and_signs_that_no_text_has_are_named() -> None:
    index = LexicalIndex.build([["red heart, noto style", "红心，noto 风格"]])
    assert index.unknown("red giraffes of ｎｏｔｏ style") == ["giraffes"]
    assert index.unknown("\N{DOG FACE} 红龙") == ["\N{DOG FACE}", "龙"]


def test_words_of_every_script_are_named_short_ones_where_nothing_else_of_theirs_is_known() -> None:
    index = LexicalIndex.build([["an elf, noto style", "красный мяч"]])
    for strange in ("고양이", "개", "قطة", "ม้า", "नमस्ते", "γάτα", "כלב"):
        assert index.unknown(f"{strange} {strange}") == index.unknown(f"{strange}, noto style") == [strange]
    assert index.unknown("красный кот") == []  # as "of" beside words that are known
    assert index.unknown("кот") == ["кот"]
    assert index.unknown("a gnu in noto style, 12 1999") == ["1999"]
    assert index.unknown("in an explosion") == ["explosion"]


def test_a_word_stands_for_its_other_number_where_texts_have_that() -> None:
    index = LexicalIndex.build(
        [["a red apple, noto style"], ["strawberry, noto style"], ["skis, noto style"], ["a cat"], ["a cat with cats"], *[["cat"]] * 4]
    )
    for asked, row in (("apples, noto style", 0), ("strawberries", 1), ("a ski", 2)):
        assert index.nearest(asked, 1)[0].tolist() == [row]
        assert index.unknown(asked) == []
    assert sorted(index.nearest("cats", 6)[0].tolist()) == [3, 4, 5, 6, 7, 8]
    assert index.nearest("cat with", 1)[0].tolist() == [4]


def test_an_unknown_word_is_sought_as_the_two_that_it_is_made_of() -> None:
    index = LexicalIndex.build([["a house, noto style"], ["a light bulb, noto style"], ["a face, noto style"]])
    assert sorted(index.nearest("lighthouse, noto style", 2)[0].tolist()) == [0, 1]
    assert index.unknown("lighthouse, noto style") == ["lighthouse"]
