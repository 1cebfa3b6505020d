import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tonggan.errors import UserError
from tonggan.files import read_text, replacing


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as beside:
        beside.write_text(str(1 / 0))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_weights_may_be_read_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "a.safetensors") as beside:
            save_file({"a": torch.zeros(1)}, str(beside))
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644


def test_text_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("红心".encode("gbk"))
    with pytest.raises(UserError, match="Save it as UTF-8"):
        read_text(tmp_path / "a.csv")
