"""The Inception-v3 of FID: the weights of 2015 as `torch-fidelity` has them, and no others."""

import hashlib
import importlib.metadata
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tonggan.errors import UserError
from tonggan.evaluation.features import PREPARATION, Features, Pictures, in_passes
from tonggan.progress import Show

FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of that file in torch-fidelity's release 0.2.0, which pytorch-fid and torchmetrics use, too."""
INPUT_SIZE = 299
FEATURE_WIDTH = 2048


class InceptionNet:
    """Inception-v3 up to its pooled features, 2,048 numbers: what FID, KID and MIND are defined on."""

    family = "inception"

    def __init__(self, net: nn.Module, *, sha256: str) -> None:
        self.net = net
        self.name = "inception-v3"
        self.sha256 = sha256
        self.input_size = INPUT_SIZE
        self.width = FEATURE_WIDTH
        self.note = f"torch-fidelity {importlib.metadata.version('torch-fidelity')}, inception-v3-compat of 2015-12-05; {PREPARATION}"

    @classmethod
    def load(cls, weights: Path | None = None, *, download: bool = False, expected: str = SHA256) -> "InceptionNet":
        """Load the weights at `weights`, or those that torch-fidelity keeps; `download` lets them be fetched where they are not there yet.

        Raises `UserError` where torch-fidelity is not installed, and where the file is missing or has another hash than `expected`: no number of other
        weights may be called FID.
        """
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except ImportError as error:
            raise UserError("FID needs torch-fidelity: pip install torch-fidelity (the extra 'fid')") from error
        path = weights or Path(torch.hub.get_dir()) / "checkpoints" / FILE
        if not path.is_file() and download and weights is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=expected, progress=False)
            except (OSError, RuntimeError) as error:
                raise UserError(f"{URL_INCEPTION_V3} could not be fetched ({error}). Fetch it elsewhere and name it: inception=FILE.") from error
        if not path.is_file():
            raise UserError(f"there are no Inception-v3 weights at {path}. Name torch-fidelity's file {FILE} as inception=FILE, or add --download.")
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != expected:
            raise UserError(f"{path} is not the weight file that FID is defined by (SHA-256 {sha256}, expected {expected}): name {FILE}.")
        # What was hashed is what is loaded: the file could be another by now.
        net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=io.BytesIO(content))
        return cls(net, sha256=sha256)

    def features(self, pictures: Pictures, *, rows: Sequence[int] | None = None, progress: Show | None = None) -> Features:
        """Return the pooled features, float32 (N, 2048), of pictures uint8 (N, 3, height, width) in [0, 255] or PIL pictures.

        Pillow's antialiased bicubic filter brings them to 299 pixels, in bytes, so that the network's own resizing without antialiasing has nothing to do
        (Parmar et al. 2022, arXiv 2104.11222).
        """
        return in_passes(self._forward, pictures, rows=rows, size=self.input_size, width=self.width, progress=progress)

    @torch.inference_mode()
    def _forward(self, batch: npt.NDArray[np.uint8]) -> Features:
        (found,) = self.net(torch.from_numpy(batch).permute(0, 3, 1, 2))
        return found.numpy()
