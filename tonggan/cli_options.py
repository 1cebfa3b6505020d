"""Options that several verbs have."""

from typing import Annotated

import typer

TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run the Python code (plugins) that comes with the model or that it names; read it before.")
]
