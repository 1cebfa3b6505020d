"""Run what the READMEs mark to be run: python scripts/readme_commands.py

Every line of a ```bash block and every ```python block that is preceded by <!-- run --> is executed from the repository's root; the first failure ends
with its exit code.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"<!-- run -->\n```(bash|python)\n(.*?)```", re.DOTALL)


def main() -> int:
    """Run all that is marked in both READMEs (what stands in both runs once)."""
    environment = os.environ | {"PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    blocks = [block for name in ("README.md", "README.zh-CN.md") for block in BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))]
    pieces = [(language, piece) for language, text in blocks for piece in (text.splitlines() if language == "bash" else [text])]
    commands = [(language, piece) for language, piece in dict.fromkeys(pieces) if piece.strip() and not piece.startswith("#")]
    assert commands, "no README block is marked <!-- run -->"
    for language, piece in commands:
        print(f"$ {piece}", flush=True)
        command = ["bash", "-c", piece] if language == "bash" else ["python", "-c", piece]
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
