"""YAML read into plain values that remember their lines.

Only what a configuration needs is understood: strings, true and false, decimal numbers, null, lists and mappings.
So `no`, `1e3`, dates and 000000000001 stay the text they are, and nothing can construct an object. Depth and the
number of values are bounded, aliases included.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from relay.runtime.config.faults import Fault, Path

DEPTH_MAX = 12
VALUES_MAX = 200_000
_QUICK_DEPTH_MAX = 1000  # the loader in C recurses without a limit of its own

_STRING = "tag:yaml.org,2002:str"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_NULL = "tag:yaml.org,2002:null"
_PLAIN_TAGS = {_STRING, _BOOL, _INT, _FLOAT, _NULL, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}


class Mapping(dict[str, Any]):
    """A mapping that knows the line of each key, and its own."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Sequence(list[Any]):
    """A list that knows the line of each item, and its own."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


class _Loader(yaml.SafeLoader):
    """The safe loader with a smaller idea of what a plain word can be."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own attribute


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(_FLOAT, re.compile(r"^[-+]?[0-9]{1,15}\.[0-9]{1,15}$"), list("-+0123456789"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])

if yaml.__with_libyaml__:

    class _QuickLoader(yaml.CSafeLoader):
        """The same in C, eight times as fast. It finds the same faults, and says them differently."""

        yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


class _Reader:
    """Turns one node tree into values, collecting what is wrong with it."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._left = VALUES_MAX

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._left -= 1
        line = node.start_mark.line + 1
        if len(path) > DEPTH_MAX or self._left < 0:
            if self._left >= -1:
                self.faults.append(Fault(path, "is nested too deeply or too long for a configuration", line))
            return None
        if node.tag not in _PLAIN_TAGS:
            self.faults.append(Fault(path, f"uses the tag {node.tag}; write the plain value", line))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path)
        return _scalar(str(node.value), node.tag)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Mapping:
        result = Mapping(node.start_mark.line + 1)
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(Fault(path, "has a list or mapping where a key belongs", line))
                continue
            key = str(key_node.value)
            if key in result:
                text = f"is given twice, first on line {result.lines[key]}; keep one"
                self.faults.append(Fault((*path, key), text, line))
                continue
            result[key] = self.value(value_node, (*path, key))
            result.lines[key] = line
        return result

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> Sequence:
        result = Sequence(node.start_mark.line + 1)
        for index, item in enumerate(node.value):
            result.append(self.value(item, (*path, index)))
            result.lines.append(item.start_mark.line + 1)
        return result


def _scalar(text: str, tag: str) -> Any:
    if tag == _BOOL:
        return text.lower() == "true"
    if tag == _NULL:
        return None
    try:
        if tag == _INT:
            return int(text)
        return float(text) if tag == _FLOAT else text
    except ValueError:
        return text  # an explicit !!int on a word: the model says what it wanted


def read(text: str) -> tuple[Mapping, list[Fault]]:
    """Return the values of a YAML document and what is wrong with its form. An empty document is an empty mapping."""
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        return Mapping(1), [Fault((), f"is not YAML: {error.problem or error.context}", line)]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        return Mapping(1), [Fault((), "contains a character that YAML forbids", line)]
    except RecursionError:
        return Mapping(1), [Fault((), "is nested too deeply for a configuration", 1)]
    if node is None:
        return Mapping(1), []
    if not isinstance(node, yaml.MappingNode):
        return Mapping(1), [
            Fault(
                (),
                "must be settings, one `key: value` a line, not a list or a single value",
                node.start_mark.line + 1,
            )
        ]
    reader = _Reader()
    return reader.value(node, ()), reader.faults


def _compose(text: str) -> yaml.Node | None:
    # each level of nesting takes an opening bracket or a column more
    depth_max = text.count("[") + text.count("{") + max(map(len, text.split("\n")))
    if yaml.__with_libyaml__ and depth_max <= _QUICK_DEPTH_MAX:
        with contextlib.suppress(yaml.YAMLError, UnicodeEncodeError):
            return yaml.compose(text, Loader=_QuickLoader)
    return yaml.compose(text, Loader=_Loader)


def line_of(document: Mapping, path: Path) -> int:
    """Return the line of the deepest part of `path` that is in the document."""
    value: Any = document
    line = document.line
    for part, found in _steps(value, path):
        line = found
        value = part
    return line


def _steps(value: Any, path: Path) -> Iterator[tuple[Any, int]]:
    for part in path:
        if isinstance(value, Mapping) and part in value:
            line = value.lines[str(part)]
        elif isinstance(value, Sequence) and isinstance(part, int) and part < len(value):
            line = value.lines[part]
        else:
            return
        value = value[part]
        yield value, line
