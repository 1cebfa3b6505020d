import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = [
    {"__main__"},
    {"cli"},
    {"cli_votes", "cli_data", "cli_describe", "cli_draw", "cli_evaluate", "cli_sound"},
    {"cli_options"},
    {"serving"},
    {"feedback"},
    {"alt_text", "searching", "sound_of_words"},
    {"describing", "drawing", "doctor", "evaluation", "sounding"},
    {"pipeline"},
    {"choosing", "completion", "inputs", "sound_windows", "training"},
    {"model_folder", "model_card", "players"},
    {"judges"},
    {"model", "plugins"},
    {"goals"},
    {"decoders", "encoders", "discriminators"},
    {"parts"},
    {"latent"},
    {"objectives", "layers"},
    {"data"},
    {"modalities"},
    {"arithmetic", "strict", "progress"},
    {"files"},
    {"errors"},
]
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


OF_THE_PACKAGE = {"Tonggan": {"pipeline"}, "__version__": set[str]()}
"""What `from tonggan import NAME` takes from which room, where NAME is none itself."""


def imported(file: Path) -> set[str]:
    """Return the rooms that a file imports from, by whatever form of import."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tonggan.")}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}, line {node.lineno}: imports are absolute"
            if node.module == "tonggan":
                found |= {room for alias in node.names for room in OF_THE_PACKAGE.get(alias.name, {alias.name})}
            elif node.module and node.module.startswith("tonggan."):
                found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize(
    ("line", "rooms"),
    [
        ("from tonggan.decoders.search import Search", {"decoders"}),
        ("import tonggan.model, tonggan.encoders.text as text", {"model", "encoders"}),
        ("from tonggan import latent, files as whole", {"latent", "files"}),
        ("def late():\n    from tonggan import Tonggan, __version__", {"pipeline"}),
        ("import tonggan\nimport json\nfrom pathlib import Path\nfrom tonggans.model import x", set()),
    ],
)
def test_every_form_of_import_is_seen(line: str, rooms: set[str], tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(line)
    assert imported(tmp_path / "some.py") == rooms


def test_imports_run_one_way() -> None:
    checked = 0
    for file in (ROOT / "tonggan").rglob("*.py"):
        room = file.relative_to(ROOT / "tonggan").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported(file) - {room}:
            assert LEVEL[other] > LEVEL[room], f"{file.relative_to(ROOT)} imports {other}"
            checked += 1
    assert checked > 50


def test_the_page_of_commands_is_what_help_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "typer", "tonggan.cli", "utils", "docs", "--name", "tonggan", "--output", str(tmp_path / "cli.md")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == (tmp_path / "cli.md").read_text(encoding="utf-8"), "run make docs"


def test_the_page_of_settings_is_what_the_code_reads_and_says_what_each_is(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "settings_page.py", tmp_path / "settings.md"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    page = (tmp_path / "settings.md").read_text(encoding="utf-8")
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run make docs"
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "docs/tour.md"])
def test_links_and_files_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / name).parent / target).exists(), target


def test_the_package_that_is_installed_has_all_its_files_and_says_that_it_is_typed() -> None:
    package = ROOT / "tonggan"
    given = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]["tonggan"]
    installed = {path for pattern in given for path in package.glob(pattern)}
    assert package / "py.typed" in installed
    left = [path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc") and path not in installed]
    assert left == []


def test_both_readmes_have_the_same_commands() -> None:
    commands = [
        [
            line.split("#")[0].strip()
            for block in re.findall(r"```bash\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
            for line in block.splitlines()
        ]
        for name in ("README.md", "README.zh-CN.md")
    ]
    assert commands[0] == commands[1]
    assert len(commands[0]) > 8
