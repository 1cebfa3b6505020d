import json
from pathlib import Path

import pytest
from PIL import Image

from tonggan.errors import UserError
from tonggan.feedback.preferences import export_preferences, import_preferences
from tonggan.feedback.report import report
from tonggan.feedback.tables import Choice, Output, Vote
from tonggan.feedback.votes import VoteStore


def opened(folder: Path) -> VoteStore:
    return VoteStore(f"sqlite:///{folder / 'votes.sqlite'}")


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    """A folder with votes on two pictures and two sentences."""
    folder = tmp_path / "arena"
    (folder / "outputs").mkdir(parents=True)
    store = opened(folder)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (8, 8), colour).save(folder / "outputs" / f"{name}.png")
        picture = Output(id=name, arrow="text->image", prompt="红心", model=name, weights="w", mime="image/png", content=f"outputs/{name}.png")
        store.register([picture, Output(id=f"{name}-text", arrow="image->text", prompt="heart.png", model=name, content=f"a {colour} heart")])
    store.vote(Vote(voter="one", first="a", second="b", choice=Choice.SECOND))
    store.vote(Vote(voter="two", first="a", second="b", choice=Choice.TIE))
    store.vote(Vote(voter="one", first="a-text", second="b-text", choice=Choice.FIRST, comment="it <b>is</b> 红"))
    store.vote(Vote(voter="one", first="a", second="a", choice=Choice.TIE))
    store.vote(Vote(voter="careless", first="a", second="a", choice=Choice.FIRST))
    store.vote(Vote(voter="careless", first="a", second="b", choice=Choice.FIRST))
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_there_and_back(arena: Path, tmp_path: Path) -> None:
    out = tmp_path / "preferences" / "train.jsonl"
    written = export_preferences(opened(arena), arena, out)
    assert (written.rows, written.without_preference, written.left_out) == (2, 1, 1)
    picture, sentence = rows(out)
    assert {name: picture[name] for name in ("prompt", "chosen", "rejected")} == {
        "prompt": "红心",
        "chosen": "files/b.png",
        "rejected": "files/a.png",
    }
    assert {name: sentence[name] for name in ("prompt", "chosen", "rejected")} == {
        "prompt": "heart.png",
        "chosen": "a red heart",
        "rejected": "a blue heart",
    }
    assert Image.open(out.parent / picture["chosen"]).getpixel((0, 0)) == (0, 0, 255)
    assert (picture.get("comment"), sentence["comment"]) == (None, "it <b>is</b> 红")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert import_preferences(opened(elsewhere), out, elsewhere, arrow="text->text") == (2, 0)
    assert import_preferences(opened(elsewhere), out, elsewhere, arrow="text->text") == (0, 2)
    assert import_preferences(opened(arena), out, arena, arrow="text->text") == (0, 2)
    found = {each.arrow: each.ranking.duels[0] for each in report(opened(elsewhere))}
    assert {arrow: (duel.first, duel.second, duel.wins) for arrow, duel in found.items()} == {
        "text->image": ("b", "a", 1),
        "image->text": ("a", "b", 1),
    }
    again = tmp_path / "again" / "train.jsonl"
    export_preferences(opened(elsewhere), elsewhere, again)
    assert [(row["chosen_output"], row["rejected_output"]) for row in rows(again)] == [("b", "a"), ("a-text", "b-text")]
    assert rows(again)[1]["comment"] == "it <b>is</b> 红"
    assert Image.open(again.parent / rows(again)[0]["chosen"]).getpixel((0, 0)) == (0, 0, 255)


def test_preferences_of_others(tmp_path: Path) -> None:
    ask, good, poor = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "assistant", "content": "go away"})
    foreign = [{"prompt": "hi", "chosen": "hello", "rejected": "go away"}, {"prompt": [ask], "chosen": [ask, good], "rejected": [ask, poor]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in foreign))
    store = opened(tmp_path)
    assert import_preferences(store, tmp_path / "rows.jsonl", tmp_path, arrow="text->text") == (2, 0)
    ballots = store.ballots()["text->text"]
    assert {ballot.first.content for ballot in ballots} | {ballot.second.content for ballot in ballots} == {"hello", "go away"}
    assert len({ballot.voter for ballot in ballots}) == 2
    assert report(store)[0].ranking.standings[0].model == "chosen"


def test_a_voter_who_says_both_stores_nothing(tmp_path: Path) -> None:
    row = {"prompt": "hi", "chosen": "hello", "rejected": "go away", "chosen_model": "m", "rejected_model": "m", "voter": "one"}
    opposite = row | {"chosen": row["rejected"], "rejected": row["chosen"]}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (row, row, opposite)))
    store = opened(tmp_path)
    with pytest.raises(UserError, match="row 3: voter 'one' said the opposite"):
        import_preferences(store, tmp_path / "rows.jsonl", tmp_path, arrow="text->text")
    assert store.ballots() == {}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (row, row)))
    assert import_preferences(store, tmp_path / "rows.jsonl", tmp_path, arrow="text->text") == (1, 1)
    (tmp_path / "rows.jsonl").write_text(json.dumps(opposite))
    with pytest.raises(UserError, match="row 1: voter 'one' said the opposite"):
        import_preferences(store, tmp_path / "rows.jsonl", tmp_path, arrow="text->text")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "hi", "chosen": "hello"}, "row 2: no rejected"),
        ({"prompt": "", "chosen": "", "rejected": "x"}, "no prompt and no chosen"),
        ({"prompt": "hi", "chosen": 5, "rejected": "x"}, "no chosen"),
        ({"prompt": "hi", "chosen": "../../etc/passwd", "rejected": "x.png", "mime": "image/png"}, "leads out of"),
        ({"prompt": "hi", "chosen": "gone.png", "rejected": "x.png", "mime": "image/png"}, "no such file"),
        ({"prompt": "hi", "chosen": "x", "rejected": "x", "chosen_model": "m", "rejected_model": "m"}, "are the same"),
    ],
)
def test_a_row_that_is_no_preference_stores_nothing(tmp_path: Path, row: dict[str, object], said: str) -> None:
    good = {"prompt": "hi", "chosen": "hello", "rejected": "go away"}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (good, row)))
    store = opened(tmp_path)
    with pytest.raises(UserError, match=said):
        import_preferences(store, tmp_path / "rows.jsonl", tmp_path, arrow="text->text")
    assert store.ballots() == {}


def test_what_cannot_be_exported(arena: Path, tmp_path: Path) -> None:
    (arena / "outputs" / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png: no such file"):
        export_preferences(opened(arena), arena, tmp_path / "out" / "train.jsonl")
    assert not (tmp_path / "out" / "train.jsonl").exists()
    with pytest.raises(UserError, match="nothing to export"):
        export_preferences(opened(tmp_path), tmp_path, tmp_path / "out" / "train.jsonl")


def test_a_voter_is_left_out_where_the_report_leaves_him_out(arena: Path, tmp_path: Path) -> None:
    store = opened(arena)
    store.vote(Vote(voter="careless", first="a-text", second="a-text", choice=Choice.TIE))  # attentive to sentences, twice
    store.vote(Vote(voter="careless", first="b-text", second="b-text", choice=Choice.TIE))
    store.vote(Vote(voter="careless", first="a-text", second="b-text", choice=Choice.FIRST))
    assert {each.arrow: each.left_out for each in report(store)} == {"text->image": 1, "image->text": 0}
    export_preferences(store, arena, tmp_path / "out" / "train.jsonl")
    assert [(row["arrow"], row["voter"]) for row in rows(tmp_path / "out" / "train.jsonl")] == [
        ("text->image", "one"),
        ("image->text", "one"),
        ("image->text", "careless"),
    ]
