"""A run: a recipe, a pack and a folder in which everything is kept; started, stopped, resumed."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout
from rich.console import Console

from tonggan import __version__
from tonggan.arithmetic import choose_device
from tonggan.data.seen_rows import HELD, Rows, joined, load_rows, save_rows
from tonggan.errors import UserError
from tonggan.latent.seen_words import load_words, save_words
from tonggan.modalities import modalities
from tonggan.model import CrossModalModel, ends
from tonggan.model_card import model_card
from tonggan.model_folder import Loaded, save_model
from tonggan.parts import Decoder
from tonggan.plugins import code_of, kept, save_code
from tonggan.progress import progress_bars
from tonggan.training.beginning import (
    Begun,
    begin,
    chosen_dtype,
    companion,
    fit,
    learner_of,
    notices,
    seen_before,
    taken_over,
    total_samples,
    words_known,
)
from tonggan.training.checkpoint import checkpoint_folders, load_checkpoint, save_checkpoint
from tonggan.training.choice import UNMEASURED, Choice, Judge, check_best_by
from tonggan.training.journal import Journal
from tonggan.training.loop import StepReport
from tonggan.training.recipe import Recipe, recipe_files
from tonggan.training.recorded import check_resumed, held_before, record, recorded_before
from tonggan.training.revision import commit
from tonggan.training.sources import Data, check_there, open_data

VOCABULARY_SAMPLES = 40_000
"""Samples of the training stream that parts see before training (the BPE vocabulary)."""


class InterruptedRunError(UserError):
    """The user stopped the run; a checkpoint was written."""


class Run:
    """A folder `out` with run.json, assets/, journal.jsonl, checkpoints/, samples/ and model/ (the best average so far).

    `judging` makes the judge of outputs, from the recipe and the data; it is asked where the recipe's `monitor.evaluate_every` is set.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        resume: bool,
        console: Console,
        cache: Path | None = None,
        judging: Callable[[Recipe, Data], Judge] | None = None,
    ) -> None:
        choose_device(recipe.device)  # what is not there is said before anything is packed
        self.out, self.console = out, console
        self.checkpoints = out / "checkpoints"
        if resume:
            check_resumed(recipe, out)
        elif checkpoint_folders(self.checkpoints):
            raise UserError(f"{out} holds a run already. Go on with --resume, or choose another folder.")
        self.recipe = recipe
        check_there(recipe)
        begun = None if resume else begin(recipe)  # what is wrong with weights and objectives is said before anything is packed
        beside = companion(recipe)
        seen = None if begun is None else seen_before(begun, beside)
        self.data = open_data(recipe, cache=cache or out.parent / "packs", console=console, seen=seen, kept=held_before(out) if resume else None)
        self.judge = judging(recipe, self.data) if judging and recipe.monitor.evaluate_every else None
        check_best_by(recipe, self.judge, resume=resume)
        by = recipe.monitor.best_by
        self.choice = Choice(by, higher=by == "latest" or bool(self.judge and self.judge.higher.get(by)), apart=self.data.apart)
        self._hold()  # nothing is written before: what is refused leaves no folder
        self.before: dict[str, Any] | None = None
        self.code = code_of(recipe.plugins)
        checkpoint = load_checkpoint(self.checkpoints) if begun is None else None
        dtype = self._chosen_dtype() if checkpoint is None else checkpoint.facts["dtype"]
        self.model = self._unfinished() if begun is None else self._fitted(begun, seen)
        self.read_from = self._read_from(beside)
        self.learner = learner_of(self.model, recipe, beside=beside, total_samples=total_samples(recipe, self.data.count), dtype=dtype)
        if checkpoint is not None:
            self.learner.restore(checkpoint)
        else:
            record(out, recipe, dtype=dtype, before=self.before, read_from=self.read_from)
        for notice in [] if begun is None else notices(recipe, begun, samples=self.learner.total_samples):
            console.print(notice)
        self.before = recorded_before(out, self.read_from)
        after = None if checkpoint is None else checkpoint.step
        self.journal = Journal(out, tensorboard=recipe.monitor.tensorboard, after_step=after)
        self.stop_asked = False
        self._kept_at = time.monotonic()
        self._unkept = "nothing was measured since the run went on"
        self._measured: tuple[int, dict[str, float]] = (-1, {})
        # Whether the last look, of an earlier sitting, too, found what the players make worth keeping.
        self._sound = not any(player.suspected() for player in self.learner.players)

    def _hold(self) -> None:
        """Keep other processes out of the folder until the run has ended; raises `UserError` where one is in it."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.out / ".lock", is_singleton=True)
        try:
            self.lock.acquire(blocking=False)
        except Timeout:
            raise UserError(f"another process trains in {self.out}. Let it end (Ctrl-C writes a checkpoint), or choose another folder.") from None

    def _read_from(self, beside: Loaded | None) -> list[tuple[str, str, str]]:
        """Return all that is learned from: (path, what it is, SHA-256); `beside` is the teacher or the reference."""
        recipe, objectives = self.recipe, self.recipe.objectives
        read = [(recipe.data.path, "data", self.data.pack.content_hash)]
        read += [(name, f"plugin {name}", sha256(content).hexdigest()) for name, content in self.code.items()]
        if objectives.prefer is not None and self.data.preferences is not None:
            read.append((objectives.prefer.preferences, "preferences", self.data.preferences.digest))
        if beside is not None:
            named = objectives.distil.teacher if objectives.distil is not None else objectives.prefer and objectives.prefer.reference
            read.append((named or recipe.initial or "the reference", "companion", beside.weights_hash))
        return read

    def _chosen_dtype(self) -> str:
        """Return the arithmetic of a new run, and say which it is."""
        dtype = chosen_dtype(self.recipe)
        measured = ", measured to be the best here; dtype=float32 is the same everywhere" if self.recipe.dtype == "auto" else ""
        self.console.print(f"arithmetic: {dtype}{measured}")
        return dtype

    def _unfinished(self) -> CrossModalModel:
        """Return the model of a run that goes on; its weights are in the checkpoint."""
        model = CrossModalModel(self.recipe.model.kept_in(self.out / "assets"))
        model.load_assets(self.out / "assets")
        return model

    def _fitted(self, begun: Begun, seen: Rows | None) -> CrossModalModel:
        """Return the model as it starts, and write down what its parts learned without gradients, and which rows are learned from, those `seen` before too."""
        fit(begun, self.recipe, self.data.loader, samples=min(VOCABULARY_SAMPLES, 8 * self.data.count))
        if begun.initial is not None:
            config = begun.initial.config
            self.before = {"model": config["name"], "weights_hash": begun.initial.weights_hash} | dict(config["trained"])
        for line in taken_over(self.recipe, begun):
            self.console.print(line)
        assets = self.out / "assets"
        assets.mkdir(parents=True, exist_ok=True)
        begun.model.save_assets(assets)
        save_words(assets, words_known(begun, self.data.loader))
        save_code(assets, self.code)
        save_rows(assets, joined(seen, self.data.train_rows))
        save_rows(assets, self.data.held_rows, name=HELD)
        return begun.model

    def train(self) -> None:
        """Train to the end of the schedule, or until Ctrl-C; raises `InterruptedRunError` then, after a checkpoint."""
        try:
            self._to_the_end()
        finally:
            self.journal.close()
            self.lock.release(force=True)

    def _to_the_end(self) -> None:
        monitor, learner = self.recipe.monitor, self.learner
        if learner.step == 0:
            self._checkpoint()
        else:
            steps = math.ceil(learner.total_samples / self.recipe.schedule.batch_size)
            self.console.print(f"{'ended before, at' if learner.finished else 'goes on from'} step {learner.step:,} of {steps:,}")
        with self._signals(), self._bar() as bar:
            while not learner.finished and not self.stop_asked:
                report = learner.advance(self.data.loader)
                self._check_dropped()
                bar(report)
                if learner.step % monitor.log_every == 0 or report.dropped:
                    self._log(report)
                if learner.step % monitor.validate_every == 0:
                    self._validate()
                if self.judge and learner.step % monitor.evaluate_every == 0:
                    self._evaluate(self.judge)
                if learner.step % monitor.preview_every == 0:
                    self._preview()
                if learner.step % monitor.checkpoint_every == 0 or self._checkpoint_due():
                    self._checkpoint()
        if not learner.finished:
            self._checkpoint()
            raise InterruptedRunError(
                f"stopped at step {learner.step:,}; a checkpoint is in {self.checkpoints}. Go on with the same command and --resume."
            )
        self._finish()

    def _check_dropped(self) -> None:
        try:
            self.learner.check_dropped()
        except UserError as error:
            self._checkpoint()  # whose loss was not finite did not move: this is the last good state
            raise UserError(f"{error} The run ends here; {self._to_begin_from()}.") from error

    def _to_begin_from(self) -> str:
        """Say what another run can begin from where this one broke: the best average so far, or the last, which is kept then."""
        learner, folder = self.learner, self.out / "model"
        if folder.is_dir():
            return f"its best average so far is in {folder}: another run begins from it with initial={self.out}"
        if learner.dropped == learner.step or not all(each.isfinite().all() for each in learner.average.average):
            return "nothing was learned that another could begin from"
        self.export(folder)
        return f"its last good average is in {folder}: another run begins from it with initial={self.out}"

    def _finish(self) -> None:
        learner = self.learner
        if learner.step % self.recipe.monitor.validate_every:
            self._validate()
        if self.judge and learner.step % self.recipe.monitor.evaluate_every:
            self._evaluate(self.judge)
        self._preview()
        self._checkpoint()
        hours = learner.trained_seconds / 3600
        self.console.print(f"done: {learner.samples:,} samples in {hours:.2f} h, {self._kept()}")

    def _kept(self) -> str:
        """Say which average was kept; or, where none was, why the last one was not."""
        if math.isfinite(self.learner.best):
            return f"{self.choice.told(self.learner.best)}, model in {self.out / 'model'}"
        return f"no average was kept: {self._unkept}"

    def _log(self, report: StepReport) -> None:
        batch = self.recipe.schedule.batch_size
        facts = {name: round(value, 6) for name, value in report.losses.items()}
        rates = {
            "samples": self.learner.samples,
            "samples_per_second": round(batch / report.seconds, 2),
            "wait_share": round(report.data_seconds / report.seconds, 4),
        }
        self.journal.write(
            self.learner.step, "train", facts | {"gradient_norm": round(report.gradient_norm, 4), "dropped": self.learner.dropped} | rates
        )

    def _validate(self) -> None:
        learner, best_by = self.learner, self.recipe.monitor.best_by
        losses, before = self._held_out_losses(), self.journal.wrote(learner.step, "held_out")
        self.journal.write(learner.step, "held_out", {name: round(value, 6) for name, value in losses.items()})
        if not before:  # a run that had ended has learned nothing since: another look would count its trouble twice
            self._sound = self._look()
        if best_by in UNMEASURED:
            self._keep_best(losses["loss"] if best_by == "loss" else learner.step)

    def _held_out_losses(self) -> dict[str, float]:
        """Return the average's losses on held-out rows (trained on, where none are), measured once a step."""
        if self._measured[0] != self.learner.step:
            self._measured = (self.learner.step, self.learner.held_out_loss(self.data.held_out))
        return self._measured[1]

    def _look(self) -> bool:
        """Look at the players and return whether what they make is worth keeping.

        Raises `UserError`, after a checkpoint, where one is in such trouble that going on is of no use.
        """
        learner = self.learner
        looks = learner.look(self.data.held_out)
        for name, found in looks.items():
            self.journal.write(learner.step, name, {figure: round(value, 6) for figure, value in found.figures.items()})
            if found.trouble is not None:
                self._checkpoint()
                there = (self.out / "model").is_dir()
                kept = f"the best state so far is in {self.out / 'model'}" if there else "no state was good enough to be kept"
                how = f"Changed settings need a new run{' (initial=THIS_RUN begins it from there)' if there else ''}."
                raise UserError(f"step {learner.step:,}: {found.trouble}. The run ends here; {kept}. {how}")
        return not any(found.suspected for found in looks.values())

    def _keep_best(self, figure: float) -> None:
        """Export the average where `figure` is the best so far and the last look saw no trouble."""
        score = self.choice.score(figure)
        if not self._sound:
            self._unkept = "the last look at what is made saw a trouble"
        elif not math.isfinite(score):
            self._unkept = f"the last {self.choice.what} was not a finite number"
        elif score < self.learner.best:
            self.learner.best = score
            self.export(self.out / "model")

    def _evaluate(self, judge: Judge) -> None:
        """Measure what the average makes; nothing that is trained notices."""
        learner, best_by = self.learner, self.recipe.monitor.best_by
        with learner.averaged():
            figures = judge(self.model)
        self.journal.write(learner.step, "evaluate", {name: round(value, 6) for name, value in figures.items()})
        if best_by not in UNMEASURED:
            self._keep_best(figures[best_by])

    def _unmeasured(self) -> bool:
        """Return whether a decoder that is trained has no loss of its own: what is left, such as an alignment's, says nothing of what it makes."""
        targets = (ends(arrow)[1] for arrow in self.recipe.objectives.trained())
        return any(cast(Decoder, self.model.decoders[target]).lossless for target in targets)

    def export(self, folder: Path) -> None:
        """Write the averaged weights as a model folder."""
        learner, best_by = self.learner, self.recipe.monitor.best_by
        loss = learner.best if best_by == "loss" else self._held_out_losses()["loss"]
        trained: dict[str, Any] = {
            "samples": learner.samples,
            "hours": round(learner.trained_seconds / 3600, 3),
            "dtype": learner.dtype,
            "held_out_loss": loss if self.data.apart and math.isfinite(loss) and not self._unmeasured() else None,
            "rows": self.data.count,
            "languages": dict(self.data.languages),
        } | {name: found for _, name, found in self.read_from}
        if best_by not in UNMEASURED and math.isfinite(learner.best):
            trained["best"] = {best_by: self.choice.figure(learner.best)}
        if self.before is not None:
            trained["before"] = self.before
        recipe = self.recipe.model_dump(mode="json") | {"plugins": kept(self.recipe.plugins)}
        config = {"name": called(self.recipe, self.out), "recipe": recipe, "trained": trained, "tonggan": __version__, "commit": commit()}
        assets, tensors = self.out / "assets", learner.average.state()
        words, rows = load_words(assets), load_rows(assets)
        save_model(folder, self.model, config=config, card=model_card(config), tensors=tensors, words=words, rows=rows, code=self.code)

    def _preview(self) -> None:
        learner, batch = self.learner, self.data.previews
        with learner.averaged():
            for arrow in self.recipe.objectives.trained():
                source, target = ends(arrow)
                write = modalities()[target].preview
                if write is not None and source in batch.inputs:  # sounds alone teach a vocoder, with nothing to lead to it
                    seeds, rows = list(range(len(batch.indices))), batch.indices.tolist()
                    made = self.model.generate(batch.inputs[source], source=source, target=target, seeds=seeds, excluded=rows)
                    write(made, self.out / "samples" / f"{source}-to-{target}-{learner.step:07d}", self.recipe.data.framing)

    def _checkpoint_due(self) -> bool:
        """Return whether the last checkpoint of this sitting is older than the recipe wants it to be."""
        minutes = self.recipe.monitor.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self._kept_at >= 60 * minutes

    def _checkpoint(self) -> None:
        save_checkpoint(self.checkpoints, self.learner.snapshot(), keep=self.recipe.monitor.keep)
        self._kept_at = time.monotonic()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(number: int, frame: Any) -> None:
            if self.stop_asked:
                raise KeyboardInterrupt
            self.stop_asked = True

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _bar(self) -> Iterator[Callable[[StepReport], None]]:
        """Show how far the run is: samples a second, loss, share of time spent waiting for data."""
        learner, began, first = self.learner, time.perf_counter(), self.learner.samples
        waited = 0.0

        def show(report: StepReport) -> None:
            nonlocal waited
            waited += report.data_seconds
            seconds = time.perf_counter() - began
            rate = (learner.samples - first) / seconds
            figures = f"step {learner.step:,}  {rate:.1f} samples/s  loss {report.losses['loss']:.4f}  waiting {waited / seconds:.0%}"
            bars(self.recipe.name, learner.samples, learner.total_samples, figures)

        with progress_bars() as bars:
            bars(self.recipe.name, first, learner.total_samples)
            yield show


def called(recipe: Recipe, out: Path) -> str:
    """Return what the model of a run is called: as its recipe, or as its folder where a recipe that ships gives the name, which many models would bear."""
    return out.resolve().name if recipe.name in recipe_files() else recipe.name
