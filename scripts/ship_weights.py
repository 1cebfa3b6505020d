"""Put a run's model among those that ship, its matrices in eight bits, with the figures of its evaluations: python scripts/ship_weights.py RUN [CARD.json ...]"""

import json
import sys
from pathlib import Path

from tonggan.evaluation.card import Card
from tonggan.pipeline import Tonggan

SHOWN = (
    "recall_at_1",
    "recall_at_5",
    "kernel_distance",
    "frechet_distance",
    "copy_rate",
    "exact_label",
    "cider_d",
    "text_to_image_at_5",
    "onset_f1",
    "onset_count_error",
    "mel_distance",
)
LARGEST = 40 * 2**20


def main() -> None:
    """Write tonggan/weights/NAME."""
    model = Tonggan.from_pretrained(sys.argv[1])
    evaluations = []
    for card in map(Card.load, map(Path, sys.argv[2:])):
        figures = {figure.name: figure.value for figure in card.figures if figure.key in SHOWN}
        evaluations.append(
            {"arrow": card.arrow, "split": card.data.split, "language": card.data.language, "samples": card.data.samples, "figures": figures}
        )
    model.config = dict(model.config) | {"figures": evaluations}
    folder = Path(__file__).parents[1] / "tonggan" / "weights" / model.name
    model.save_pretrained(folder, dtype="int8")
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 2**20:6.1f} MiB  {path.name}")
        if path.stat().st_size > LARGEST:
            sys.exit(f"{path} is too large to ship")
    print(json.dumps(evaluations, indent=1))


if __name__ == "__main__":
    main()
