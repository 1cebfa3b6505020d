import json
from pathlib import Path
from typing import Any

import pytest

from tonggan.evaluation.captions import Said, bleu, cider_d, distinct, exact, repeats, rouge_l, tokenize

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_captions.json").read_text(encoding="utf-8"))
CORPUS = [Said.of(row["candidate"], row["references"]) for row in GOLDEN["rows"]]


def test_tokens_are_those_of_the_reference() -> None:
    for row in GOLDEN["rows"]:
        assert tokenize(row["candidate"]) == row["candidate_tokens"].split()
        assert [tokenize(each) for each in row["references"]] == [each.split() for each in row["reference_tokens"]]


def test_figures_are_those_of_the_reference() -> None:
    assert bleu(CORPUS) == pytest.approx(GOLDEN["figures"]["bleu"], abs=1e-6)
    assert rouge_l(CORPUS).mean() == pytest.approx(GOLDEN["figures"]["rouge_l"], abs=1e-9)
    assert cider_d(CORPUS).mean() == pytest.approx(GOLDEN["figures"]["cider_d"], abs=1e-6)


def test_the_truth_itself_is_perfect_and_nothing_is_nothing() -> None:
    same = [Said.of(sentence, [sentence]) for sentence in ("a red heart in a box", "two blue birds in a tree", "one old man with a hat")]
    assert bleu(same) == [1.0] * 4
    assert rouge_l(same).mean() == 1.0
    assert cider_d(same).mean() == pytest.approx(10.0)
    nothing = [Said.of("", ["a red heart"]), Said.of("...", ["a blue heart"])]
    assert bleu(nothing) == [0.0] * 4
    assert rouge_l(nothing).mean() == cider_d(nothing).mean() == 0.0


def test_chinese_counts_by_character() -> None:
    assert tokenize("红心，noto 风格。") == ["红", "心", "noto", "风", "格"]
    assert bleu([Said.of("红色的心", ["红色的心"])]) == [1.0] * 4


def test_what_needs_no_reference() -> None:
    assert exact(["Red  Heart", "红心", "cat"], ["red heart", "红心", "dog"]) == pytest.approx(2 / 3)
    corpus = [Said.of("a b a b", ["x"]), Said.of("a b c", ["x"])]
    assert distinct(corpus).value == pytest.approx(3 / 5)
    assert sum(repeats(corpus)) / len(corpus) == 0.5
