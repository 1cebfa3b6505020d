from pathlib import Path

import pytest
from full_disk import full_disk

from tonggan.errors import DiskFullError, UserError
from tonggan.layers.vocabulary import LEAST_PIECES, Vocabulary


def vocabulary(captions: list[str]) -> Vocabulary:
    return Vocabulary.train(captions * 3, size=300, lowercase=True)


def test_a_vocabulary_takes_the_place_of_another_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary(["a red heart"]).save(path)
    kept = path.read_bytes()
    with full_disk(len(kept) // 2), pytest.raises(DiskFullError, match="no space left"):
        vocabulary(["a blue square"]).save(path)
    assert path.read_bytes() == kept
    assert list(tmp_path.iterdir()) == [path]
    vocabulary(["a blue square"]).save(path)
    assert Vocabulary.load(path).encode("square") == vocabulary(["a blue square"]).encode("square")


def test_nothing_is_read_of_an_empty_text() -> None:
    assert vocabulary(["a red heart"]).cut_at("", 6) == (0, 0)


def test_no_vocabulary_is_smaller_than_it_says() -> None:
    assert Vocabulary.train(["a red heart"] * 3, size=1, lowercase=True).size == LEAST_PIECES


def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = vocabulary(["a red heart"])

    class Refused:
        def save(self, path: str) -> None:
            raise Exception("Permission denied (os error 13)")

    monkeypatch.setattr(made, "tokenizer", Refused())
    with pytest.raises(UserError, match="may not be written to"):
        made.save(tmp_path / "vocabulary.json")
