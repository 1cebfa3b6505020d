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
    told = dict[str, str]()
    if described.is_file():
        first = described.read_text(errors="replace").partition("\n\n")[0]
        told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    name = told.get("model name") or platform.processor() or platform.machine()
    # Virtual machines call processors of several generations by one name.
    return f"{name} (family {told['cpu family']}, model {told['model']})" if {"cpu family", "model"} <= told.keys() else name


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
