"""Record what scikit-image says of the pictures of tests/evaluation/test_clarity.py: pip install scikit-image, then run this once."""

import json
import sys
from pathlib import Path

import numpy as np
from skimage.measure import blur_effect

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "evaluation"))

from test_clarity import GOLDEN, blurred_noise  # noqa: E402

from tonggan.evaluation.clarity import luminance  # noqa: E402

GOLDEN.write_text(json.dumps([float(blur_effect(luminance(blurred_noise(number)) / 255)) for number in range(4)]) + "\n", encoding="utf-8")
print(np.round(json.loads(GOLDEN.read_text(encoding="utf-8")), 4))
