import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tonggan.data.pack import Pack, pack
from tonggan.errors import UserError
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.compare import compare
from tonggan.evaluation.descent import learned_from
from tonggan.evaluation.described import Sounds
from tonggan.evaluation.drawing import choose
from tonggan.evaluation.materials import SpectraClassifier
from tonggan.evaluation.naming import namers, parts
from tonggan.evaluation.paired import load_rows
from tonggan.evaluation.sounds_of_words import evaluate_sounds_of_words
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound
from tonggan.modalities.spectrogram import Mel

MEL = Mel()
SECONDS = 0.768
WORDS, VOICES = ("rise", "fall"), ("deep", "high")


def glide(word: str, *, silence: float = 0.0, loudness: float = 0.3, noise: int = 0, pitch: float = 1.0) -> np.ndarray:
    """A glide of half a second, up or down, behind so many seconds of silence."""
    seconds = np.arange(MEL.sample_rate_hz // 2) / MEL.sample_rate_hz
    hertz = pitch * (300 + 1200 * (seconds if word == "rise" else 0.5 - seconds))
    heard = np.sin(2 * np.pi * np.cumsum(hertz) / MEL.sample_rate_hz)
    whole = np.zeros(round(SECONDS * MEL.sample_rate_hz))
    begin = round(silence * MEL.sample_rate_hz)
    whole[begin : begin + len(heard)] = (loudness * heard)[: len(whole) - begin]
    return (whole + 1e-4 * np.random.default_rng(noise).normal(size=len(whole))).astype(np.float32)


def test_words_are_named_by_their_course_wherever_and_however_loud() -> None:
    known = [(word, glide(word, silence=0.1, noise=number)) for number in range(8) for word in WORDS]
    classifier = SpectraClassifier.fit(np.stack([parts(torch.from_numpy(each), MEL) for _, each in known]), [word for word, _ in known])
    asked = [(word, glide(word, silence=silence, loudness=0.1, noise=99)) for word in WORDS for silence in (0.0, 0.2)]
    assert classifier.names_of(np.stack([parts(torch.from_numpy(each), MEL) for _, each in asked])) == [word for word, _ in asked]


def test_silence_has_parts_too() -> None:
    assert np.isfinite(parts(torch.zeros(8000), MEL)).all()


class Parrot:
    """Says what it is told, in the voice that it is told; `deaf` to the voice, always in the deep one."""

    name, weights_hash, phrasings = "parrot", "0" * 64, None

    def __init__(self, *, deaf: bool = False) -> None:
        self.deaf = deaf

    def settings(self, to: str) -> dict[str, object]:
        return {}

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Sound]:
        said = (text.split(", ") for text in inputs)
        made = (
            glide(word, silence=0.05, noise=500 + seed, pitch=1.0 if self.deaf else pitch_of(voice))
            for (word, voice), seed in zip(said, seeds, strict=True)
        )
        return [Sound(each[None], MEL.sample_rate_hz) for each in made]


def pitch_of(voice: str) -> float:
    return 1.0 if voice == "deep" else 2.5


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Two words in two voices: 48 sounds to learn from, 12 to be judged; the tag `take` is another for every row, `mood` always the same."""
    folder = tmp_path_factory.mktemp("glides")
    rows = []
    for number in range(60):
        word, voice = WORDS[number % 2], VOICES[number // 2 % 2]
        soundfile.write(folder / f"{number}.wav", glide(word, silence=number % 5 / 25, noise=number, pitch=pitch_of(voice)), MEL.sample_rate_hz)
        split = "test" if number >= 48 else "train"
        rows.append(
            {"file_name": f"{number}.wav", "text": f"{word}, {voice}", "split": split, "word": word, "voice": voice, "take": number, "mood": "calm"}
        )
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return pack(folder, framing=Framing(size=16, clip_seconds=SECONDS), out=folder.with_name("glides-pack"))


@pytest.mark.usefixtures("brief_judges")
def test_tags_that_can_be_told_are_named(packed: Pack, tmp_path: Path) -> None:
    card = evaluate_sounds_of_words(Parrot(), Asked(packed, "test", tmp_path / "good"))  # type: ignore[arg-type]
    assert {figure.key: figure.value for figure in card.figures if figure.name == "tag_accuracy"} == {
        "tag_accuracy @ voice": 1.0,
        "tag_accuracy @ word": 1.0,
    }
    columns = {column.name: {figure.key: figure.value for figure in column.figures} for column in card.columns}
    assert list(columns) == ["true sound", "nearest training caption", "another row's caption", "other real sounds"]
    assert columns["true sound"]["tag_accuracy @ word"] == columns["nearest training caption"]["tag_accuracy @ word"] == 1.0
    assert columns["another row's caption"]["tag_accuracy @ word"] < 0.8
    assert columns["true sound"]["kernel_distance @ log-mel statistics"] < card.figure("kernel_distance @ log-mel statistics").value
    assert len(list((tmp_path / "good" / "sounds").iterdir())) == 12
    page = (tmp_path / "good" / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 24
    assert "voice named, word named" in page
    assert "Worst" not in page  # all are alike
    deaf = evaluate_sounds_of_words(Parrot(deaf=True), Asked(packed, "test", tmp_path / "deaf"))  # type: ignore[arg-type]
    assert {figure.key: figure.value for figure in deaf.figures if figure.name == "tag_accuracy"} == {
        "tag_accuracy @ voice": 0.5,
        "tag_accuracy @ word": 1.0,
    }
    assert "Worst" in (tmp_path / "deaf" / "report.html").read_text(encoding="utf-8")
    rows = [load_rows(tmp_path / name / "card.json") for name in ("good", "deaf")]
    assert "voice" in compare([card, deaf], names=["good", "deaf"], rows=rows)


def test_tags_of_unseen_or_too_few_values_are_not_named(packed: Pack) -> None:
    samples = choose(packed, split="test", language="en", phrasings=None, seed=0, limit=None).samples
    assert list(namers(packed, packed.indices("train"), samples)) == ["voice", "word"]
    assert namers(packed, packed.indices("train")[:6], samples) == {}


def test_of_many_training_sounds_some_of_each_kind_are_learned_from(packed: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that lie sorted by voice: the first half of them has one voice alone."""
    monkeypatch.setattr("tonggan.evaluation.naming.ROWS", 24)
    samples = choose(packed, split="test", language="en", phrasings=None, seed=0, limit=None).samples
    training = packed.indices("train")
    by_voice = training[np.argsort([packed.row(int(row)).tags["voice"] for row in training], kind="stable")]
    assert list(namers(packed, by_voice, samples)) == ["voice", "word"]
    assert list(namers(packed, by_voice[:24], samples)) == ["word"]


def test_the_rows_that_are_learned_from() -> None:
    rows = np.arange(100, 200)
    assert learned_from(rows, 100).tolist() == rows.tolist()
    some = learned_from(rows, 40)
    assert len(set(some.tolist())) == 40
    assert set(some.tolist()) <= set(rows.tolist())
    assert some.max() > 170
    assert learned_from(rows, 40).tolist() == some.tolist()


@pytest.mark.usefixtures("brief_judges")
def test_sounds_lie_near_those_that_are_alike(packed: Pack) -> None:
    sounds = Sounds(packed)
    rows = packed.indices("test").tolist()
    features, known = sounds.features(rows, ""), sounds.features(sounds.training(), "")
    nearest = np.asarray(sounds.training())[((features[:, None] - known[None]) ** 2).sum(2).argmin(1)]
    said = [[packed.row(int(row)).captions["en"][0] for row in each] for each in (rows, nearest)]
    assert np.mean([one == other for one, other in zip(*said, strict=True)]) > 0.9
    picture, sound = sounds.shown(rows[0])
    assert picture.width > 300
    assert sound is not None
    assert Sounds(packed, reference="none").facts.name == "log-mel statistics"


def test_what_cannot_be_judged_is_said_at_once(packed: Pack, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a pack of image: text->audio needs one of audio or video"):
        evaluate_sounds_of_words(Parrot(), Asked(pack(shapes, out=tmp_path / "pack"), "train", tmp_path / "out"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no row of the split 'test' has a caption in 'fr'"):
        evaluate_sounds_of_words(Parrot(), Asked(packed, "test", tmp_path / "out", language="fr"))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    card = evaluate_sounds_of_words(Parrot(), Asked(packed, "test", tmp_path / "alone", limit=4, reference="none"))  # type: ignore[arg-type]
    assert {figure.name for figure in card.figures} == {"frechet_distance", "kernel_distance"}
    assert any("no split 'none'" in warning for warning in card.warnings)
