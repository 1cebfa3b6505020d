import json
import shutil
from pathlib import Path

import pytest

from tonggan.errors import UserError
from tonggan.evaluation import java_metrics
from tonggan.evaluation.captions import Said
from tonggan.evaluation.java_metrics import check_java, meteor, spice

GOLDEN = json.loads(Path(__file__).with_name("golden_captions.json").read_text(encoding="utf-8"))


def test_what_is_missing_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--java metoer is not known.*Did you mean 'meteor'"):
        check_java(["metoer"])
    (tmp_path / "java").write_text("#!/bin/sh\necho 'no memory' >&2; exit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"spice needs lib/stanford-corenlp-3\.6\.0\.jar"):
        spice([Said.of("a dog", ["a dog"])])
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(UserError, match="meteor failed: no memory"):
        meteor([Said.of("a dog", ["a dog"])])
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="there is no program `java`"):
        check_java(["meteor"])
    monkeypatch.setattr(java_metrics.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(UserError, match="pip install pycocoevalcap"):
        check_java(["meteor"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR is a Java program")
def test_meteor_is_pycocoevalcaps() -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    corpus = [Said.of(row["candidate"], row["references"]) for row in GOLDEN["rows"]]
    truth = {i: [" ".join(each) for each in said.references] for i, said in enumerate(corpus)}
    whole, expected = Meteor().compute_score(truth, {i: [" ".join(said.candidate)] for i, said in enumerate(corpus)})
    found = meteor(corpus)
    assert found.by_row == pytest.approx(expected, abs=1e-6)
    assert found.corpus == pytest.approx(whole, abs=1e-6)
