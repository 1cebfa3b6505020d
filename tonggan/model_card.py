"""The card of a model: what it is, what it learned from, what it cannot do."""

from collections.abc import Mapping
from typing import Any


def model_card(config: Mapping[str, Any]) -> str:
    """Return the README.md of a model folder from what config.json says."""
    recipe, trained = config["recipe"], config["trained"]
    arrows = ", ".join(recipe["objectives"]["arrows"])
    loss = trained["held_out_loss"]
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: tonggan",
        "pipeline_tag: text-to-image",
        "---",
        f"# {config['name']}",
        "",
        f"Trained by [Tonggan](../../../README.md) {config['tonggan']} for: {arrows}.",
        "",
        "| | |",
        "|---|---|",
        f"| data | {trained['rows']:,} rows, content hash `{trained['data'][:16]}` |",
        *([f"| origin and licence | {recipe['data']['source']} |"] if recipe["data"].get("source") else []),
        f"| picture size | {recipe['data']['size']} x {recipe['data']['size']} |",
        f"| languages | {', '.join(recipe['data']['phrasings'] or ['as in the data'])} |",
        f"| samples seen | {trained['samples']:,} |",
        f"| hours of training | {trained['hours']} |",
        f"| arithmetic | {trained['dtype']} |",
        f"| held-out loss | {'not measured' if loss is None else format(loss, '.4f')} |",
        "",
        "The weights are the exponential moving average. `config.json` holds the resolved recipe and rebuilds the model.",
        "",
        "**Limits.** It knows what its captions named and nothing else; what it has not seen it guesses from parts of the caption.",
        "Everything it draws is marked as made by a trained algorithm (IPTC `trainedAlgorithmicMedia`).",
        "",
    ]
    return "\n".join(lines)
