"""What an evaluation ran on: processor or GPU, threads, versions."""

import importlib.metadata
import platform
from contextlib import suppress
from pathlib import Path

import torch

from tonggan.evaluation.card import MachineFacts

PACKAGES = ("tonggan", "torch", "numpy", "pillow")
OPTIONAL = ("torch-fidelity", "transformers")
"""Packages that figures depend on where they are installed."""


def machine_facts() -> MachineFacts:
    """Return processor, threads and system of this machine, and the GPU where this process uses one."""
    device = torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu"
    return MachineFacts(_processor(), torch.get_num_threads(), f"{platform.system()} {platform.machine()}", device)


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the figures depend on; a package that is not installed as one says `source`."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "source"
    for package in OPTIONAL:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
