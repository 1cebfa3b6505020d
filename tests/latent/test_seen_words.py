from pathlib import Path

import pytest

from tonggan.latent import seen_words as module
from tonggan.latent.lexical import unknown_words
from tonggan.latent.seen_words import load_words, save_words, seen_words


def test_a_list_of_words_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = seen_words(["A red heart, noto style", "红心", "\N{DOG FACE} 3"])
    assert words == {"a", "red", "heart", "noto", "style", "红", "心", "\N{DOG FACE}", "3"}
    save_words(tmp_path, words)
    assert load_words(tmp_path) == words
    assert (tmp_path / "seen-words.txt").read_text(encoding="utf-8").splitlines() == sorted(words)
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    save_words(tmp_path, words)  # too many: half a list would call known words unknown
    assert load_words(tmp_path) is None
    save_words(tmp_path, None)


def test_words_beyond_a_list_are_unknown() -> None:
    words = seen_words(["two red hearts", "红心", "\N{DOG FACE}"])
    known = words.__contains__
    assert unknown_words("a red heart 红 \N{DOG FACE}", known) == []
    assert unknown_words("an explosion 黄 고양이 \N{CAT FACE}", known) == ["explosion", "黄", "고양이", "\N{CAT FACE}"]
