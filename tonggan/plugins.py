"""Parts from outside of the package: what a recipe names under `plugins` is imported, and registers what it has in `ENCODERS`, `DECODERS` and `TERMS`."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from tonggan.decoders import DECODERS
from tonggan.encoders import ENCODERS
from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.goals import TERMS
from tonggan.parts import Decoder, Encoder, Part

REGISTRIES: dict[str, tuple[dict[str, Any], type[Part] | None]] = {
    "encoder kind": (ENCODERS, Encoder),
    "decoder kind": (DECODERS, Decoder),
    "loss term": (TERMS, None),
}
"""What a plugin registers where, and from what class it has to be derived; None for a function."""


def beside(names: Any, folder: Path) -> list[str]:
    """Return the plugins that a recipe file in `folder` names, its .py files as paths that lead there; raises `UserError` for what is no list of names."""
    return [(folder / name).as_posix() if _is_file(name) else name for name in _checked(names)]


def import_plugins(names: Any) -> None:
    """Import plugins, each once a process: modules that Python finds, and .py files.

    Raises `UserError` for what is no list of names, and for a plugin that is missing, raises something, or registers what exists already or is no such thing.
    """
    for name in _checked(names):
        if _is_file(name):
            _run(Path(name), _code(Path(name)))
        else:
            _import(name)


def kept(names: Iterable[str]) -> list[str]:
    """Return plugins as the folder of a model names them: its files lie beside config.json, wherever they came from."""
    return [PurePosixPath(name).name if _is_file(name) else name for name in names]


def code_of(names: Iterable[str]) -> dict[str, bytes]:
    """Return what is in the .py files among plugins, by file name: what a model folder keeps of them."""
    return {PurePosixPath(name).name: _code(Path(name)) for name in names if _is_file(name)}


def save_code(folder: Path, code: Mapping[str, bytes]) -> None:
    """Write the files that `code_of` read into a folder."""
    for name, content in code.items():
        with replacing(folder / name) as file:
            file.write_bytes(content)


def import_kept(names: Any, folder: Path, *, trust_code: bool) -> dict[str, bytes]:
    """Import the plugins that the model in `folder` names, the files among them from that folder alone, and return those files as `code_of` does.

    What this process has run already, by its content, needs no leave. Raises `UserError` where something else would be run and `trust_code` is not set.
    """
    names = kept(_checked(names))
    files = {name: folder / name for name in names if _is_file(name)}
    code = {name: _code(path) for name, path in files.items()}
    new = [str(files.get(name, name)) for name in names if (_module_name(code[name]) if name in code else name) not in sys.modules]
    if new and not trust_code:
        raise UserError(
            f"{folder} needs code that is not part of tonggan: {', '.join(new)}. Read it, and where you trust it allow it to be run: --trust-code, in Python "
            "trust_code=True; in a recipe that begins from this model, name it under plugins."
        )
    for name in names:
        if name in code:
            _run(files[name], code[name])
        else:
            _import(name)
    return code


def _is_file(name: str) -> bool:
    return name.endswith(".py")


def _checked(names: Any) -> list[str]:
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"plugins is a list of modules and .py files, such as [my_package.my_module, parts/mine.py], not {names!r}.")
    files = [PurePosixPath(name).name for name in names if _is_file(name)]
    if twice := sorted({name for name in files if files.count(name) > 1}):
        raise UserError(f"plugins: two files are called {twice[0]}, and a model's folder has room for one. Give one another name.")
    return list(names)


def _code(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"plugin {path} cannot be read: {error.strerror}. A recipe finds its .py files beside itself, a model those in its folder."
        ) from error


def _module_name(code: bytes) -> str:
    """Return what a plugin file is called among Python's modules: by its content, so that a copy is not run again and a changed one is another."""
    return f"tonggan_plugin_{sha256(code).hexdigest()}"


def _run(path: Path, code: bytes) -> None:
    """Run a plugin file unless it was; `code` itself, not a compiled copy that may lie beside the file."""
    name = _module_name(code)
    module = ModuleType(name)
    module.__file__ = str(path)

    def run() -> None:
        sys.modules[name] = module
        exec(compile(code, str(path), "exec"), module.__dict__)

    if name not in sys.modules:
        _registering(str(path), run, module=name)


def _import(name: str) -> None:
    if name not in sys.modules:
        _registering(name, lambda: importlib.import_module(name), module=name)


def _registering(plugin: str, run: Callable[[], Any], *, module: str) -> None:
    """Let a plugin run and register its parts; raises `UserError`, and nothing of them stays, where it fails or what it registers cannot be."""
    before = {what: dict(registry) for what, (registry, _) in REGISTRIES.items()}
    cause: Exception | None = None
    try:
        run()
        problem = _misregistered(before)
    except Exception as error:
        cause, problem = error, _said(error, plugin)
    if problem is None:
        return
    sys.modules.pop(module, None)
    for what, (registry, _) in REGISTRIES.items():
        registry.clear()
        registry.update(before[what])
    raise UserError(f"plugin {plugin} {problem}.") from cause


def _misregistered(before: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return what is wrong with what was registered since `before`; None where nothing is."""
    for what, (registry, wanted) in REGISTRIES.items():
        for name, made in registry.items():
            if before[what].get(name, made) is not made:
                return f"registers the {what} '{name}', which exists already. Give it another name"
            if wanted is None and not callable(made):
                return f"registers the {what} '{name}', which is no function"
            if wanted is not None and not (
                isinstance(made, type) and issubclass(made, wanted) and hasattr(made, "modality") and hasattr(made, "Config")
            ):
                return f"registers the {what} '{name}', which is no class derived from {wanted.__name__} with a modality and a Config"
    return None


def _said(error: Exception, plugin: str) -> str:
    """Say why a plugin could not be imported, with the line of the file where it is one."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{plugin}.".startswith(f"{error.name}."):
        return "cannot be found. Install it, or put its folder into PYTHONPATH; the name of a file ends in .py"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == plugin]
    at = f" in line {lines[-1]}" if lines else ""
    return f"fails{at}: {type(error).__name__}: {' '.join(str(error).split())}"
