"""What several verbs have: options, what was given of them, and the console."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console

ModelName = Annotated[str, typer.Option(help="A model that ships, a model folder, or a run.")]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run the Python code (plugins) that comes with the model or that it names; read it before.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of the solver.")]
Dtype = Annotated[str | None, typer.Option(help="float32, or bfloat16: faster where the processor has it.")]

console = Console(markup=False, emoji=False, soft_wrap=True)
"""Prints the names of files and runs as they are: `runs/[red]` is no markup, and a long path is not broken."""


def given_settings(wishes: Mapping[str, object]) -> dict[str, object]:
    """Return what was given; for the rest the model's own settings stand."""
    return {name: value for name, value in wishes.items() if value is not None}


def given_options(context: typer.Context) -> list[str]:
    """Return the names of what was given on the command line, and not left at its default, in the order of the verb's own."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
