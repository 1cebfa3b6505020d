import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from transformers import CLIPModel, Dinov2Config, Dinov2Model

from tonggan.errors import UserError
from tonggan.evaluation.inception import SHA256, InceptionNet
from tonggan.evaluation.nets import load_nets
from tonggan.evaluation.vision import VisionNet


def pictures(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def test_weights_that_are_not_inceptions_give_no_fid(inception_file: Path, tmp_path: Path) -> None:
    path = inception_file
    with pytest.raises(UserError, match=f"not the weight file that FID is defined by.*expected {SHA256}"):
        InceptionNet.load(path)
    with pytest.raises(UserError, match="not the weight file that FID is defined by"):
        load_nets([f"inception={path}"])
    with pytest.raises(UserError, match=r"inception=.*none\.pth|there are no Inception-v3 weights"):
        InceptionNet.load(tmp_path / "none.pth")
    with pytest.raises(UserError, match=r"Write inception=x\.pth"):
        load_nets(["x.pth"])


def test_inception_sees_what_pillow_resized(inception_file: Path) -> None:
    path = inception_file
    net = InceptionNet.load(path, expected=hashlib.sha256(path.read_bytes()).hexdigest())
    found = net.features(pictures(3), rows=[2, 0])
    assert found.shape == (2, 2048)
    assert "torch-fidelity" in net.note
    large = Image.fromarray(pictures(3)[2].transpose(1, 2, 0)).resize((299, 299), Image.Resampling.BICUBIC)
    reference = FeatureExtractorInceptionV3("theirs", ["2048"], feature_extractor_weights_path=str(path))
    (expected,) = reference(torch.from_numpy(np.asarray(large).copy()).permute(2, 0, 1)[None])
    np.testing.assert_allclose(found[0], expected[0].numpy(), rtol=1e-3, atol=1e-4)


def test_clip_embeds_pictures_and_captions_in_one_space(clip: Path) -> None:
    net = VisionNet.load(str(clip))
    assert (net.family, net.input_size, net.width) == ("clip", 32, 16)
    found, texts = net.features(pictures(5)), net.texts(["a red heart", "a blue one" * 20])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-5)
    assert texts.shape == (2, 16)
    reference = CLIPModel.from_pretrained(clip).eval()
    small = np.asarray(Image.fromarray(pictures(1)[0].transpose(1, 2, 0)).resize((32, 32), Image.Resampling.BICUBIC))
    pixels = (torch.from_numpy(small.copy()).permute(2, 0, 1) / 255 - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([0.2, 0.3, 0.4])[
        :, None, None
    ]
    with torch.no_grad():
        told = reference.get_image_features(pixel_values=pixels[None])
    expected = getattr(told, "pooler_output", told)[0]
    np.testing.assert_allclose(found[0], (expected / expected.norm()).numpy(), atol=1e-5)


def test_dinov2_gives_its_class_token(write_preprocessing: Callable[..., None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=56, patch_size=14)
    model = Dinov2Model(config).eval()
    model.save_pretrained(tmp_path / "dino")
    write_preprocessing(tmp_path / "dino", 56, kind="BitImageProcessor")
    net, same = load_nets([str(tmp_path / "dino")])[0], VisionNet.load(str(tmp_path / "dino"))
    assert (net.family, net.name, net.width) == ("vision", "dinov2 dino", 24)
    assert net.sha256 == same.sha256
    assert net.features(pictures(3)).shape == (3, 24)
    with pytest.raises(UserError, match="named twice"):
        load_nets([str(tmp_path / "dino")] * 2)


def test_nothing_is_fetched_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither a folder nor a model fetched before.*--download"):
        load_nets(["someone/no-such-model"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no model that can be read"):
        load_nets([str(tmp_path / "empty")])
