"""Run the commands in README.md that are marked to be run: python scripts/readme_commands.py

Every line of a ```bash block that is preceded by <!-- run --> is executed by a shell from the repository's root; the first failure ends with its exit code.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"<!-- run -->\n```bash\n(.*?)```", re.DOTALL)


def main() -> int:
    """Run all marked lines of both READMEs (a line in both runs once)."""
    environment = os.environ | {"PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    lines = [
        line
        for name in ("README.md", "README.zh-CN.md")
        for block in BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
        for line in block.splitlines()
    ]
    commands = [line for line in dict.fromkeys(lines) if line.strip() and not line.startswith("#")]
    assert commands, "no README block is marked <!-- run -->"
    for command in commands:
        print(f"$ {command}", flush=True)
        status = subprocess.run(command, shell=True, cwd=ROOT, env=environment, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
