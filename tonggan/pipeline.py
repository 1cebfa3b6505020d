"""The model as a user holds it: words in, pictures out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from tonggan.arithmetic import choose_device
from tonggan.choosing import Candidate, best, ranking
from tonggan.completion import Completion
from tonggan.data.loader import Phrasings
from tonggan.data.pack import Pack
from tonggan.errors import UserError, did_you_mean, nearest
from tonggan.inputs import listed, opened, seeds_of
from tonggan.latent.lexical import telling, unknown_words
from tonggan.latent.record import Latent, blend, stack
from tonggan.modalities import Framing, Modality, modalities
from tonggan.modalities.text import check_caption
from tonggan.model_card import model_card
from tonggan.model_folder import MEMORY_OF, Loaded, Storage, load_model, save_model
from tonggan.parts import Decoder
from tonggan.training.recipe import parse_recipe

MORPH_BATCH = 16
MISSPELT = 0.8
"""How alike a word that was never seen and one that was are, where the second may be what was meant."""
AT_ONCE = 64
"""Outputs that are made, or ranked, in one batch; more of them take their turn, so that memory does not grow with what is asked for."""


class Tonggan:
    """A trained model: `Tonggan.from_pretrained("emoji-64").generate("a red heart", to="image", seed=7)`."""

    def __init__(self, loaded: Loaded) -> None:
        self.model = loaded.model
        self.config = loaded.config
        self.weights_hash = loaded.weights_hash
        self.words, self.rows, self.code = loaded.words, loaded.rows, loaded.code
        self.recipe = parse_recipe(loaded.config["recipe"], where="config.json")
        self.overrides: dict[str, Any] = {}
        """Settings that replace the defaults of the decoders that have them, in every `generate`."""
        self.completion = Completion.model_validate(loaded.config["completion"]) if "completion" in loaded.config else None
        """How captions that leave something open are completed before something is made of them; None takes them as they are written."""

    @classmethod
    def from_pretrained(cls, name: str | Path, *, device: str = "auto", trust_code: bool = False) -> "Tonggan":
        """Load a model that ships (by name), a model folder or a run onto a device; `auto` is a GPU where PyTorch sees one, and else the CPU.

        `trust_code` allows the Python code (plugins) that the folder brings or names to be run. Raises `UserError` where the model is missing, broken or of
        another architecture, where it needs such code and may not run it, or the device is not there.
        """
        return cls(load_model(str(name), device=choose_device(device), trust_code=trust_code))

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.config["name"])

    @property
    def framing(self) -> Framing:
        """The form that pictures, videos and sounds had in training."""
        return self.recipe.data.framing

    @property
    def phrasings(self) -> Phrasings | None:
        """How captions were phrased in training, by language."""
        return self.recipe.data.loader_phrasings()

    def settings(self, to: str = "image") -> dict[str, Any]:
        """Return the settings that outputs are made with; raises `UserError` for an override that no decoder of the model has."""
        return self.model.part(self.model.decoders, to, "decoder").default_settings() | self._overriding(to)

    def _overriding(self, to: str) -> dict[str, Any]:
        """Return the overrides that are for the decoder of `to`: on a way by a third modality two decoders run, each with settings of its own."""
        known = {name: cast(Decoder[Any], decoder).default_settings() for name, decoder in self.model.decoders.items()}
        for name in self.overrides:
            if not any(name in settings for settings in known.values()):
                raise UserError(f"no decoder of {self.name} has a setting '{name}'.{nearest(name, set().union(*known.values()))}")
        return {name: value for name, value in self.overrides.items() if name in known[to]}

    def generate(
        self,
        inputs: Any,
        *,
        to: str,
        seed: int = 0,
        n: int = 1,
        seeds: Sequence[int] | None = None,
        negative: Any | None = None,
        settings: Mapping[str, Any] | None = None,
        start: Any | None = None,
        references: Sequence[Any] | None = None,
        prompt: Any | None = None,
        best_of: int = 1,
        reward: str | Path | None = None,
    ) -> list[Any]:
        """Lead one input or a list of inputs to the modality `to`.

        Args:
            inputs: a caption, a picture, ..., the `Path` of a file, or a list of one kind.
            to: the modality that is made.
            seed: output number i of the call is made from `seed` + i.
            n: outputs for each input.
            seeds: a seed for each output instead, inputs' first. The same seed gives the same output whatever else is made beside it, pictures up to a grey
                level of 255: in batches of another size sums are rounded otherwise.
            negative: what guidance leads away from, of the inputs' modality, or of the prompt's where the model takes one.
            settings: `num_inference_steps`, `guidance_scale`, ... as the decoder names them.
            start: an output (for images a PIL picture, or a `Path`) that every output starts from, as far as the setting `strength` leaves of it; or a tensor with a
                row for each output, as the decoder takes it (for audio the waveforms that the outputs begin with).
            references: outputs to look at first; what the model's memory recalls for each input fills the places left.
            prompt: what is asked for beside (a caption to a clip), one for all inputs or a list of one each; for models that take one.
            best_of: make so many for each input and return the `n` best, the best first.
            reward: the file of a reward head that ranks them (`tonggan votes learn`); without it, closeness to the input in the shared space does.

        An arrow that the model was not trained on goes by way of a third modality where two that it was trained on lead there: a picture becomes other
        pictures of what it shows through its sentence, and the decoder looks at the picture itself.

        Returns a list (for images PIL pictures), `n` outputs for each input in order. Raises `UserError` for an empty caption, a modality or a setting
        that the model does not have, a prompt where it takes none, and with `best_of` as `candidates` does.
        """
        how: dict[str, Any] = {"negative": negative, "settings": settings, "start": start, "references": references, "prompt": prompt}
        if best_of == 1 and reward is None:
            target, made, _, _ = self._made(inputs, to=to, seed=seed, n=n, seeds=seeds, **how)
            return target.to_outputs(made, self.framing)
        if seeds is not None:
            raise UserError("best of n chooses among seeds: give seed, not seeds.")
        return [each.output for each in self.candidates(inputs, to=to, seed=seed, n=n, best_of=best_of, reward=reward, **how)]

    def candidates(
        self,
        inputs: Any,
        *,
        to: str,
        seed: int = 0,
        n: int = 1,
        best_of: int,
        seeds: Sequence[int] | None = None,
        reward: str | Path | None = None,
        **how: Any,
    ) -> list[Candidate]:
        """Make `best_of` outputs for each input, output number i of the call from `seed` + i or `seeds[i]`, and return the `n` best of each.

        Each comes with its seed and its score. `how` is what else `generate` takes. Raises `UserError` as `generate` does, for `best_of` below `n`, where
        the model cannot read what it makes, and for a reward head of another arrow or model.
        """
        if best_of < max(n, 2):
            raise UserError(f"the best {n} of {best_of} is no choice: best_of must be at least {max(n, 2)}.")
        given, kind = self._given(inputs)
        rank = ranking(self.model, source=kind.name, target=to, reward=reward)
        target, made, asked, chosen = self._made(given, to=to, seed=seed, n=best_of, seeds=seeds, **how)
        scores = torch.cat([rank(made[part], asked.rows(torch.arange(len(chosen))[part])) for part in _turns(len(chosen))])
        return best(target.to_outputs(made, self.framing), scores, chosen, of=best_of, n=n)

    def _made(
        self,
        inputs: Any,
        *,
        to: str,
        seed: int,
        n: int,
        seeds: Sequence[int] | None,
        negative: Any | None = None,
        settings: Mapping[str, Any] | None = None,
        start: Any | None = None,
        references: Sequence[Any] | None = None,
        prompt: Any | None = None,
    ) -> tuple[Modality, Any, Latent, list[int]]:
        """Return the modality that is made, the outputs as the decoder gives them, the latents that they were made from, and their seeds."""
        given, kind = self._given(inputs)
        if n < 1:
            raise UserError(f"there is nothing to make: n is {n}; give 1 or more.")
        target = modalities().get(to)
        if target is None:
            raise UserError(f"'{to}' is not a modality.{nearest(to, modalities())}")
        chosen = seeds_of(seed, seeds, count=len(given) * n)
        if isinstance(start, (list, tuple)):
            raise UserError(
                f"all outputs start from one: give start an output or a Path, not a {type(start).__name__}; or a tensor with a row for each."
            )
        given_as_is = start is None or isinstance(start, torch.Tensor)
        begin = start if given_as_is else target.to_inputs([self._opened(start)] * len(chosen), self.framing)
        if references is not None and not isinstance(references, (list, tuple)):
            raise UserError(f"references are a list, not one {type(references).__name__}: put it in brackets, references=[...].")
        shown = None if not references else target.to_inputs([self._opened(each) for each in references], self.framing)
        latent = self._latent(given, to, shown=shown, prompt=prompt).repeat(n)
        how = self._overriding(to) | dict(settings or {})
        if negative is not None:
            self._check_led(to, how)
        away = None if negative is None else self._led_from(negative, latent, source=kind.name, to=to)
        return target, self._decoded(latent, to, seeds=chosen, settings=how, away=away, begin=begin), latent, chosen

    def _decoded(
        self, latent: Latent, to: str, *, seeds: Sequence[int], settings: Mapping[str, Any], away: Latent | None, begin: torch.Tensor | None
    ) -> Any:
        """Return what the decoder of `to` makes of each row, batch after batch, led `away` from one row and from where each is to `begin`."""
        parts = []
        for part in _turns(len(seeds)):
            own = list(seeds[part])
            made = self.model.decode(
                latent.rows(torch.arange(len(seeds))[part]),
                target=to,
                seeds=own,
                settings=settings,
                against=None if away is None else away.repeat(len(own)),
                start=None if begin is None else begin[part],
            )
            parts.append(made)
        return torch.cat(parts) if isinstance(parts[0], torch.Tensor) else [each for some in parts for each in some]

    @torch.no_grad()
    def _led_from(self, negative: Any, latent: Latent, *, source: str, to: str) -> Latent:
        """Return the row that guidance leads away from: `negative` in the place of the input, or in that of the prompt, beside no input.

        `latent` is what is led. On a way by a third modality, what is of the input's is led there, too. Raises `UserError` for another modality.
        """
        given, kind = self._given([negative])
        middle = self._middle(source, to)
        if middle is not None and kind.name == source:
            return self._latent(self.generate(given, to=middle))
        begin = middle or source
        if kind.name == begin:
            return self._latent(given)
        wanted = self.model.prompt_kind(begin, to)
        if kind.name != wanted:
            fitting = " or ".join(dict.fromkeys(name for name in (source, begin, wanted) if name is not None))
            raise UserError(f"the negative is of {kind.name}; from {source} to {to} guidance leads away from {fitting}. Give that, or leave it out.")
        prompt = self.model.encode(kind.to_inputs(given, self.framing), kind.name).latent
        return replace(self.model.space.null(latent.rows(torch.tensor([0]))), prompt=prompt)

    def _check_led(self, to: str, settings: Mapping[str, Any]) -> None:
        """Raise `UserError` where nothing would lead away from what is negative."""
        asked = self.settings(to) | dict(settings)
        if "guidance_scale" not in asked:
            raise UserError(
                f"{self.name} makes its outputs without guidance, and nothing leads away from a negative prompt. Leave it out, or name another model."
            )
        if float(asked["guidance_scale"]) == 1:
            usual = float(self.model.part(self.model.decoders, to, "decoder").default_settings()["guidance_scale"])
            advice = "name a model that is guided, such as emoji-64" if usual == 1 else f"leave guidance_scale at {usual:g}"
            raise UserError(f"guidance is what leads away from a negative prompt, and {self.name} draws without it here: {advice}.")

    def morph(
        self, first: Any, second: Any, *, to: str = "image", frames: int = 24, seed: int = 0, settings: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """Return `frames` outputs on a walk through the shared space from `first` to `second`, all from the noise of one seed.

        The walk is even in the latents, eased at neither end. Raises `UserError` for fewer than two frames, for ends of which one has a time and the other
        none, and as `generate` does.
        """
        if frames < 2:
            raise UserError(f"a walk of {frames} frames has no two ends: frames must be at least 2.")
        seeds = seeds_of(seed, None, count=1) * frames
        one, two = (self._latent(each, to) for each in (first, second))
        chosen_settings = self._overriding(to) | dict(settings or {})
        made = []
        for begin in range(0, frames, MORPH_BATCH):
            weights = [frame / (frames - 1) for frame in range(begin, min(begin + MORPH_BATCH, frames))]
            walk = stack(*(blend(one, two, weight) for weight in weights))
            decoded = self.model.decode(walk, target=to, seeds=seeds[: len(weights)], settings=chosen_settings)
            made += modalities()[to].to_outputs(decoded, self.framing)
        return made

    def encode(self, inputs: Any) -> torch.Tensor:
        """Return the points of one input or a list of inputs in the shared space: float32 (inputs, width), each of unit length.

        Raises `UserError` for an empty list, and for one of several kinds.
        """
        return self._latent(inputs).pooled.float().cpu()

    @torch.no_grad()
    def _latent(self, inputs: Any, to: str = "", *, shown: torch.Tensor | None = None, prompt: Any | None = None) -> Latent:
        """Place inputs in the space, one row each, with what a decoder of `to` looks at (`shown`, then what its memory recalls), and the prompt."""
        given, kind = self._given(inputs)
        middle = self._middle(kind.name, to) if to else None
        if kind.name == "text" and to:
            given = [self.completed(each) for each in given]
        if middle is not None:
            latent = self._latent(self.generate(given, to=middle), to, shown=shown, prompt=prompt)
            looks = kind.name == to and self.model.decoders[to].references
            return self.model.show(latent, kind.to_inputs(given, self.framing).unsqueeze(1), target=to) if looks else latent
        asked = None if prompt is None else self._asked(prompt, kind.name, to, count=len(given))
        latent = self.model.latent(kind.to_inputs(given, self.framing), source=kind.name, target=to, prompt=asked)
        return latent if shown is None else self.model.show(latent, shown.expand(len(given), *shown.shape), target=to)

    def _asked(self, prompt: Any, source: str, target: str, *, count: int) -> Any:
        """Return a prompt, or one for each of `count` inputs, as its encoder takes them."""
        wanted = self.model.check_prompt(source, target)
        asked, kind = self._given(prompt)
        asked = asked if isinstance(prompt, (list, tuple)) else asked * count
        if len(asked) != count:
            raise UserError(f"{len(asked)} prompts for {count} inputs: give one for all, or one for each.")
        if kind.name != wanted:
            raise UserError(f"the prompt is of {kind.name}; this model takes {wanted}.")
        return kind.to_inputs(asked, self.framing)

    def _middle(self, source: str, target: str) -> str | None:
        """Return the modality by way of which `source` leads to `target`, None where it leads there itself; raises `UserError` where no way does."""
        self.model.part(self.model.encoders, source, "encoder")
        self.model.part(self.model.decoders, target, "decoder")
        arrows = self.recipe.objectives.arrows
        if f"{source}->{target}" in arrows:
            return None
        for middle in self.model.decoders:
            if f"{source}->{middle}" in arrows and f"{middle}->{target}" in arrows:
                return str(middle)
        raise UserError(f"the model was not trained on {source}->{target}. It knows {', '.join(arrows)}.")

    def check_prompt(self, prompt: Any, *, source: str, target: str) -> list[str]:
        """Return what a user should know of a prompt on the way from `source` to `target` (that it is cut, say); raises `UserError` as `generate` does."""
        self._asked(prompt, source, target, count=1)
        return [*(self.guessed(prompt, target) if isinstance(prompt, str) else []), *self.notices(prompt)]

    def recalled(self, caption: str, to: str = "image") -> list[str]:
        """Return the names of the training rows that the memory of modality `to` shows the decoder for a caption, best first."""
        memory = self.model.memories.get(to)
        return [memory.names[place] for place in memory.find(self.completed(caption))] if memory is not None else []

    def unknown(self, caption: str, to: str = "image") -> list[str]:
        """Return the words and signs of a caption that no caption has whose row the memory of modality `to` holds.

        Without a memory they are those that no caption of the training had, where the model's folder lists its words; else those in scripts that the
        vocabulary of the encoder was not trained on.
        """
        memory = self.model.memories.get(to)
        if memory is not None:
            return memory.unknown(caption)
        if self.words is not None:
            return unknown_words(caption, self.words.__contains__)
        return self.model.part(self.model.encoders, "text", "encoder").unknown(caption)

    def guessed(self, caption: str, to: str = "image") -> list[str]:
        """Return, in a line, what of a caption the model can only guess at, as it was not in what it learned from, and which words it may be that are misspelt;
        nothing where all was. Of a caption without a word or number it is said that there is none."""
        completed = self.completed(caption)
        if not telling(caption) and completed.startswith(caption):  # a sign that is taken for its name is something else then
            return ["there is no word in the caption: the model can only guess what is meant."]
        unknown = self.unknown(completed, to)
        if not unknown:
            return []
        named = ", ".join(map(repr, unknown))
        whose = (
            f"no drawing that the model remembers has {named} in its captions"
            if to in self.model.memories
            else f"no caption that the model learned from has {named}"
        )
        return [f"{whose}: it can only guess at that.{''.join(map(self._meant, unknown))}"]

    def _meant(self, word: str) -> str:
        # The first letter is seldom the mistake; to compare with all known words would take longer than to draw.
        return did_you_mean(word, (known for known in self.words or () if known[:1] == word[:1]), likeness=MISSPELT)

    def completed(self, caption: str) -> str:
        """Return the caption that something is made of where this one is given; the end of one that is too long gives way to what completes it.

        Raises `UserError` for an empty caption, and for one that is no text (half a character, say), which no vocabulary reads.
        """
        check_caption(caption)
        if self.completion is None:
            return caption
        return self.completion.of(caption, read=self.model.part(self.model.encoders, "text", "encoder").read)

    def learned_from(self, pack: Pack, indices: np.ndarray) -> np.ndarray | None:
        """Return which rows of a pack (rows,), bool, this model learned from, or one that it began from or was taught by; None where that is not known.

        Rows are told by what is in them, so that a pack of another form (pictures of another size) has none.
        """
        return None if self.rows is None else np.isin(pack.digests(indices), self.rows)

    def trained_as(self) -> dict[str, Any]:
        """Return what is known of how this model was trained, in brief; what an older model folder does not say is None."""
        trained, recipe = self.config.get("trained", {}), self.recipe
        return {
            "recipe": recipe.name,
            "recipe_hash": recipe.hash_without_seed(),
            "seed": recipe.seed,
            "samples": trained.get("samples"),
            "split": recipe.data.train_split,
            "data": trained.get("data"),
            "dtype": trained.get("dtype"),
            "ema_decay": recipe.ema_decay,
            "tonggan": self.config.get("tonggan"),
            "commit": self.config.get("commit"),
        }

    def notices(self, inputs: Any) -> list[str]:
        """Return what a user should know of inputs (a caption that is cut, say)."""
        given, kind = self._given(inputs)
        return self.model.part(self.model.encoders, kind.name, "encoder").notices(given)

    def _given(self, inputs: Any) -> tuple[list[Any], Modality]:
        """Return inputs as `listed` does."""
        return listed(inputs, framing=self.framing, known=set(self.model.encoders))

    def _opened(self, value: Any) -> Any:
        """Return a value, or what is in its file, as `opened` does."""
        return opened(value, framing=self.framing, known=set(self.model.encoders))

    def save_pretrained(self, folder: str | Path, *, dtype: Storage = "float32") -> None:
        """Write the model into a folder: config.json, model.safetensors, vocabulary, README.md. `dtype` is how weights are stored."""
        config = {name: value for name, value in self.config.items() if name not in ("format", "model", MEMORY_OF)}
        card = model_card(self.config)
        save_model(Path(folder), self.model, config=config, card=card, dtype=dtype, words=self.words, rows=self.rows, code=self.code)


def _turns(count: int) -> list[slice]:
    """Return the batches that so many outputs are made in."""
    return [slice(first, first + AT_ONCE) for first in range(0, count, AT_ONCE)]
