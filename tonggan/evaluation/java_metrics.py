"""METEOR and SPICE: metrics of sentences whose only implementations are Java programs, run as `pycocoevalcap` packs them."""

import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tonggan.errors import UserError, nearest
from tonggan.evaluation.captions import Said
from tonggan.evaluation.intervals import Numbers

METEOR_JAR, SPICE_JAR = "meteor-1.5.jar", "spice-1.0.jar"
SPICE_NEEDS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
"""What SPICE parses with; `pycocoevalcap` does not bring it."""
PATIENCE_SECONDS = 600
MEMORY = {"meteor": "2G", "spice": "8G"}


def check_java(names: Sequence[str]) -> None:
    """Raise `UserError` where a metric is not known, or Java or a program of it is missing."""
    for name in names:
        if name not in JAVA_METRICS:
            raise UserError(f"--java {name} is not known.{nearest(name, JAVA_METRICS)}")
    if not names:
        return
    if shutil.which("java") is None:
        raise UserError(f"{' and '.join(names)} need Java, and there is no program `java`: install a Java runtime, or leave out --java.")
    for name in names:
        _program(name)


@dataclass(frozen=True)
class Scores:
    """Scores of sentences, (N,), and of the corpus as its reference implementation reports it."""

    by_row: Numbers
    corpus: float


def meteor(corpus: Sequence[Said]) -> Scores:
    """Return METEOR 1.5 of sentences (Denkowski & Lavie 2014), and of their summed statistics, which is what papers report.

    Raises `UserError` where Java or the program is missing, or fails.
    """
    check_java(["meteor"])
    asked = [f"SCORE ||| {' ||| '.join(' '.join(each) for each in said.references)} ||| {' '.join(said.candidate)}\n" for said in corpus]
    command = [METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
    statistics = _run("meteor", command, "".join(asked)).splitlines()
    told = _run("meteor", command, f"EVAL ||| {' ||| '.join(statistics)}\n").split()
    if len(told) != len(corpus) + 1:
        raise UserError(f"METEOR answered {len(told)} numbers for {len(corpus)} sentences: try again, or leave out --java meteor.")
    return Scores(np.asarray(told[:-1], dtype=np.float64), float(told[-1]))


def spice(corpus: Sequence[Said]) -> Scores:
    """Return SPICE of sentences (Anderson et al. 2016, arXiv 1607.08822), and its mean; where it is not defined, 0.

    Raises `UserError` where Java or the program is missing, or fails.
    """
    check_java(["spice"])
    asked = [{"image_id": i, "test": " ".join(said.candidate), "refs": [" ".join(each) for each in said.references]} for i, said in enumerate(corpus)]
    with tempfile.TemporaryDirectory() as folder:
        given, told = Path(folder) / "given.json", Path(folder) / "told.json"
        given.write_text(json.dumps(asked), encoding="utf-8")
        (Path(folder) / "cache").mkdir()
        _run("spice", [SPICE_JAR, str(given), "-cache", str(Path(folder) / "cache"), "-out", str(told), "-subset", "-silent"], "")
        found = {each["image_id"]: each["scores"]["All"]["f"] for each in json.loads(told.read_text(encoding="utf-8"))}
    scores = np.nan_to_num(np.asarray([found[i] for i in range(len(corpus))], dtype=np.float64))
    return Scores(scores, float(scores.mean()))


JAVA_METRICS: Mapping[str, Callable[[Sequence[Said]], Scores]] = {"meteor": meteor, "spice": spice}


def _program(name: str) -> Path:
    """Return the folder of a program; raises `UserError` where something of it is missing."""
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{name} needs pycocoevalcap: pip install pycocoevalcap (the extra 'java')")
    folder = Path(next(iter(found.submodule_search_locations))) / name
    needed = {"meteor": [METEOR_JAR, "data/paraphrase-en.gz"], "spice": [SPICE_JAR, *(f"lib/{each}" for each in SPICE_NEEDS)]}[name]
    if missing := [each for each in needed if not (folder / each).is_file()]:
        raise UserError(
            f"{name} needs {' and '.join(missing)} in {folder}: put them there (SPICE's are Stanford CoreNLP 3.6.0), or leave out --java {name}."
        )
    return folder


def _run(name: str, command: Sequence[str], given: str) -> str:
    whole = ["java", f"-Xmx{MEMORY[name]}", "-jar", *command]
    try:
        done = subprocess.run(whole, cwd=_program(name), input=given, capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{name} could not be run ({error}). Leave out --java {name}.") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[0]
        raise UserError(f"{name} failed: {said}. Leave out --java {name}.")
    return done.stdout
