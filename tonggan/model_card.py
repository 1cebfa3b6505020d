"""The card of a model: what it is, what it learned from, what it cannot do."""

from collections.abc import Mapping, Sequence
from typing import Any

from tonggan.model import ends

DISTANCES = {"image": "distances of pictures on EfficientNet-Lite0 features (no FID)", "audio": "mel distance between log-mel spectrograms"}
"""On what the distances of a card are measured, by what was made."""


def model_card(config: Mapping[str, Any]) -> str:
    """Return the README.md of a model folder from what config.json says."""
    recipe, trained = config["recipe"], config["trained"]
    arrows = list(recipe["objectives"]["arrows"])
    loss = trained["held_out_loss"]
    lines = [
        "---",
        *([f"license: {config['license']}"] if config.get("license") else []),
        "library_name: tonggan",
        f"pipeline_tag: {arrows[0].replace('->', '-to-')}",
        "---",
        f"# {config['name']}",
        "",
        f"Trained by Tonggan {config['tonggan']}{_by(config)} for: {', '.join(arrows)}.",
        "",
        "| | |",
        "|---|---|",
        f"| data | {trained['rows']:,} rows, content hash `{trained['data'][:16]}`{_other_data(trained)} |",
        *([f"| origin and licence | {recipe['data']['source']} |"] if recipe["data"].get("source") else []),
        *([f"| picture size | {recipe['data']['size']} x {recipe['data']['size']} |"] if _has(recipe["model"], "image", "video") else []),
        *([f"| languages | {_languages(config)} |"] if _has(recipe["model"], "text") else []),
        f"| samples seen | {_told(trained, 'samples')} |",
        f"| hours of training | {_told(trained, 'hours')} |",
        f"| arithmetic | {trained['dtype']} |",
        f"| held-out loss | {format(loss, '.4f') if loss else 'not measured'} |",
        *(
            [f"| vocoder | in the end by itself, {trained['voice']['samples']:,} samples in {trained['voice']['hours']:g} hours |"]
            if "voice" in trained
            else []
        ),
        *_memory_line(recipe),
        *_prompt_line(recipe),
        *_code_line(recipe),
        "",
        *_figures(config.get("figures", ())),
        "The weights are the exponential moving average. `config.json` holds the resolved recipe and rebuilds the model.",
        "",
        f"**Limits.** It knows what its data showed and named and nothing else; what it has not seen it guesses from parts of what it has. {_limits(recipe)}",
        "Every picture, clip and sound that `tonggan draw`, `morph` and `sound` write is marked as made by a trained algorithm (IPTC `trainedAlgorithmicMedia`);",
        "what Python returns and the previews of a training are not.",
        "",
    ]
    return "\n".join(lines)


def _by(config: Mapping[str, Any]) -> str:
    """Name the recipe where the model is called otherwise."""
    name = config["recipe"]["name"]
    return f" by the recipe {name}" if name != config["name"] else ""


def _limits(recipe: Mapping[str, Any]) -> str:
    """Say what the recipe's sizes leave out."""
    encoders, decoders, data = recipe["model"]["encoders"], recipe["model"]["decoders"], recipe["data"]
    said = []
    if "image" in decoders:
        said.append(f"Pictures are {data['size']} x {data['size']}.")
    if "image" in encoders:
        said.append(f"What a picture shows is seen at {data['size']} x {data['size']}.")
    if (most := encoders.get("text", {}).get("max_tokens")) is not None:
        said.append(f"Captions are cut at {most} tokens, start and end included, which is told.")
    if "text" in decoders:
        said.append("Sentences are worded as its captions were.")
    if "video" in encoders:
        said.append(f"Clips are seen at {data['size']} x {data['size']}, {data['frames_per_second']:g} frames a second.")
    if "audio" in decoders:
        said.append(
            f"Sounds have one channel of {data['sample_rate_hz']:,} Hz and last {data['clip_seconds']:g} s"
            + (", window by window." if "video" in encoders else ".")
        )
    return " ".join(said)


def _has(model: Mapping[str, Any], *modalities: str) -> bool:
    return not {*model["encoders"], *model["decoders"]}.isdisjoint(modalities)


def _earlier(trained: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is known of the runs that a run began from, the first of all first."""
    earlier, before = list[Mapping[str, Any]](), trained.get("before")
    while before:
        earlier.insert(0, before)
        before = before.get("before")
    return earlier


def _told(trained: Mapping[str, Any], name: str) -> str:
    """Return a count of a run, and the sum of those of the runs that it began from, one after another, whatever arrows they learned."""
    earlier = _earlier(trained)
    if not earlier:
        return f"{trained[name]:,}"
    total = f"{round(sum(each[name] for each in earlier), 3):,}"
    if len(earlier) == 1:
        return f"{trained[name]:,}, after {total} of '{earlier[0]['model']}'"
    parts = " + ".join(f"{each[name]:,}" for each in earlier)
    return f"{trained[name]:,}, after {total} in the runs that '{earlier[-1]['model']}' came from, of all their arrows together ({parts})"


def _other_data(trained: Mapping[str, Any]) -> str:
    """Tell how many rows the data of earlier runs had that were others."""
    rows = {each["data"]: each["rows"] for each in _earlier(trained) if each["data"] != trained["data"]}
    return f"; in earlier runs other data of {', '.join(f'{count:,}' for count in rows.values())} rows" if rows else ""


def _languages(config: Mapping[str, Any]) -> str:
    """Return the languages of the captions that were trained on, with their numbers; of models from before they were counted, the recipe's."""
    counted = config["trained"].get("languages")
    if counted:
        return ", ".join(f"{language} ({count:,} caption{'s' * (count > 1)})" for language, count in counted.items())
    return ", ".join(config["recipe"]["data"]["phrasings"] or ["as in the data"])


def _memory_line(recipe: Mapping[str, Any]) -> list[str]:
    seen = {name: part["references"] for name, part in recipe["model"]["decoders"].items() if part.get("references")}
    told = ", ".join(f"the {name} decoder looks at {count} training rows that the caption recalls" for name, count in seen.items())
    return [f"| memory | {told}; they lie beside the weights, or where `memory_of` in config.json says |"] if told else []


def _prompt_line(recipe: Mapping[str, Any]) -> list[str]:
    ways = [ends(arrow) for arrow in recipe["objectives"]["arrows"]]
    beside = {name: part.get("prompt") for name, part in recipe["model"]["decoders"].items()}
    told = ", ".join(
        f"{prompt}, beside what {name} is made from"
        for name, prompt in beside.items()
        if prompt and any(target == name and source != prompt for source, target in ways)
    )
    return [f"| prompt | {told} |"] if told else []


def _code_line(recipe: Mapping[str, Any]) -> list[str]:
    named = ", ".join(f"`{name}`" for name in recipe.get("plugins", ()))
    return [f"| code of its own | {named}: read it; it is run with `--trust-code` (in Python `trust_code=True`) alone |"] if named else []


def _figures(evaluations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table an arrow of what evaluations found: a row each, as `scripts/ship_weights.py` writes them into config.json."""
    if not evaluations:
        return []
    lines: list[str] = []
    measured = {ends(each["arrow"])[1] for each in evaluations}
    for arrow in dict.fromkeys(each["arrow"] for each in evaluations):
        theirs = [each for each in evaluations if each["arrow"] == arrow]
        names = list(theirs[0]["figures"])
        lines += [f"| {arrow} | " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * (len(names) + 1) + "|"]
        for each in theirs:
            rows = ", ".join([each["split"], *([each["language"]] if each["language"] else []), f"{each['samples']} rows"])
            lines.append(f"| {rows} | " + " | ".join(format(each["figures"][name], ".4g") for name in names) + " |")
        lines.append("")
    distances = "".join(f"; {told}" for modality, told in DISTANCES.items() if modality in measured)
    return [*lines, f"Measured by `tonggan evaluate` on rows that were not trained on{distances}.", ""]
