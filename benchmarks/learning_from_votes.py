"""Do votes improve the model? python benchmarks/learning_from_votes.py [--parent emoji-64-fast] [--likes fluent] [--out runs/votes] [a.b=c ...]

A voter with a known taste (`benchmarks/taste.py`: one of the six styles, or `colourful`) votes on pictures that the parent draws for labels of the training
split, no style named, none of them in a test split. The votes go the way of people's: store, `votes export`, `votes learn`, `train emoji-64-preferred`. Then
parent and child draw labels of `test_pair`, no style named, from the same seeds, and the voter says whose he likes; and both draw the whole captions, whose
kernel distance is to stay within 1.2 x.
Each step leaves its result in the folder and is not done twice. Writes table.md and figures.json.
"""

import hashlib
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from taste import COLOURFUL, Seen, Taste, colourfulness, learn_taste

from tonggan.data.pack import Pack, ensure_pack
from tonggan.errors import UserError
from tonggan.evaluation.distances import kernel_distance
from tonggan.evaluation.drawing import choose, draw
from tonggan.evaluation.features import FeatureNet, Features
from tonggan.evaluation.intervals import share_interval
from tonggan.evaluation.retrieval import ground_truth_ranks
from tonggan.feedback.preferences import export_preferences
from tonggan.feedback.reward import learn_reward
from tonggan.feedback.tables import Choice, Output, Vote
from tonggan.feedback.votes import VoteStore, store_url
from tonggan.files import replacing
from tonggan.pipeline import Tonggan
from tonggan.training.checkpoint import checkpoint_folders
from tonggan.training.recipe import load_recipe
from tonggan.training.run import Run

BATCH = 32
TEST = "test_pair"
LEAST_STYLES = 3
"""Styles that a label has in training at least where it is voted on: with one there is nothing to choose among."""
JUDGE_SEED = 1_000_000
console = Console(soft_wrap=True, highlight=False)


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes of the recipe, such as objectives.prefer.beta=300.")] = None,
    parent: str = "emoji-64-fast",
    likes: str = "fluent",
    recipe: str = "emoji-64-preferred",
    out: Path = Path("runs/votes"),
    prompts: Annotated[int, typer.Option(min=4, help="Labels that are voted on.")] = 400,
    pictures: Annotated[int, typer.Option(min=2, help="Pictures a label; every two of them are a vote.")] = 4,
    judged: Annotated[int | None, typer.Option(help="Only so many labels and captions of test_pair.")] = None,
    best_of: Annotated[int, typer.Option(min=2, help="Pictures that the reward head chooses among.")] = 4,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Stop before the fine-tune.")] = True,
    cache: Path = Path("runs/packs"),
) -> None:
    """Draw, vote, export, learn, train, judge."""
    loaded, net = Tonggan.from_pretrained(parent, device="cpu"), FeatureNet.load()
    loaded.completion = None  # labels alone: what they leave open is what votes are about
    pack = ensure_pack(Path(loaded.recipe.data.path), framing=loaded.framing, cache=cache)
    taste = learn_taste(pack, likes, net=net, cache=out / "features")
    console.print(f"the voter tells the style of {taste.accuracy:.1%} of held-out drawings")
    _same_question(
        out / "asked.json", {"parent": parent, "likes": likes, "recipe": recipe, "prompts": prompts, "pictures": pictures, "overrides": overrides}
    )
    votes, table, reward = out / "arena", out / "preferences" / "train.jsonl", out / "reward.safetensors"
    asked = labels(pack, loaded.recipe.data.train_split)[:prompts]
    if not table.is_file():
        store = VoteStore(store_url(votes, None))
        drawn = draw_outputs(loaded, asked, votes, store, count=pictures)
        vote(store, votes, drawn, taste, net)
        written = export_preferences(store, votes, table)
        console.print(f"votes: {written.rows} preferences, {written.without_preference} ties")
    if not reward.is_file():
        head = learn_reward(loaded, table, reward)
        console.print(
            f"reward head: agrees with {head.agreed:.1%} of {head.preferences}, with {head.held_out_agreed:.1%} of {head.held_out} held out"
        )
    if not train:
        return
    settings = [
        "device=cpu",
        f"objectives.prefer.preferences={table}",
        f"initial={parent}",
        f"data.path={loaded.recipe.data.path}",
        *(overrides or []),
    ]
    folder = out / "child"
    Run(
        load_recipe(recipe, overrides=settings), folder, resume=bool(checkpoint_folders(folder / "checkpoints")), console=console, cache=cache
    ).train()
    judge(loaded, Tonggan.from_pretrained(folder, device="cpu"), pack, taste, net, out=out, limit=judged, best_of=best_of, reward=reward)


def _same_question(file: Path, asked: dict[str, Any]) -> None:
    """Write down what is asked; raises `UserError` where the folder holds the answers to something else."""
    if file.is_file() and (before := json.loads(file.read_text(encoding="utf-8"))) != asked:
        differing = ", ".join(name for name in asked if before.get(name) != asked[name])
        raise UserError(f"{file.parent} holds the votes of another question ({differing}). Choose another --out, or remove it.")
    with replacing(file) as beside:
        beside.write_text(json.dumps(asked, indent=1), encoding="utf-8")


def labels(pack: Pack, split: str) -> list[str]:
    """Return English labels that drawings of `split` have in several styles and those of no other split have at all, in an order that never changes."""
    styles: dict[str, set[str]] = {}
    inside = set(pack.indices(split).tolist())
    elsewhere = {str(pack.row(row).tags["label"]["en"]) for row in range(len(pack)) if row not in inside}
    for row in sorted(inside):
        tags = pack.row(row).tags
        styles.setdefault(str(tags["label"]["en"]), set()).add(str(tags["style"]))
    found = [label for label, each in sorted(styles.items()) if len(each) >= LEAST_STYLES and label not in elsewhere]
    return [found[place] for place in np.random.default_rng(0).permutation(len(found))]


def draw_outputs(model: Tonggan, asked: Sequence[str], folder: Path, store: VoteStore, *, count: int) -> list[list[Output]]:
    """Draw `count` pictures a label, register them as outputs of an arena, and return them label by label; what is there is not drawn again."""
    every: list[Output] = []
    for number, label in enumerate(asked):
        for seed in range(number * count, (number + 1) * count):
            name = hashlib.sha256(f"{model.weights_hash} {label} {seed}".encode()).hexdigest()[:32]
            facts = {"arrow": "text->image", "prompt": label, "model": model.name, "weights": model.weights_hash, "seed": seed, "mime": "image/png"}
            every.append(Output(id=name, content=f"outputs/{name}.png", settings=model.settings(), **facts))
    missing = [output for output in every if not (folder / output.content).is_file()]
    for start in range(0, len(missing), BATCH):
        part = missing[start : start + BATCH]
        made = model.generate([output.prompt for output in part], to="image", seeds=[int(output.seed or 0) for output in part])
        for output, picture in zip(part, made, strict=True):
            with replacing(folder / output.content) as beside:
                picture.save(beside, format="PNG")
        if start // BATCH % 5 == 0:
            console.print(f"drawn for votes: {start + len(part)} of {len(missing)}")
    groups = [every[start : start + count] for start in range(0, len(every), count)]
    for group in groups:
        store.register(group)
    return groups


def vote(store: VoteStore, folder: Path, drawn: Sequence[Sequence[Output]], taste: Taste, net: FeatureNet) -> None:
    """Let the voter vote on every two pictures of every label."""
    outputs = [output for group in drawn for output in group]
    seen = look([_picture(folder, output) for output in outputs], net)
    liking = dict(zip((output.id for output in outputs), taste.liking(seen), strict=True))
    voter = f"likes {taste.liked}"
    known = store.answered(voter)
    for group in drawn:
        for first, second in combinations(sorted(output.id for output in group), 2):
            if (first, second) not in known:
                store.vote(Vote(voter=voter, first=first, second=second, choice=taste.vote(liking[first], liking[second])))


def _picture(folder: Path, output: Output) -> Image.Image:
    with Image.open(folder / output.content) as picture:
        return picture.convert("RGB")


def look(pictures: Sequence[Image.Image], net: FeatureNet) -> Seen:
    """Return what voters look at."""
    return Seen(net.features(pictures), colourfulness(pictures))


def seen_of(model: Tonggan, captions: Sequence[str], net: FeatureNet, folder: Path, *, seed: int) -> Seen:
    """Draw a picture a caption, picture i from `seed` + i, and look at them; kept in `folder`."""
    said = hashlib.sha256(json.dumps([model.weights_hash, list(captions), seed, model.settings()], sort_keys=True, default=str).encode()).hexdigest()
    file = folder / f"seen-{said[:16]}.npz"
    if not file.is_file():
        found = look(draw(model, captions, seeds=range(seed, seed + len(captions)), batch_size=BATCH).pictures, net)
        with replacing(file) as beside, open(beside, "wb") as open_file:
            np.savez(open_file, features=found.features, colourfulness=found.colourfulness)
    with np.load(file, allow_pickle=False) as kept:
        return Seen(kept["features"], kept["colourfulness"])


def judge(
    parent: Tonggan, child: Tonggan, pack: Pack, taste: Taste, net: FeatureNet, *, out: Path, limit: int | None, best_of: int, reward: Path
) -> None:
    """Let the voter compare parent and child on fresh labels, measure both on whole captions, and write the table."""
    chosen = choose(pack, split=TEST, language="en", phrasings=parent.phrasings, seed=0, limit=limit)
    fresh = list(dict.fromkeys(str(sample.tags["label"]["en"]) for sample in chosen.samples))
    truths = net.features(pack.pictures, rows=[sample.index for sample in chosen.samples])
    captions, keep = [sample.caption for sample in chosen.samples], out / "features"
    base = seen_of(parent, fresh, net, keep, seed=JUDGE_SEED)
    best = [each for start in range(0, len(fresh), BATCH // best_of) for each in _best(parent, fresh, start, best_of, reward)]
    rows = {}
    for name, model, seen in (
        (parent.name, parent, base),
        (f"{parent.name}, best of {best_of}", None, look(best, net)),
        (child.name, child, seen_of(child, fresh, net, keep, seed=JUDGE_SEED)),
    ):
        said = [taste.vote(one, other) for one, other in zip(taste.liking(seen), taste.liking(base), strict=True)]
        wins = share_interval([{Choice.FIRST: 1.0, Choice.TIE: 0.5}.get(each, 0.0) for each in said])
        whole = None if model is None else seen_of(model, captions, net, keep, seed=0).features
        rows[name] = {
            "wins": [wins.value, wins.low, wins.high],
            "ties": said.count(Choice.TIE) / len(said),
            "liked": float(taste.liking(seen).mean()) if taste.liked == COLOURFUL else taste.styles_of(seen.features).count(taste.liked) / len(said),
        } | ({} if whole is None else _quality(whole, truths, taste, [str(sample.tags["style"]) for sample in chosen.samples]))
    _write(out, rows, labels=len(fresh), captions=len(captions), taste=taste, child=child)


def _best(model: Tonggan, fresh: Sequence[str], start: int, best_of: int, reward: Path) -> list[Image.Image]:
    part = list(fresh[start : start + BATCH // best_of])
    return model.generate(part, to="image", seed=JUDGE_SEED + start * best_of, best_of=best_of, reward=reward)


def _quality(drawn: Features, truths: Features, taste: Taste, styles: Sequence[str]) -> dict[str, float]:
    """Return how whole captions, style included, are drawn: kernel distance, finding the own original, and the share in the style that was named."""
    ranks = ground_truth_ranks(drawn, truths)
    named = float(np.mean([one == other for one, other in zip(taste.styles_of(drawn), styles, strict=True)]))
    distance = kernel_distance(drawn, truths).interval.value
    return {"kernel_distance": distance, "recall_at_1": ranks.recall(1).value, "recall_at_5": ranks.recall(5).value, "named_style": named}


def _write(out: Path, rows: dict[str, dict], *, labels: int, captions: int, taste: Taste, child: Tonggan) -> None:
    base = next(iter(rows.values()))["kernel_distance"]
    liked = "mean colourfulness" if taste.liked == COLOURFUL else "in the liked style"
    head = f"| | wins against the parent % | {liked} | kernel distance x1000 ({captions} captions) | x parent | R@1 % | R@5 % | style as named % |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        wins = "{:.1f} ({:.1f} to {:.1f})".format(*(100 * each for each in row["wins"]))
        whole = ["-"] * 5
        if "kernel_distance" in row:
            shares = [f"{100 * row[each]:.1f}" for each in ("recall_at_1", "recall_at_5", "named_style")]
            whole = [f"{1000 * row['kernel_distance']:.1f}", f"{row['kernel_distance'] / base:.2f}", *shares]
        lines.append(f"| {name} | {wins} | {row['liked']:.3g} | {' | '.join(whole)} |")
    said = f"\n{labels} labels of {TEST}, no style named; the voter likes '{taste.liked}' and tells the style of {taste.accuracy:.1%} of held-out drawings."
    for file, text in (
        ("table.md", "\n".join([*lines, said]) + "\n"),
        ("figures.json", json.dumps({"rows": rows, "trained": child.config["trained"]}, indent=1)),
    ):
        with replacing(out / file) as beside:
            beside.write_text(text, encoding="utf-8")
    console.print("\n".join([*lines, said]))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"learning_from_votes: {error}") from error
