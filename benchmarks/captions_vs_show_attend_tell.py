"""Picture to sentence, ours against Show, Attend and Tell at equal wall-clock: python benchmarks/captions_vs_show_attend_tell.py MODEL --minutes M

The peer trains on the rows and sentences that MODEL trained on, in the one language (ours learned all of its languages in that time), for so many minutes
(those that MODEL's words took, every sitting of them; its card has the hours), in the arithmetic that is fast here, at the best of three learning rates
(pilots, told apart). Both write greedy sentences for all of a split; the package's caption metrics judge them. Prints a table. Alone on the machine.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from peers.clock import clock_called
from peers.descent import Descent
from peers.peer import Pace
from peers.show_attend_tell import ShowAttendTell
from rich.console import Console

from tonggan.arithmetic import choose_dtype
from tonggan.data.loader import Loader, Phrasings, hold_out
from tonggan.data.pack import Pack, ensure_pack
from tonggan.errors import UserError
from tonggan.evaluation.drawing import choose
from tonggan.evaluation.gallery import packed_picture
from tonggan.evaluation.sentences import Row, figures
from tonggan.layers.vocabulary import Vocabulary
from tonggan.modalities.image import to_float
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import OptimizerConfig

LEARNING_RATES = (1e-3, 4e-4, 2e-3)
BATCH, PIECES = 64, 8192
SHOWN = ("exact_label", "exact", "cider_d", "bleu_4", "rouge_l")


def main(
    model: str,
    minutes: Annotated[float, typer.Option(min=0.1, help="Wall-clock of the peer.")],
    language: str = "en",
    split: str = "test_pair",
    pilot_minutes: Annotated[float, typer.Option(min=0)] = 1.0,
    cache: Path = Path("runs/packs"),
    clock: Annotated[str, typer.Option(help="wall, or processor (over threads) where other work runs beside.")] = "wall",
) -> None:
    """Train the peer, let both describe a split, print the table."""
    console, now = Console(soft_wrap=True, highlight=False), clock_called(clock)
    ours = Tonggan.from_pretrained(model, device="cpu")
    data, seed = ours.recipe.data, ours.recipe.seed
    said = data.loader_target_phrasings() or data.loader_phrasings()
    only: Phrasings | None = {language: said[language]} if said else None
    pack = ensure_pack(Path(data.path), framing=data.framing, cache=cache)
    rows = pack.indices(data.train_split)
    held = hold_out(pack.digests(rows), share=data.hold_out, seed=data.hold_out_seed, seen=ours.rows)
    loader, watched = (Loader(pack, each, batch_size=BATCH, seed=seed, phrasings=only) for each in (rows[~held], rows[held]))
    seconds = 60 * minutes
    began = now()
    vocabulary = Vocabulary.train(
        (text for number in range(300) for text in loader.batch(number * BATCH).inputs["text"]), size=PIECES, lowercase=False
    )
    prepared = now() - began
    rate = LEARNING_RATES[0]
    if pilot_minutes:
        losses = {each: _trained(vocabulary, loader, watched, rate=each, seconds=60 * pilot_minutes, now=now)[1] for each in LEARNING_RATES}
        rate = min(losses, key=lambda each: losses[each] if math.isfinite(losses[each]) else math.inf)
        console.print("pilots: " + ", ".join(f"{each:g} gives {loss:.3f}" for each, loss in losses.items()))
    peer, loss, samples = _trained(vocabulary, loader, watched, rate=rate, seconds=seconds - prepared, now=now)
    console.print(f"Show, Attend and Tell: {samples:,} samples in {seconds / 60:.1f} min at {rate:g}, held-out loss {loss:.3f}")
    chosen = choose(pack, split=split, language=language, phrasings=only, seed=0, limit=None)
    truths = [Row.of(pack.row(sample.index), language, only) for sample in chosen.samples]
    indices = [sample.index for sample in chosen.samples]
    table = {
        f"ours ({ours.name}, greedy)": figures(_ours(ours, pack, indices, language), truths),
        "Show, Attend and Tell (greedy)": figures(_theirs(peer, pack, indices), truths),
    }
    console.print(f"\n| {split}, {language}, {len(truths)} pictures | {' | '.join(SHOWN)} |\n|---|{'---|' * len(SHOWN)}")
    for name, found in table.items():
        values = {figure.name: figure.value for figure in found}
        console.print(f"| {name} | {' | '.join(f'{values[each]:.3f}' if each in values else '-' for each in SHOWN)} |")


def _trained(
    vocabulary: Vocabulary, loader: Loader, watched: Loader, *, rate: float, seconds: float, now: Callable[[], float]
) -> tuple[Descent[ShowAttendTell], float, int]:
    """Return the peer after so many seconds, its held-out loss, and the samples it saw."""
    torch.manual_seed(0)
    descent = Descent(ShowAttendTell(vocabulary, pieces=PIECES), OptimizerConfig(learning_rate=rate), dtype=choose_dtype().dtype)
    step, began = 0, now()
    while (share := (now() - began) / seconds) < 1:
        batch = loader.batch(step * BATCH)
        with descent.autocast():
            loss = descent.module.loss(batch.inputs["image"], batch.inputs["text"])
        descent.descend(loss, step=step, factor=Pace(step, share).factor)
        step += 1
    with descent.averaged(), descent.autocast():
        batches = [watched.batch(number * BATCH) for number in range(4)]
        held_out = sum(float(descent.module.loss(batch.inputs["image"], batch.inputs["text"])) for batch in batches) / len(batches)
    return descent, held_out, step * BATCH


def _ours(model: Tonggan, pack: Pack, indices: Sequence[int], language: str) -> list[str]:
    settings = {"language": language, "num_beams": 1}
    parts = (indices[start : start + BATCH] for start in range(0, len(indices), BATCH))
    return [text for part in parts for text in model.generate([packed_picture(pack, index) for index in part], to="text", settings=settings)]


def _theirs(peer: Descent[ShowAttendTell], pack: Pack, indices: Sequence[int]) -> list[str]:
    parts = (indices[start : start + BATCH] for start in range(0, len(indices), BATCH))
    with peer.averaged():
        return [text for part in parts for text in peer.module.describe(to_float(torch.from_numpy(pack.pictures[list(part)])))]


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"captions_vs_show_attend_tell: {error}") from error
