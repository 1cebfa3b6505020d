import os
from pathlib import Path

import pytest
from PIL import Image

from tonggan.errors import UserError
from tonggan.feedback.tables import Choice, Vote
from tonggan.feedback.votes import VoteStore
from tonggan.modalities import Framing, modalities
from tonggan.pipeline import Tonggan
from tonggan.serving.contest import Contest
from tonggan.serving.prompts import Prompt, read_prompts


@pytest.fixture
def votes_url(tmp_path: Path) -> str:
    """One kind of store is enough here."""
    return f"sqlite:///{tmp_path / 'votes.sqlite'}"


def test_outputs_are_made_once(contest: Contest, store: VoteStore, sketchers: tuple[Path, Path], prompts: list[Prompt]) -> None:
    told: list[tuple[str, int, int]] = []
    assert contest.prepare(lambda *shown: told.append(shown)) == 24
    assert told[-1] == ("outputs of sketch-b", 12, 12)
    made = {file: file.stat().st_mtime_ns for file in contest.files.values()}
    assert all(Image.open(file).size == (32, 32) for file in made)
    gone = next(iter(made))
    os.unlink(gone)
    models = {path.name: Tonggan.from_pretrained(path) for path in sketchers}
    again = Contest(models, prompts, contest.folder, store, arrow="text->image")
    assert again.prepare() == 1
    assert {file for file in made if file.stat().st_mtime_ns != made[file]} == {gone}


def test_files_tell_nothing_of_their_makers(contest: Contest) -> None:
    contest.prepare()
    for entry in contest.entries.values():
        content = contest.files[entry.id].read_bytes()
        assert entry.model not in entry.id
        assert b"parameters" not in content
        assert b"tonggan" not in content
    assert (contest.folder / "secret").stat().st_mode & 0o077 == 0


def test_a_picture_is_the_one_that_the_model_draws(contest: Contest) -> None:
    contest.ensure(contest.pairs[3])
    assert len(contest.files) == 2
    for name in contest.pairs[3]:
        entry = contest.entries[name]
        drawn = contest.models[entry.model].generate(contest.prompts[3].text, to="image", seed=3)[0]
        assert Image.open(contest.files[name]).tobytes() == drawn.tobytes()


def test_the_store_knows_how_an_output_was_made(contest: Contest, store: VoteStore) -> None:
    contest.prepare()
    first, second = contest.pairs[5]
    store.vote(Vote(voter="one", first=first, second=second, choice=Choice.FIRST))
    ballot = store.ballots()["text->image"][0]
    assert (ballot.first.model, ballot.second.model, ballot.first.prompt, ballot.first.seed) == (*contest.models, contest.prompts[5].text, 5)
    assert len(ballot.first.weights) == 64
    assert (contest.folder / ballot.first.content).is_file()


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("a\n\nb\n", "p.txt", "line 2: the prompt is empty"),
        ("", "p.txt", "the file is empty"),
        ('{"text": "a"}\n{"text": " "}\n', "p.jsonl", "row 2: the prompt is empty"),
        ('{"txt": "a"}\n', "p.jsonl", "Did you mean 'txt'"),
        ('{"text": "a', "p.jsonl", "line 1: JSON that is cut off"),
        ("a", "p.doc", "not a kind of table"),
    ],
)
def test_prompts_that_are_refused(tmp_path: Path, text: str, name: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read_prompts(tmp_path / name, modalities()["text"])
    with pytest.raises(UserError, match="no such file"):
        read_prompts(tmp_path / "gone.txt", modalities()["text"])


def test_prompts_that_are_files(shapes: Path, tmp_path: Path) -> None:
    found = read_prompts(shapes / "metadata.jsonl", modalities()["image"])
    assert len(found) == 16
    assert found[0].value(modalities()["image"], Framing()).size == (64, 64)
    (tmp_path / "pictures.txt").write_text("gone.png\n")
    with pytest.raises(UserError, match=r"gone\.png: no such file"):
        read_prompts(tmp_path / "pictures.txt", modalities()["image"])


def test_contests_that_make_no_sense(sketchers: tuple[Path, Path], prompts: list[Prompt], store: VoteStore, tmp_path: Path) -> None:
    one = Tonggan.from_pretrained(sketchers[0])
    with pytest.raises(UserError, match="the same model"):
        Contest({"one": one, "again": one}, prompts, tmp_path, store, arrow="text->image")
    with pytest.raises(UserError, match="no encoder for 'image'"):
        Contest({"one": one, "two": one}, prompts, tmp_path, store, arrow="image->text")
    with pytest.raises(UserError, match="Did you mean 'image'"):
        Contest({"one": one, "two": one}, prompts, tmp_path, store, arrow="text->images")


def test_sentences_about_pictures(describer: Tonggan, shapes: Path, store: VoteStore, tmp_path: Path) -> None:
    describer.save_pretrained(tmp_path / "other")
    other = Tonggan.from_pretrained(tmp_path / "other")
    other.overrides["language"] = "zh"
    contest = Contest(
        {"en": describer, "zh": other},
        read_prompts(shapes / "metadata.jsonl", modalities()["image"])[:3],
        tmp_path / "arena",
        store,
        arrow="image->text",
    )
    contest.ensure(contest.pairs[0])
    prompt, file = contest.prompt_of(contest.pairs[0][0])
    assert prompt.text == "red-square.png"
    assert file is not None
    assert Image.open(file).size == (64, 64)
    store.vote(Vote(voter="one", first=contest.pairs[0][0], second=contest.pairs[0][1], choice=Choice.FIRST))
    ballot = store.ballots()["image->text"][0]
    assert ballot.first.content == str(describer.generate(Image.open(file), to="text")[0])
    assert ballot.first.is_text
