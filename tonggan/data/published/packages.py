"""Packages of npm: fetched by npm itself, whatever registry it is set up for, and checked against the digests that are known of them."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tonggan.errors import UserError
from tonggan.progress import Show

SECONDS = 600
"""After so long one package is given up."""


@dataclass(frozen=True)
class Package:
    """A version of a package, and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """What `npm pack` calls the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


class Archive:
    """An archive's files, by their names below `package/`."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self._files = {
                member.name.partition("/")[2]: file.read()
                for member in archive
                if member.isfile() and (file := archive.extractfile(member)) is not None
            }

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def read(self, name: str) -> str:
        """Return a file's text."""
        return self._files[name].decode("utf-8")


def archives(wanted: Sequence[Package], folder: Path, *, progress: Show | None = None) -> dict[str, Archive]:
    """Return the archives of packages by their names, from `folder`; those that are not there are fetched into it.

    Raises `UserError` where npm is missing or fails, and for an archive that is not what was published.
    """
    missing = [package for package in wanted if not (folder / package.file_name).is_file()]
    npm = shutil.which("npm")
    if missing and npm is None:
        listed = "\n".join(f"  {package.file_name}  ({package.name} {package.version})" for package in missing)
        raise UserError(f"npm is not installed, and these packages are to be fetched by it. Install Node.js, or put them into {folder}:\n{listed}")
    for number, package in enumerate(missing):
        _fetch(str(npm), package, folder)
        if progress is not None:
            progress("fetching packages", number + 1, len(missing))
    for package in wanted:
        path = folder / package.file_name
        if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
            raise UserError(f"{path} is not what was published as {package.name} {package.version}, or it is cut off. Remove it, and call again.")
    return {package.name: Archive(folder / package.file_name) for package in wanted}


def _fetch(npm: str, package: Package, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as temporary:
        beside = Path(temporary)
        command = [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", str(beside)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"npm did not fetch {package.name} {package.version} in {SECONDS} s. Look at the network, and call again.") from None
        made = beside / package.file_name
        if done.returncode or not made.is_file():
            told = next((line for line in done.stderr.splitlines() if line.startswith("npm error") and "code" not in line), done.stderr.strip()[:200])
            raise UserError(f"npm could not fetch {package.name} {package.version}: {told or 'it says nothing'}")
        made.replace(folder / package.file_name)
