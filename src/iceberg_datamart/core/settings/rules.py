"""What holds for every block of settings: all problems at once, in the words of the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from iceberg_datamart.core.names import RUN_TABLE, SourceName, unfit_for_glue

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic.functional_validators import ModelWrapValidatorHandler
    from pydantic_core import ErrorDetails
    from typing_extensions import Self

SettingPath: TypeAlias = tuple[str | int, ...]

RESERVED_COLUMNS = {"_run_id", "_merged_at"}
_NO = {"false", "no", "off", "n", "f", "0"}  # what pydantic reads as false
_NAME = re.compile(r"[^\W\d][\w $-]*")
_LONGEST_NAME = 200  # file systems allow 255; `__rejected` and what catalogs append need room
_GLUE_NAME = re.compile(r"[a-z_][a-z0-9_]*")

_WORDS = {
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping of names to settings",
    "finite_number": "must be a number",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "missing": "required, but not given",
    "model_attributes_type": "must be a mapping of settings",
    "model_type": "must be a mapping of settings",
    # Only the catalog's name has a pattern.
    "string_pattern_mismatch": "must have only A-Z, a-z, 0-9 and _, and no digit first, as in lake_2",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "too_short": "must have at least one entry",
    "tuple_type": "must be a list, such as [a, b]",
    "value_error": "{error}",
}


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


def _column_pairs(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple((each, each) if isinstance(each, str) else each for each in listed(value)) or value


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"names {', '.join(map(repr, twice))} more than once"
        raise ValueError(msg)
    return names


Text = Annotated[str, Field(min_length=1)]
TextOrNumber: TypeAlias = str | float | bool
Plain = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=TextOrNumber)]
Texts = dict[str, Plain]
Names = Annotated[tuple[Text, ...], AfterValidator(_distinct)]
OneOrMore = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_distinct)]
ColumnNames: TypeAlias = (
    Annotated[list[Text], Field(min_length=1)] | Annotated[dict[str, Text], Field(min_length=1)]
)
ColumnPairs = Annotated[
    tuple[tuple[Text, Text], ...],
    Field(min_length=1),
    BeforeValidator(_column_pairs, json_schema_input_type=ColumnNames),
]


@dataclass(frozen=True)
class KindSettings:
    """The settings that one type of a block takes: those it needs, and those of which it needs one."""

    needed: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and the path of the setting where it is."""

    path: SettingPath
    message: str


class Settings(BaseModel):
    """One block of settings; reports everything that is wrong in it, in the words of the file."""

    # A setting with repr=False may hold a secret: its value is kept out of messages as well.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:  # noqa: ARG003  (for the blocks)
        """Return what is wrong between settings; `plain` may hold values that are wrong themselves."""
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            settings = handler(_without_unset(cls, data))
            problems = list(cls.broken_rules(settings.model_dump(by_alias=True)))
        except ValidationError as error:
            # A list whose only entry is wrong also counts as too short: that is said of empty ones only.
            errors = [each for each in error.errors() if each["type"] != "too_short" or not each["input"]]
            problems = [Problem(each["loc"], _in_plain_words(cls, each)) for each in errors]
            problems += cls.broken_rules(mapping(data))
        if problems:
            raise _refusal(cls.__name__, problems)
        return settings


def settings_of(block: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the settings of a block by the names that they have in the file."""
    return {field.serialization_alias or name: field for name, field in block.model_fields.items()}


def _without_unset(block: type[Settings], data: Any) -> Any:
    """Return `data` without known settings that have no value: an empty `marts:` is not written at all."""
    if not isinstance(data, Mapping):
        return data
    known = settings_of(block)
    return {key: value for key, value in data.items() if value is not None or key not in known}


def _refusal(title: str, problems: list[Problem]) -> ValidationError:
    """Return an error that carries no input: pydantic's own would repeat passwords."""
    details: list[InitErrorDetails] = [
        {"type": PydanticCustomError("setting", each.message), "loc": each.path, "input": None}  # type: ignore[arg-type, unused-ignore]
        for each in problems
    ]
    return ValidationError.from_exception_data(title, details)


def _in_plain_words(block: type[Settings], error: ErrorDetails) -> str:
    known, key, kind = settings_of(block), error["loc"][0] if error["loc"] else "", error["type"]
    if kind == "extra_forbidden":
        return f"unknown setting{_suggestion(str(key), known)}"
    if kind not in _WORDS:
        return error["msg"]
    words = _WORDS[kind].format_map(error.get("ctx", {}))
    shows_value = kind.endswith(("parsing", "equal", "literal_error", "mismatch"))
    told = shows_value and isinstance(error["input"], (str, int, float))
    return f"{words}, not {error['input']!r}" if told and known[str(key)].repr else words


def _suggestion(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known here: {', '.join(names)}" if names else ""


def mapping(value: Any) -> dict[str, Any]:
    """Return `value` where it is a mapping, without keys that are no text; else an empty one."""
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {key: each for key, each in pairs if isinstance(key, str)}


def listed(value: Any) -> list[Any]:
    """Return `value` where it is a list; else an empty one."""
    return list(value) if isinstance(value, (list, tuple)) else []


def kind_problems(
    plain: Mapping[str, Any], kinds: Mapping[str, KindSettings], words: str
) -> Iterator[Problem]:
    """Return each setting that a block of this `type` lacks, or does not have; `words` are as `a check`."""
    kind = plain.get("type")
    found = kinds.get(str(kind))
    if found is None:
        return
    given = {name for name, value in plain.items() if value is not None}
    yield from (
        Problem((name,), f"required for {words} of type {kind!r}")
        for name in found.needed
        if name not in given
    )
    if found.one_of and not given & set(found.one_of):
        yield Problem((), f"{words} of type {kind!r} needs {' or '.join(map(repr, found.one_of))}")
    takes = (*found.needed, *found.one_of)
    others = {name for each in kinds.values() for name in (*each.needed, *each.one_of)}
    for name in sorted((given & others) - set(takes)):
        has = ", ".join(takes) or "none but its name and on_fail"
        yield Problem((name,), f"{words} of type {kind!r} does not have it; it has {has}")


def reference_problems(plain: Mapping[str, Any]) -> Iterator[Problem]:
    """Return every name that is not allowed, taken twice, or names nothing."""
    tables, marts = entries(plain.get("tables")), entries(plain.get("marts"))
    yield from _name_problems(plain, tables, marts)
    sources = mapping(plain.get("sources"))
    for name, table in tables.items():
        source = table.get("source")
        if not isinstance(source, str):
            continue
        if source not in sources:
            message = f"there is no source {source!r}{_suggestion(source, sources)}"
            yield Problem(("tables", name, "source"), message)
        elif mapping(sources[source]).get("type") == "glue" and _has_schema(table.get("from")):
            message = "must be the name of a Glue table alone; its database is that of the source"
            yield Problem(("tables", name, "from"), message)
    for name, mart in marts.items():
        for problem in [*_table_problems(mart, tables), *_join_problems(mart)]:
            yield Problem(("marts", name, *problem.path), problem.message)


def _has_schema(name: Any) -> bool:
    try:
        return SourceName.parse(name).schema is not None
    except (TypeError, ValueError):
        return False  # which is a problem of its own


def entries(value: Any) -> dict[str, dict[str, Any]]:
    """Return the blocks of `value` by name; a block that is no mapping counts as empty."""
    return {name: mapping(each) for name, each in mapping(value).items()}


def _name_problems(
    plain: Mapping[str, Any], tables: Mapping[str, Any], marts: Mapping[str, Any]
) -> Iterator[Problem]:
    glue = mapping(plain.get("catalog")).get("type") == "glue"
    if isinstance(plain.get("database"), str):
        yield from (Problem(("database",), fault) for fault in name_faults(plain["database"], glue=glue))
    for name, mart in marts.items():
        unfit = unfit_for_glue(mapping(mart.get("expressions"))) if glue else None
        if unfit is not None:
            yield Problem(("marts", name, "expressions"), unfit)
    taken: dict[str, tuple[str, str]] = {}
    for path in [*(("tables", name) for name in tables), *(("marts", name) for name in marts)]:
        yield from (Problem(path, fault) for fault in name_faults(path[1], glue=glue))
        first = taken.setdefault(path[1].casefold(), path)
        if first != path:
            yield Problem(
                path, f"would be the same Iceberg table as {'.'.join(first)}; case makes no difference"
            )


def name_faults(name: str, *, glue: bool) -> Iterator[str]:
    """Return what is wrong with the name of a table or database."""
    if glue and not _GLUE_NAME.fullmatch(name):
        yield f"{name!r} must be of a-z, 0-9 and _, without a digit first: Glue allows no other names"
    elif not _NAME.fullmatch(name):
        yield f"{name!r} must begin with a letter or _, and hold only letters, digits, spaces, and _ - $"
    if len(name.encode()) > _LONGEST_NAME:
        yield f"is longer than {_LONGEST_NAME} bytes, which the table's folder could not be named"
    if name.casefold().endswith("__rejected"):
        yield f"{name!r} ends in '__rejected', which is reserved for rejected rows"
    if name.casefold() == RUN_TABLE:
        yield f"{name!r} is reserved for the table of runs"


def _table_problems(mart: Mapping[str, Any], tables: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    joins = enumerate(listed(mart.get("joins")))
    uses: list[tuple[SettingPath, Any]] = [(("from",), mart.get("from"))]
    uses += [(("joins", index, "table"), mapping(join).get("table")) for index, join in joins]
    uses += [(("require", index), name) for index, name in enumerate(listed(mart.get("require")))]
    for path, name in uses:
        if isinstance(name, str):
            yield from unusable(path, name, tables)


def unusable(path: SettingPath, name: str, tables: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    """Return why a table cannot be named at `path`: there is none, or no run fills it."""
    if name not in tables:
        yield Problem(path, f"there is no table {name!r}{_suggestion(name, tables)}")
    elif not is_enabled(tables[name]):
        yield Problem(path, f"table {name!r} is not enabled; enable it, or leave it out here")


def is_enabled(table: Mapping[str, Any]) -> bool:
    """Return whether the settings of a table, as they are written, leave it in the runs."""
    return str(table.get("enabled", True)).lower() not in _NO


def _join_problems(mart: Mapping[str, Any]) -> Iterator[Problem]:
    joined = [mart.get("from")]
    for index, join in enumerate(map(mapping, listed(mart.get("joins")))):
        table, parent = join.get("table"), join.get("to")
        if table in joined and table is not None:
            yield Problem(("joins", index, "table"), f"table {table!r} is already in this mart")
        if isinstance(parent, str) and parent not in joined:
            known = [name for name in joined if isinstance(name, str)]
            message = f"table {parent!r} is not joined earlier{_suggestion(parent, known)}"
            yield Problem(("joins", index, "to"), message)
        joined.append(table)
