import pytest

from tonggan.progress import counted, progress_bars


def test_a_log_is_told_now_and_then_where_what_goes_on_stands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 10.0, 31.0, 40.0, 70.0, 110.0])
    monkeypatch.setattr("tonggan.progress.time.monotonic", lambda: next(seconds))
    with progress_bars() as show:
        for what, done in (("features", 100), ("features", 1200), ("drawing", 4), ("drawing", 5)):
            show(what, done, 13_320)
        show("drawing", 6663, 13_320, "loss 0.1")
    said = ["features: 1,200 of 13,320, 4 min left", "drawing: 5 of 13,320, 6658 min left", "drawing: 6,663 of 13,320, 1 min left  loss 0.1"]
    assert capsys.readouterr().err.splitlines() == [f"tonggan: {line}" for line in said]


def test_one_is_said_in_the_singular() -> None:
    assert [counted(count, "rows to train on") for count in (0, 1, 1200)] == ["0 rows to train on", "1 row to train on", "1,200 rows to train on"]
