import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from transformers import CLIPConfig, CLIPModel


class Blank(FeatureExtractorInceptionV3):
    """torch-fidelity's architecture with the random weights that it begins with."""

    def load_state_dict(self, *_: object, **__: object) -> None:
        return None


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch-fidelity's Inception-v3 with seeded random weights: no number of it is FID."""
    path = tmp_path_factory.mktemp("inception") / "seeded.pth"
    torch.manual_seed(0)
    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    torch.save(Blank("blank", ["2048"], feature_extractor_weights_path=empty).state_dict(), path)
    return path


def preprocessing(folder: Path, size: int, *, kind: str) -> None:
    settings = {
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
        "crop_size": {"height": size, "width": size},
        "size": {"shortest_edge": size},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"image_processor_type": kind}))


@pytest.fixture(scope="session")
def write_preprocessing() -> Callable[..., None]:
    return preprocessing


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with seeded weights and a tokenizer that knows letters."""
    tmp_path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = small | {"vocab_size": 520, "max_position_embeddings": 16, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=small | {"image_size": 32, "patch_size": 8}, projection_dim=16))
    model.save_pretrained(tmp_path / "clip")
    preprocessing(tmp_path / "clip", 32, kind="CLIPImageProcessor")
    letters = [*map(chr, range(33, 127)), *(f"{chr(code)}</w>" for code in range(33, 127))]
    vocabulary = {token: number for number, token in enumerate(letters)} | {"<|startoftext|>": 512, "<|endoftext|>": 513}
    (tmp_path / "clip" / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "clip" / "merges.txt").write_text("#version: 0.2\n")
    facts = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 16, "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    (tmp_path / "clip" / "tokenizer_config.json").write_text(json.dumps(facts | {"pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}))
    return tmp_path / "clip"
