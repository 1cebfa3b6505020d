"""A cheap judge for a model in training: outputs for a few held-out rows, always the same, measured by one or two figures an arrow."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tonggan.data.loader import chosen_caption
from tonggan.errors import UserError
from tonggan.evaluation.captions import exact
from tonggan.evaluation.distances import kernel_distance
from tonggan.evaluation.features import FeatureNet
from tonggan.evaluation.gallery import packed_picture
from tonggan.evaluation.hearing import Windows
from tonggan.evaluation.retrieval import ground_truth_ranks
from tonggan.evaluation.sentences import Row, has_label
from tonggan.evaluation.synchrony import agree, synchrony_figures
from tonggan.modalities import modalities
from tonggan.modalities.onsets import onsets
from tonggan.model import CrossModalModel, ends
from tonggan.training.recipe import Recipe
from tonggan.training.sources import Data

INPUT_SIZE = 128
"""Pixels that pictures are measured at: a third of the time of the 224 that figures of a card have, with which these do not compare."""
NEAREST = 5
"""Of so many rows or fewer each is among the nearest five, whatever is drawn."""
TOLERANCE_SECONDS = 0.05

Figures = dict[str, float]
Measure = Callable[[CrossModalModel], Figures]


class Watch:
    """The judge of a run: what it measures follows from the arrows that the recipe trains.

    text->image: `kernel_distance` and, of more than five rows, `recall_at_5` of the own ground truth, on EfficientNet-Lite0 at 128 pixels; image->text:
    `exact` and, where rows have labels, `exact_label`; video->audio: `onset_f1` against the onsets of the true sound. Seeds are 0, 1, 2, ... Raises
    `UserError` where no arrow that is trained can be measured or the feature network is not installed.
    """

    def __init__(self, recipe: Recipe, data: Data) -> None:
        self.recipe, self.data = recipe, data
        self.seeds = list(range(len(data.watched)))
        self.higher: Mapping[str, bool] = {}
        self.measures: list[Measure] = []
        known = {"text->image": self._pictures, "image->text": self._sentences, "video->audio": self._sounds}
        for arrow in recipe.objectives.trained():
            if arrow in known:
                measure, higher = known[arrow]()
                self.measures.append(measure)
                self.higher = {**self.higher, **higher}
        if not self.measures:
            raise UserError(
                f"monitor.evaluate_every: nothing is measured for {', '.join(recipe.objectives.trained()) or 'an alignment'}. Set it to 0."
            )

    def __call__(self, model: CrossModalModel) -> Figures:
        """Return the figures of a model in evaluation mode."""
        return {name: value for measure in self.measures for name, value in measure(model).items()}

    def _pictures(self) -> tuple[Measure, Mapping[str, bool]]:
        pack, phrasings = self.data.pack, self.recipe.data.loader_phrasings()
        rows = [(int(row), caption) for row in self.data.watched if (caption := self._caption(int(row), phrasings))]
        if len(rows) < 2:
            raise UserError("monitor.evaluate_every: fewer than two held-out rows have a caption. Hold out more, or set it to 0.")
        ranks = len(rows) > NEAREST
        if not ranks and self.recipe.monitor.best_by == "recall_at_5":
            raise UserError(
                f"monitor.best_by: recall_at_5 of {len(rows)} rows is always 1. Raise monitor.evaluate_rows above {NEAREST}, or hold out more."
            )
        net = FeatureNet.load(input_size=INPUT_SIZE)
        truths = net.features([packed_picture(pack, row) for row, _ in rows])

        def measure(model: CrossModalModel) -> Figures:
            found = net.features(self._made(model, [caption for _, caption in rows], "text->image", [row for row, _ in rows]))
            distance = kernel_distance(found, truths, subsets=1, resamples=2).interval.value
            recall = {"recall_at_5": float(ground_truth_ranks(found, truths).hits(NEAREST).mean())} if ranks else {}
            return {"kernel_distance": distance} | recall

        return measure, {"kernel_distance": False} | ({"recall_at_5": True} if ranks else {})

    def _caption(self, row: int, phrasings: Any) -> str | None:
        return chosen_caption(self.data.pack.row(row), phrasings, 0) or None

    def _sentences(self) -> tuple[Measure, Mapping[str, bool]]:
        pack, phrasings = self.data.pack, self.recipe.data.loader_target_phrasings()
        decoder: Any = self.recipe.model.decoders["text"]
        language = next(iter(getattr(decoder, "languages", ("en",))))
        told = [(int(row), Row.of(pack.row(int(row)), language, phrasings)) for row in self.data.watched]
        told = [(row, each) for row, each in told if each.references]
        if not told:
            raise UserError(f"monitor.evaluate_every: no held-out row has a caption in '{language}'. Hold out more, or set it to 0.")
        pictures = [packed_picture(pack, row) for row, _ in told]
        labelled = all(each.label for _, each in told)

        def measure(model: CrossModalModel) -> Figures:
            said = self._made(model, modalities()["image"].to_inputs(pictures, self.recipe.data.framing), "image->text", [row for row, _ in told])
            figures = {"exact": exact(said, [each.references[0] for _, each in told])}
            right = [has_label(sentence, each.label) for sentence, (_, each) in zip(said, told, strict=True)]
            return figures | ({"exact_label": float(np.mean(right))} if labelled else {})

        return measure, {"exact": True} | ({"exact_label": True} if labelled else {})

    def _sounds(self) -> tuple[Measure, Mapping[str, bool]]:
        pack, rows = self.data.pack, self.data.watched
        rate = pack.framing.sample_rate_hz
        real = Windows.of(pack, rows)
        wanted = [list(onsets(waveform.numpy(), rate)) for waveform in real.waveforms]

        def measure(model: CrossModalModel) -> Figures:
            made = model.generate(real.frames, source="video", target="audio", seeds=self.seeds).float().cpu()
            agreements = [
                agree(true, list(onsets(waveform.numpy(), rate)), tolerance_seconds=TOLERANCE_SECONDS)
                for true, waveform in zip(wanted, made, strict=True)
            ]
            return {figure.name: figure.value for figure in synchrony_figures(agreements) if figure.name == "onset_f1"}

        return measure, {"onset_f1": True}

    @torch.no_grad()
    def _made(self, model: CrossModalModel, inputs: Any, arrow: str, rows: list[int]) -> list[Any]:
        """Return what a model makes of inputs, which are those of the pack's `rows`: trained on where none are held out."""
        source, target = ends(arrow)
        made = model.generate(inputs, source=source, target=target, seeds=self.seeds[: len(inputs)], excluded=rows)
        return modalities()[target].to_outputs(made, self.recipe.data.framing)
