"""The YAML of recipes: a key stands once, and 1e5 is a number."""

import re
from typing import Any

import yaml

from tonggan.errors import UserError


class _Reader(yaml.SafeLoader):
    """YAML as people write it: of numbers such as 1e5, YAML 1.1 makes text."""


_Reader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


def read_yaml(text: str, *, where: str) -> Any:
    """Return what YAML says; raises `yaml.YAMLError` where it is broken.

    Raises `UserError`, beginning with `where`, where a section has a key twice: YAML would take the last without a word.
    """
    root = yaml.compose(text, Loader=_Reader)
    if root is not None:
        _check_once(root, where)
    return yaml.load(text, Loader=_Reader)


def _check_once(node: yaml.Node, where: str) -> None:
    lines: dict[str, int] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            raise UserError(f"{where}, line {line}: '{name}' stands in a section that has it already, in line {lines[name]}. Leave one out.")
        lines[name] = line
        _check_once(value, where)
    for each in node.value if isinstance(node, yaml.SequenceNode) else ():
        _check_once(each, where)
