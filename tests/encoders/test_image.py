from pathlib import Path

import pytest
import torch

from tonggan.encoders.image_pretrained import ImagePretrained, ImagePretrainedConfig
from tonggan.encoders.image_transformer import ImageTransformer, ImageTransformerConfig
from tonggan.encoders.video import VideoTransformerConfig
from tonggan.errors import UserError
from tonggan.layers.convolutional import ResidualBlock, norm_groups

transformers = pytest.importorskip("transformers")


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """A vision transformer as `transformers` saves it, small and untrained: what is tested is that it is read and fed as it wants to be."""
    torch.manual_seed(0)
    settings = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8)
    transformers.ViTModel(settings).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]).save_pretrained(tmp_path)
    return tmp_path


def test_a_pretrained_model_sees_what_its_own_processor_would_show_it(vit: Path) -> None:
    made = ImagePretrained(ImagePretrainedConfig(model=str(vit)))
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    latent = made(picture)
    processor, network = transformers.AutoImageProcessor.from_pretrained(vit), transformers.AutoModel.from_pretrained(vit)
    shown = processor(list((picture + 1) / 2), do_rescale=False, return_tensors="pt")
    torch.testing.assert_close(latent.tokens, network(**shown).last_hidden_state, rtol=1e-4, atol=1e-4)
    assert latent.tokens.shape == (2, 1 + 16, 16)
    assert not latent.tokens.requires_grad
    assert made(torch.rand(1, 3, 64, 64)).tokens.shape == (1, 17, 16)


def test_what_is_no_vision_model_is_said_to_be_none(tmp_path: Path) -> None:
    settings = transformers.BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    transformers.BertModel(settings).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"image_pretrained: '.*' is a BertModel, not a vision transformer\. Name a ViT"):
        ImagePretrained(ImagePretrainedConfig(model=str(tmp_path)))


def test_a_missing_pretrained_model_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"preprocessor_config\.json .* model\.encoders\.image\.download=true"):
        ImagePretrained(ImagePretrainedConfig(model="someone/not-there"))


def test_our_own_has_a_token_for_every_eight_pixels() -> None:
    made = ImageTransformer(ImageTransformerConfig(size=32, width=16, layers=1, heads=2, stem_channels=(16, 16)))
    latent = made(torch.rand(2, 3, 32, 32))
    assert latent.tokens.shape == (2, 16, 16)
    torch.testing.assert_close(latent.pooled, latent.tokens.mean(1))


def test_what_convolutions_see_at_a_place_is_told_there_and_by_the_blocks_everywhere() -> None:
    torch.manual_seed(0)
    picture = torch.zeros(1, 3, 64, 64)
    marked = picture.clone()
    marked[..., 2:6, 2:6] = 1
    for layers in (0, 1):
        encoder = ImageTransformer(ImageTransformerConfig(stem="vgg", stem_channels=(8, 8, 8), width=16, layers=layers, heads=2)).eval()
        latent, other = encoder(picture), encoder(marked)
        assert latent.tokens.shape == (1, 64, 16)
        torch.testing.assert_close(latent.pooled, latent.tokens.mean(1))
        change = (other.tokens - latent.tokens).abs().sum(-1).unflatten(1, (8, 8))[0]
        assert change[0, 0] > 0
        assert (change[5:, 5:].max() > 0) == bool(layers)


def test_a_size_that_cannot_be_halved_thrice_is_refused() -> None:
    with pytest.raises(UserError, match="size 60 is not a multiple of 8"):
        ImageTransformer(ImageTransformerConfig(size=60))


@pytest.mark.parametrize("channels", [1, 17, 56, 112, 528])
def test_any_number_of_channels_can_be_normalised(channels: int) -> None:
    assert ResidualBlock(channels, channels)(torch.rand(1, channels, 4, 4)).shape == (1, channels, 4, 4)
    assert channels % norm_groups(channels) == 0
    assert channels // norm_groups(channels) >= min(16, channels)


def test_heads_whose_numbers_cannot_be_turned_are_refused() -> None:
    assert ImageTransformer(ImageTransformerConfig(size=16, width=16, layers=1, heads=4))(torch.rand(1, 3, 16, 16)).tokens.shape == (1, 4, 16)
    for refused in (lambda: ImageTransformerConfig(width=16, heads=8), lambda: VideoTransformerConfig(width=12, heads=4)):
        with pytest.raises(ValueError, match=r"rotary positions want a multiple of [24]\. Choose another number of heads"):
            refused()


def test_a_stem_says_how_many_channels_it_has() -> None:
    with pytest.raises(UserError, match="'vgg' has 3 stem_channels, not 2"):
        ImageTransformer(ImageTransformerConfig(stem="vgg", stem_channels=(8, 8)))
