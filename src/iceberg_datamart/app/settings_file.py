"""The configuration file: YAML and environment variables in, settings or every problem with its line out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from iceberg_datamart.core.settings.model import Config, Problem
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from iceberg_datamart.core.settings.model import SettingPath

_TAG = "tag:yaml.org,2002:"
_KINDS = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
_TAGS = {_TAG + kind for kind in _KINDS}
_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>(?:(?!\$\{)[^}])*))?\})?"
)
# Far above what any settings need; what is above them is a mistake or a trap (aliases of aliases).
_MOST_BYTES, _MOST_VALUES, _DEEPEST = 1_000_000, 50_000, 30
_LONGEST_MESSAGE = 300
_HALF = "must be valid Unicode text"
_PLAIN_KEY = re.compile(r"[\w$-]+")
_START_HINT = "Run 'iceberg-datamart init' to write a configuration file, or name another one with --config."


def load_config(path: Path, environment: Mapping[str, str]) -> Config:
    """Return the settings in the file at `path`; relative paths in it are left as written.

    Raises ConfigError with every problem at once.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        msg = f"There is no configuration file {path}."
        raise ConfigError(msg, hint=_START_HINT) from None
    except IsADirectoryError:
        msg = f"{path} is a directory, not a configuration file."
        raise ConfigError(msg, hint="Name the file in it, such as datamart.yaml.") from None
    except OSError as error:
        msg = f"The configuration file {path} cannot be read: {error.strerror}."
        raise ConfigError(msg, hint="Check the path and its permissions.") from error
    return parse_config(_decoded(content, str(path)), environment, str(path))


def parse_config(text: str, environment: Mapping[str, str], where: str) -> Config:
    """Return the settings that `text` holds; `where` names it in messages.

    Raises ConfigError with every problem at once.
    """
    return parse_layers([Layer(text, where)], environment)


@dataclass(frozen=True)
class Layer:
    """A text that holds settings, and its name in messages."""

    text: str
    where: str


def parse_layers(layers: Sequence[Layer], environment: Mapping[str, str]) -> Config:
    """Return the settings of all layers, each laid over those before it, key by key.

    A block with another `type` than the one below replaces it: a source of one kind is not a bit of another.
    Lists are replaced, too. Raises ConfigError with every problem at once, each by its layer and line.
    """
    readings = [_Reading(environment, layer.where) for layer in layers]
    values: Any = {}
    for reading, layer in zip(readings, layers, strict=True):
        values = _laid_over(values, reading.value(_root(layer.text, layer.where), ()))
    problems: list[Problem] = []
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems = [Problem(each["loc"], each["msg"]) for each in error.errors()]
    else:
        if not any(reading.problems for reading in readings):
            return config
    # Outside the except clause: a chained validation error would print the values, passwords included.
    raise _refusal(readings, problems)


def _laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if "type" in above and above["type"] != below.get("type"):
        return above
    return {**below, **{name: _laid_over(below.get(name), value) for name, value in above.items()}}


def _refusal(readings: Sequence[_Reading], problems: Iterable[Problem]) -> ConfigError:
    """Return one error that lists `problems`, each where it is written, and those of the texts."""
    for problem in problems:
        # The topmost of those layers that come nearest to the setting.
        max(reversed(readings), key=lambda reading: reading.depth(problem.path)).add(problem)
    hint = "Correct the file and try again; docs/configuration.md describes every setting."
    return ConfigError("\n".join(r.refusal() for r in readings if r.problems), hint=hint)


def default_config_text() -> str:
    """Return the shipped configuration, as it is written in `default.yaml`."""
    return shipped_text("default.yaml")


def shipped_text(name: str) -> str:
    """Return a file of settings that this package brings."""
    return (files("iceberg_datamart.core.settings") / name).read_text("utf-8")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return {**schema, "title": "iceberg-datamart configuration"}


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        msg = f"{where} is not UTF-8 text: line {line} holds the byte 0x{content[error.start]:02x}."
        raise ConfigError(msg, hint="Save the file as UTF-8.") from None


def _root(text: str, where: str) -> yaml.MappingNode:
    if len(text) > _MOST_BYTES:
        msg = f"{where} has {len(text):,} characters; settings have at most {_MOST_BYTES:,}."
        raise ConfigError(msg, hint="Name another file with --config.")
    try:
        _refuse_depth(text, where)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        msg = f"{where} is not valid YAML: {_syntax_fault(error, text)}."
        hint = (
            "Check the indentation; values that begin with one of * & ! % @ ` { [ or hold ': ' need quotes."
        )
        raise ConfigError(msg, hint=hint) from None
    if node is None or node.tag == _TAG + "null":
        msg = f"{where} is empty."
        raise ConfigError(msg, hint=_START_HINT)
    if not isinstance(node, yaml.MappingNode):
        msg = f"{where} must begin with settings, such as 'version: 1'; line {_line(node)} is something else."
        raise ConfigError(msg, hint=_START_HINT)
    return node


def _refuse_depth(text: str, where: str) -> None:
    """Raise ConfigError for blocks within blocks without end: reading them is recursive."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = 0 if event.start_mark is None else event.start_mark.line + 1
            msg = f"{where}, line {line}: blocks are nested more than {_DEEPEST} deep."
            raise ConfigError(msg, hint="docs/configuration.md describes every setting.")


def _syntax_fault(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"line {line}: the character U+{error.character:04X} is not allowed"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it cannot be read"
    # What the parser quotes may be an unquoted password: *secret is read as the name of an anchor.
    fault = " ".join(each for each in (error.context, error.problem) if each)
    fault = re.sub(r"'[^'\s,<\\][^'\s]+'", "'…'", fault)
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {fault}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(path: SettingPath) -> str:
    """Return `path` as people write it: marts.orders.joins[0].table."""
    parts = (f"[{each}]" if isinstance(each, int) else f".{_key(each)}" for each in path)
    return "".join(parts).removeprefix(".")


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else f'"{name}"'


def _is_whole(text: str) -> bool:
    """Return whether no half of a surrogate pair is in it, which an escape in YAML can write."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _shortened(line: str) -> str:
    """Return `line` as a terminal can show it: signs that control it are written out, long values cut."""
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
    return shown if len(shown) <= _LONGEST_MESSAGE else shown[:_LONGEST_MESSAGE] + "…"


class _Reading:
    """Turns YAML nodes into plain values; keeps the line of each path, and what is wrong with the text.

    Every scalar stays text and the model gives it its type. YAML's own guesses would turn a column `on`
    into true, a password 0123 into 83, and a substituted value into whatever it looks like.
    """

    def __init__(self, environment: Mapping[str, str], where: str) -> None:
        self._environment, self._where = environment, where
        self._lines: dict[SettingPath, int] = {}
        self._open: list[yaml.Node] = []
        self._unread: set[SettingPath] = set()
        self._count = 0
        self.problems: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """Add `problem`, but for one about a value that could not be read in the first place."""
        if problem.path not in self._unread:
            self.problems.append(problem)

    def depth(self, path: SettingPath) -> int:
        """Return how many steps of `path` are written here."""
        return next(end for end in range(len(path), -1, -1) if path[:end] in self._lines)

    def refusal(self) -> str:
        """Return the text that lists all problems in the order of their lines."""
        located = sorted(
            {(self._line_of(each.path), _shown(each.path), each.message) for each in self.problems}
        )
        heading = f"{len(located)} problem{'s' if len(located) > 1 else ''} in {self._where}:"
        lines = [
            _shortened(f"  line {line}: {path + ': ' if path else ''}{message}")
            for line, path, message in located
        ]
        return "\n".join([heading, *lines])

    def value(self, node: yaml.Node, path: SettingPath) -> Any:
        """Return the plain value of `node`: a mapping, a list, text or None."""
        self._lines.setdefault(path, _line(node))
        if node.tag not in _TAGS:
            return self._unreadable(
                path, "YAML tags have no meaning here; leave the tag out, or put quotes around it"
            )
        if self._is_too_much(1, path):
            return None
        if node in self._open:
            return self._unreadable(path, "the alias stands inside of what it repeats")
        if isinstance(node, yaml.ScalarNode):
            text = None if node.tag == _TAG + "null" else self._substituted(node.value, path)
            return text if text is None or _is_whole(text) else self._unreadable(path, _HALF)
        self._open.append(node)
        value = self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        self._open.pop()
        return value

    def _is_too_much(self, count: int, path: SettingPath) -> bool:
        """Count `count` more values; return whether aliases have made them too many."""
        before, self._count = self._count, self._count + count
        if before <= _MOST_VALUES < self._count:
            self._unreadable(path, f"from here on, aliases repeat more than {_MOST_VALUES:,} values")
        return self._count > _MOST_VALUES

    def _unreadable(self, path: SettingPath, message: str) -> None:
        self.problems.append(Problem(path, message))
        self._unread.add(path)

    def _line_of(self, path: SettingPath) -> int:
        """Return the line of the setting or, where it is not written, of the block that lacks it."""
        return self._lines[path[: self.depth(path)]]

    def _list(self, node: yaml.Node, path: SettingPath) -> list[Any]:
        return [self.value(each, (*path, index)) for index, each in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: SettingPath) -> dict[str, Any]:
        pairs = self._pairs(node, path)
        self._lines.update({(*path, name): _line(key) for name, (key, _) in pairs.items()})
        return {name: self.value(value, (*path, name)) for name, (_, value) in pairs.items()}

    def _pairs(self, node: yaml.MappingNode, path: SettingPath) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the keys and values of `node` by name; its own come before those that `<<` merges in."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                continue
            if not isinstance(key, yaml.ScalarNode) or not _is_whole(key.value):
                self.problems.append(Problem(path, f"the name on line {_line(key)} must be text"))
            elif key.value in pairs:
                lines = f"on lines {_line(pairs[key.value][0])} and {_line(key)}"
                self.problems.append(Problem((*path, key.value), f"written twice, {lines}"))
            else:
                pairs[key.value] = (key, value)
        for source in self._merged(node, path):
            if self._is_too_much(len(source.value) + 1, path):
                break
            self._open.append(source)
            pairs = {**self._pairs(source, path), **pairs}
            self._open.pop()
        return pairs

    def _merged(self, node: yaml.MappingNode, path: SettingPath) -> Iterator[yaml.MappingNode]:
        merges = [value for key, value in node.value if key.tag == _TAG + "merge"]
        for value in merges:
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(source, yaml.MappingNode) and source not in self._open:
                    yield source
                else:
                    self.problems.append(
                        Problem(path, "'<<' must name a block, or a list of blocks, to merge")
                    )

    def _substituted(self, text: str, path: SettingPath) -> str:
        """Return `text` with its variables replaced, once: what a variable holds is never read again."""

        def replacement(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            if match[0] == "$${":
                return "${"
            if name is None:
                message = "write ${NAME} or ${NAME:-default}; for the characters ${ themselves, write $${"
                self._unreadable(path, message)
                return match[0]
            if default is None and name not in self._environment:
                message = f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
                self._unreadable(path, message)
                return match[0]
            # As in a shell, the default also stands in for an empty variable.
            return self._environment.get(name) or default or ""

        return _REFERENCE.sub(replacement, text)
