"""Words of the command line: options said once; parameters parsed as YAML 1.2, known to the notebook, of its type.

papermill itself only warns about an unknown parameter and reads `1e-5` from a YAML file as text.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from rumorlib import config as cfg


class ParameterError(cfg.SettingError):
    """A parameter that the notebook does not have, or of the wrong type."""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, nearest guesses and no abbreviations; an option given twice is an error."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, **more)
        for action in (None, "store"):
            self.register("action", action, _Once)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line; exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            listed, guess = ", ".join(map(str, action.choices)), cfg.nearest(value, map(str, action.choices))
            raise argparse.ArgumentError(action, f"must be one of {listed}; got {value!r}{guess}")


class _Once(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None) -> None:
        said = namespace.__dict__.setdefault("_said", {})
        if option_string and self.dest in said:
            raise argparse.ArgumentError(self, f"given twice, {said[self.dest]!r} and {values!r}")
        said[self.dest] = values
        setattr(namespace, self.dest, values)


class _Yaml12(yaml.SafeLoader):
    """YAML 1.2 scalars: 1e-5 is a float; only true and false are booleans; `no`, 010 and dates stay what they look."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own protocol)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose names stand in it once; PyYAML takes the last."""
        names = [self.construct_object(name, deep=deep) for name, _ in node.value]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise ParameterError(f"{twice[0]} is given twice")
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|None|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    (
        "float",
        r"^[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$",
        list("-+.0123456789"),
    ),
):
    _Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def parse_value(text: str) -> Any:
    """One value as YAML 1.2: `1e-5`, `[0, 1]`, `demo`. Raises ParameterError: not YAML."""
    try:
        return yaml.load(text, Loader=_Yaml12)  # a SafeLoader: plain types only
    except yaml.YAMLError as error:
        raise ParameterError(f"cannot read {text!r}: {' '.join(str(error).split())}") from error


def from_words(words: Iterable[str]) -> dict[str, str]:
    """`name=value` words, values still text. Raises ParameterError: no `=`, or a name twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise ParameterError(f"-p {word}: write name=value")
        if name in found:
            raise ParameterError(f"-p {name} is given twice")
        found[name] = value
    return found


def settings(words: Iterable[str]) -> dict[str, list[Any]]:
    """`model.field=a,b` words as field -> values, each read as YAML; a list is [a, b]. Raises ParameterError."""
    found: dict[str, list[Any]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value or name in found:
            raise ParameterError(f"--set {word}: write model.field=value,value, each field once")
        found[name] = parse_value(f"[{value}]")
    return found


def from_file(path: Path) -> dict[str, Any]:
    """Parameters of a YAML file: one mapping. Raises ParameterError: no such file, or not a mapping of names."""
    try:
        content = parse_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ParameterError(f"{path}: must hold lines `name: value`")
    return content


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Parameters from file, and from flags and -p, which win. Raises ParameterError: a flag and -p name the same."""
    said = {"profile": "profile", "train": "train", "grid": "grid", "corpus": "datasets"}
    flags = {name: getattr(arguments, flag) for flag, name in said.items() if getattr(arguments, flag)}
    words = from_words(arguments.p)
    for flag, name in said.items():
        if name in flags and name in words:
            raise ParameterError(f"--{flag} {flags[name]} and -p {name}={words[name]}: leave one out")
    return (from_file(arguments.f) if arguments.f else {}) | words | flags


def settle_folders(given: dict[str, Any], data: str | None) -> None:
    """Check what names data; folders reach the kernels by environment, and posts of one's own by name alone."""
    kinds = {"profile": "str", "train": "str", "datasets": "list[str] | None"}
    asked = {name: given[name] for name in kinds if name in given}
    asked = {name: typed(v, kinds[name]) if isinstance(v, str) else v for name, v in asked.items()}
    settings = cfg.resolve(**asked, data=data)
    if settings.data_root:
        os.environ["RUMORLIB_DATA"] = str(settings.data_root)
    if asked.get("datasets"):
        given["datasets"] = list(settings.datasets)
    os.environ["RUMORLIB_CORPORA"] = os.pathsep.join(f"{name}={folder}" for name, folder in cfg.own_folders().items())


def declared(notebook: Path) -> dict[str, str]:
    """Name -> annotation of each parameter: the assignments of the cell tagged `parameters`.

    papermill's own inspection does not see an annotation with `|`, so `name: list[str] = None` stands for it. An
    assignment without annotation gives "".
    Raises: ParameterError: the cell is not plain Python assignments.
    """
    content = json.loads(notebook.read_text(encoding="utf-8"))
    tagged = [cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    found: dict[str, str] = {}
    for statement in ast.parse("".join(tagged[0]["source"])).body if tagged else []:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.Constant(value=None)):
                found[name] = ast.unparse(kind).removesuffix(" | None") + " | None"
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
                found[name] = ast.unparse(kind)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = ""
            case _:
                raise ParameterError(f"{notebook.name}: the parameters cell may hold assignments only")
    return found


def check(notebook: str, given: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Refuse parameters the notebook does not have or of another type.

    Args:
        notebook: name, for the message.
        given: name -> value.
        known: name -> annotation in the parameters cell, e.g. "list[int] | None"; "" if not annotated.
    Raises: ParameterError.
    """
    if unknown := sorted(set(given) - set(known)):
        listed = ", ".join(f"{name}: {kind}" for name, kind in known.items()) or "none"
        guess = cfg.nearest(unknown[0], known)
        raise ParameterError(f"{notebook} has no parameter {', '.join(unknown)}; it has {listed}{guess}")
    for name, value in given.items():
        if not fits(value, known[name]):
            hint = "; write a list as [a, b]" if "list" in known[name] else ""
            raise ParameterError(f"{notebook}: {name} must be {known[name]}, got {value!r}{hint}")


def typed(text: str, annotation: str) -> Any:
    """The value of `-p name=text`: parsed, except that a parameter of type str takes the text as it stands."""
    value = parse_value(text)
    return text if not fits(value, annotation) and fits(text, annotation) else value


def fits(value: Any, annotation: str) -> bool:
    """Whether a value is of an annotated type (str, int, float, bool, None, list[...], dict, and unions of them)."""
    return not annotation or _fits(value, ast.parse(annotation, mode="eval").body)


def _fits(value: Any, kind: ast.expr) -> bool:
    match kind:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Constant(value=None):
            return value is None
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return isinstance(value, list) and all(_fits(each, item) for each in value)
        case ast.Subscript(value=ast.Name(id="dict")) | ast.Name(id="dict"):
            return isinstance(value, dict)
        case ast.Name(id="float"):
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="str"):
            return isinstance(value, str)
        case ast.Name(id="bool"):
            return isinstance(value, bool)
        case ast.Name(id="list"):
            return isinstance(value, list)
    raise ParameterError(f"cannot check a parameter of type {ast.unparse(kind)}")
