"""Settings as people write them: validated as a whole, every problem named with its path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic.functional_validators import ModelWrapValidatorHandler
    from pydantic_core import ErrorDetails
    from typing_extensions import Self

SettingPath: TypeAlias = tuple[str | int, ...]

_RESERVED_COLUMNS = {"_run_id", "_merged_at"}
_MAX_PRECISION = 38  # of a decimal in Iceberg
_NO = {"false", "no", "off", "n", "f", "0"}  # what pydantic reads as false
_NAME = re.compile(r"[^\W\d][\w $-]*")
_GLUE_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_PART = r'("(?:[^"]|"")+"|[^".]+)'
_EVERY = r"every ([1-9][0-9]{0,5}) runs?"

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
    "string_pattern_mismatch": "must be of letters, digits and _, without a digit first",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "too_short": "must have at least one entry",
    "tuple_type": "must be a list, such as [a, b]",
    "value_error": "{error}",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and the path of the setting where it is."""

    path: SettingPath
    message: str


@dataclass(frozen=True)
class SourceName:
    """The name of a source table, exactly as the source has it; case is kept."""

    schema: str | None
    table: str

    def __post_init__(self) -> None:
        """Raise ValueError for a part that no source can have."""
        if "" in (self.schema, self.table):
            msg = "a schema or table name must not be empty"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> SourceName:
        """Return the name that `text` means: `table`, `schema.table`, or with parts in double quotes.

        Raises ValueError, with the mend, where the text can be read in two ways or in none.
        """
        match = re.fullmatch(rf"(?:{_PART}\.)?{_PART}", text)
        parts = match.groups() if match else ()
        if not match or any(part and part != part.strip() for part in parts):
            raise ValueError(_source_name_advice(text))
        schema, table = (part and _unquoted(part) for part in parts)
        return cls(schema, table)

    def __str__(self) -> str:
        """Return the text that `parse` reads back as this name."""
        return ".".join(_quoted(part) for part in (self.schema, self.table) if part is not None)


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(part: str) -> str:
    plain = part == part.strip() and not {".", '"'} & set(part)
    return part if plain else '"' + part.replace('"', '""') + '"'


def _source_name_advice(text: str) -> str:
    if '"' in text:
        why = "its double quotes do not enclose whole parts"
    elif text.count(".") > 1:
        why = "it has more than one dot"
    else:
        why = "a part is empty, or begins or ends with a space"
    return f'{text!r} is not a table name: {why}; put double quotes around each part, as in public."my.table"'


class Settings(BaseModel):
    """One block of settings; reports everything that is wrong in it, in the words of the file."""

    # A setting with repr=False may hold a secret: its value is kept out of messages as well.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:  # noqa: ARG003 - for the blocks below
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
            problems += cls.broken_rules(_mapping(data))
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
    told = kind.endswith(("parsing", "equal", "literal_error")) and isinstance(
        error["input"], (str, int, float)
    )
    return f"{words}, not {error['input']!r}" if told and known[str(key)].repr else words


def _suggestion(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known here: {', '.join(names)}" if names else ""


def _mapping(value: Any) -> dict[str, Any]:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {key: each for key, each in pairs if isinstance(key, str)}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"names {', '.join(map(repr, twice))} more than once"
        raise ValueError(msg)
    return names


def _column_pairs(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple((each, each) if isinstance(each, str) else each for each in _list(value)) or value


def _runs(value: Any) -> Any:
    match = re.fullmatch(_EVERY, value) if isinstance(value, str) else None
    if isinstance(value, str) and not match:
        msg = f"must read like 'every 24 runs', not {value!r}"
        raise ValueError(msg)
    return int(match[1]) if match else value


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _version(value: Any) -> Any:
    return 1 if value == "1" else value


def _source_name(value: Any) -> SourceName:
    if isinstance(value, SourceName):
        return value
    if not isinstance(value, str):
        msg = "must be text, such as public.account"
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports only a ValueError with its path
    return SourceName.parse(value)


def _time_zone(name: str) -> str:
    try:
        # UTC needs no time zone database; what "localtime" means depends on the machine.
        return name if name == "UTC" else ZoneInfo("" if name == "localtime" else name).key
    except (KeyError, ValueError, OSError):  # OSError: 'Europe' alone is a folder of the database
        near = get_close_matches(name, available_timezones(), n=1) or ["Europe/Berlin"]
        msg = f"{name!r} is no time zone; write one such as {near[0]!r}"
        raise ValueError(msg) from None


def _column_type(text: str) -> str:
    match = re.fullmatch(r"decimal\(([0-9]{1,2}),([0-9]{1,2})\)", text.replace(" ", ""))
    if text != "string" and not (
        match and 1 <= int(match[1]) <= _MAX_PRECISION and int(match[2]) <= int(match[1])
    ):
        msg = f"must be 'string' or 'decimal(p,s)' with p from 1 to 38 and s from 0 to p, not {text!r}"
        raise ValueError(msg)
    return text.replace(" ", "")


def _postgres_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        msg = "must start with postgresql:// or postgres://"
        raise ValueError(msg)
    return url


Text = Annotated[str, Field(min_length=1)]
TextOrNumber: TypeAlias = str | float | bool
Texts = dict[str, Annotated[str, BeforeValidator(_as_text, json_schema_input_type=TextOrNumber)]]
Names = Annotated[tuple[Text, ...], AfterValidator(_distinct)]
OneOrMore = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_distinct)]
SourceTable = Annotated[
    SourceName,
    PlainValidator(_source_name),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
EveryRuns = Annotated[
    int,
    Field(ge=1),
    BeforeValidator(_runs, json_schema_input_type=Annotated[str, Field(pattern=f"^{_EVERY}$")]),
]
ColumnNames: TypeAlias = (
    Annotated[list[Text], Field(min_length=1)] | Annotated[dict[str, Text], Field(min_length=1)]
)
ColumnPairs = Annotated[
    tuple[tuple[Text, Text], ...],
    Field(min_length=1),
    BeforeValidator(_column_pairs, json_schema_input_type=ColumnNames),
]


class CatalogConfig(Settings):
    """The Iceberg catalog, and where the tables' files lie."""

    type: Literal["glue", "sql", "rest"] = Field(description="Kind of catalog, by PyIceberg's name for it.")
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        default="datamart", description="The catalog's name in Spark, and in the catalog file of type `sql`."
    )
    uri: Text | None = Field(
        default=None,
        repr=False,
        description="Address of the catalog; `sql` and `rest` need it. `sqlite:///catalog.db` is relative "
        "to the working directory, `sqlite:////data/catalog.db` is not.",
    )
    warehouse: Text = Field(
        description="Folder or S3 prefix of the tables; a relative one is left as written."
    )
    properties: Texts = Field(
        default={}, repr=False, description="Catalog properties, passed to Spark and PyIceberg alike."
    )

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return a problem where a catalog that is reached by its address has none."""
        if plain.get("type") in {"sql", "rest"} and plain.get("uri") is None:
            yield Problem(("uri",), f"required for a catalog of type {plain['type']!r}")


class StateConfig(Settings):
    """Where the timestamp file is, and what its absence means."""

    timestamp_file: Text = Field(
        description="The CSV with one `last_load_timestamp`: an S3 address or a local path."
    )
    on_missing: Literal["full_load", "use_snapshots"] = Field(
        default="full_load",
        description="Without the timestamp file: load everything, or go on from the snapshots' watermarks.",
    )


class PostgresSource(Settings):
    """A PostgreSQL database."""

    type: Literal["postgres"] = Field(description="Kind of source.")
    url: Annotated[str, AfterValidator(_postgres_url)] = Field(
        repr=False,
        description="Address, such as `postgresql://reader@db:5432/prd`; `postgres://` means the same.",
    )
    user: Annotated[str | None, BeforeValidator(_none_if_empty)] = Field(
        default=None, description="Role to connect as, where the url names none. Empty means not set."
    )
    password: Annotated[SecretStr | None, BeforeValidator(_none_if_empty)] = Field(
        default=None,
        repr=False,
        description="Password, best as `${PGPASSWORD}`; any character may be in it. Empty means not set.",
    )


# A second kind of source: Annotated[PostgresSource | FilesSource, Field(discriminator="type")].
SourceConfig: TypeAlias = PostgresSource


class ColumnConfig(Settings):
    """What is set by hand for one column of a mirror."""

    type: Annotated[str, AfterValidator(_column_type)] = Field(
        description="`decimal(p,s)` with p from 1 to 38 and s from 0 to p, or `string`."
    )


class TableConfig(Settings):
    """One mirror: the source table it follows, and how."""

    source: Text = Field(description="Which of the `sources` has the table.")
    from_: SourceTable = Field(
        validation_alias="from",
        serialization_alias="from",
        description="The source table: `schema.table` or `table`. A part with a dot needs double quotes, "
        "as in `'public.\"my.table\"'`. Case is kept.",
    )
    primary_key: OneOrMore | None = Field(
        default=None, description="Columns that identify a row. Not set: the source's own primary key."
    )
    cursor: Text | None = Field(
        default=None,
        description="Column that grows when a row changes. Not set: every run reads the whole table.",
    )
    cursor_timezone: Annotated[str, AfterValidator(_time_zone)] = Field(
        default="UTC", description="Time zone of a cursor column that stores none."
    )
    lookback_minutes: float | None = Field(
        default=None,
        ge=0,
        le=525_600,
        allow_inf_nan=False,
        description="How far below the watermark the read window starts. Not set: the job decides.",
    )
    soft_delete: Text | None = Field(
        default=None, description="SQL predicate, in the source's SQL; rows for which it holds are deleted."
    )
    max_delete_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="A run that would remove more than this part of the mirror stops before it writes.",
    )
    reconcile_every: EveryRuns | None = Field(
        default=None,
        validation_alias="reconcile",
        serialization_alias="reconcile",
        description="`every 24 runs`: how often the mirror is compared with the source's keys, for what the "
        "cursor does not see: deletes, and updates without a new cursor value.",
    )
    columns: dict[str, ColumnConfig] = Field(
        default={}, description="Settings of single columns, by column name."
    )
    exclude: Names = Field(
        default=(), description="Columns that are not read; neither the cursor nor in the primary key."
    )
    partitions: int | None = Field(
        default=None, ge=1, description="Number of parallel reads of this table. Not set: chosen by its size."
    )
    properties: Texts = Field(default={}, description="Iceberg table properties, laid over the defaults.")
    enabled: bool = Field(default=True, description="`false` leaves the table out of every run.")

    @property
    def lookback(self) -> timedelta | None:
        """Return how far below the watermark the window starts; None where that is not set."""
        return None if self.lookback_minutes is None else timedelta(minutes=self.lookback_minutes)

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return each column that cannot be primary key or cursor."""
        key = [(("primary_key", index), name) for index, name in enumerate(_list(plain.get("primary_key")))]
        for path, name in [*key, (("cursor",), plain.get("cursor"))]:
            if name in _list(plain.get("exclude")):
                yield Problem(path, f"column {name!r} is in 'exclude', so it is never read")
            if str(name).lower() in _RESERVED_COLUMNS:
                yield Problem(path, f"{name!r} is reserved for the column that every mirror gets")


class JoinConfig(Settings):
    """One equi-join of a mart."""

    table: Text = Field(description="The table to join.")
    on: ColumnPairs = Field(
        description="Columns of the same name, `[account_id]`, or pairs, `{parent column: joined column}`."
    )
    how: Literal["inner", "left"] = Field(default="inner", description="Kind of join.")
    to: Text | None = Field(
        default=None, description="The parent: a table joined earlier. Not set: found by the columns of `on`."
    )


class MartConfig(Settings):
    """One mart: the joined table, kept true from its mirrors."""

    from_: Text = Field(
        validation_alias="from", serialization_alias="from", description="The table at the root of the joins."
    )
    joins: Annotated[tuple[JoinConfig, ...], Field(min_length=1)] = Field(
        description="The joins, in their order."
    )
    columns: OneOrMore | None = Field(
        default=None, description="Columns of the mart, besides its key. Not set: all of its tables."
    )
    filter: Text | None = Field(
        default=None, description="SQL predicate; only rows for which it holds are kept."
    )
    expressions: Texts = Field(default={}, description="Added columns: name and SQL expression.")
    require: Names = Field(
        default=(),
        description="Tables without which the mart is not maintained in a run: when one fails, it waits.",
    )
    properties: Texts = Field(default={}, description="Iceberg table properties, laid over the defaults.")

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return each expression that would hide a lineage column."""
        for name in _mapping(plain.get("expressions")):
            if name.lower() in _RESERVED_COLUMNS:
                yield Problem(
                    ("expressions", name), f"{name!r} is reserved for the column that every mart gets"
                )


class RunConfig(Settings):
    """How a run works."""

    parallel_tables: int = Field(
        default=2, ge=1, description="How many tables are read and merged at a time."
    )


class SparkConfig(Settings):
    """What is passed to Spark."""

    properties: Texts = Field(
        default={}, repr=False, description="Spark settings, such as `spark.driver.memory`."
    )


class Config(Settings):
    """All settings of the job."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="Version of this format.")
    catalog: CatalogConfig = Field(description="The Iceberg catalog.")
    database: Text = Field(description="Database (namespace) of all mirrors and marts.")
    state: StateConfig = Field(description="The timestamp file.")
    sources: dict[str, SourceConfig] = Field(description="Databases to read, by a name of your choice.")
    tables: Annotated[dict[str, TableConfig], Field(min_length=1)] = Field(
        description="Mirrors, by the name that the Iceberg table gets."
    )
    marts: dict[str, MartConfig] = Field(
        default={}, description="Marts, by the name that the Iceberg table gets."
    )
    run: RunConfig = Field(default_factory=RunConfig, description="Limits of a run.")
    spark: SparkConfig = Field(default_factory=SparkConfig, description="Settings of Spark.")

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return every name that is not allowed, taken twice, or names nothing."""
        tables, marts = _entries(plain.get("tables")), _entries(plain.get("marts"))
        yield from _name_problems(plain, tables, marts)
        sources = _mapping(plain.get("sources"))
        for name, table in tables.items():
            source = table.get("source")
            if isinstance(source, str) and source not in sources:
                message = f"there is no source {source!r}{_suggestion(source, sources)}"
                yield Problem(("tables", name, "source"), message)
        for name, mart in marts.items():
            for problem in [*_table_problems(mart, tables), *_join_problems(mart)]:
                yield Problem(("marts", name, *problem.path), problem.message)


def _entries(value: Any) -> dict[str, dict[str, Any]]:
    return {name: _mapping(each) for name, each in _mapping(value).items()}


def _name_problems(
    plain: Mapping[str, Any], tables: Mapping[str, Any], marts: Mapping[str, Any]
) -> Iterator[Problem]:
    glue = _mapping(plain.get("catalog")).get("type") == "glue"
    if isinstance(plain.get("database"), str):
        yield from (Problem(("database",), fault) for fault in _name_faults(plain["database"], glue=glue))
    taken: dict[str, tuple[str, str]] = {}
    for path in [*(("tables", name) for name in tables), *(("marts", name) for name in marts)]:
        yield from (Problem(path, fault) for fault in _name_faults(path[1], glue=glue))
        first = taken.setdefault(path[1].casefold(), path)
        if first != path:
            yield Problem(
                path, f"would be the same Iceberg table as {'.'.join(first)}; case makes no difference"
            )


def _name_faults(name: str, *, glue: bool) -> Iterator[str]:
    if glue and not _GLUE_NAME.fullmatch(name):
        yield f"{name!r} must be of a-z, 0-9 and _, without a digit first: Glue allows no other names"
    elif not _NAME.fullmatch(name):
        yield f"{name!r} must begin with a letter or _, and hold only letters, digits, spaces, and _ - $"
    if name.casefold().endswith("__rejected"):
        yield f"{name!r} ends in '__rejected', which is reserved for rejected rows"


def _table_problems(mart: Mapping[str, Any], tables: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    joins = enumerate(_list(mart.get("joins")))
    uses: list[tuple[SettingPath, Any]] = [(("from",), mart.get("from"))]
    uses += [(("joins", index, "table"), _mapping(join).get("table")) for index, join in joins]
    uses += [(("require", index), name) for index, name in enumerate(_list(mart.get("require")))]
    for path, name in uses:
        if isinstance(name, str) and name not in tables:
            yield Problem(path, f"there is no table {name!r}{_suggestion(name, tables)}")
        elif isinstance(name, str) and str(tables[name].get("enabled", True)).lower() in _NO:
            yield Problem(path, f"table {name!r} is not enabled; enable it, or leave it out here")


def _join_problems(mart: Mapping[str, Any]) -> Iterator[Problem]:
    joined = [mart.get("from")]
    for index, join in enumerate(map(_mapping, _list(mart.get("joins")))):
        table, parent = join.get("table"), join.get("to")
        if table in joined and table is not None:
            yield Problem(("joins", index, "table"), f"table {table!r} is already in this mart")
        if isinstance(parent, str) and parent not in joined:
            known = [name for name in joined if isinstance(name, str)]
            message = f"table {parent!r} is not joined earlier{_suggestion(parent, known)}"
            yield Problem(("joins", index, "to"), message)
        joined.append(table)
