"""The configuration file: what its text means, and what is said when it is wrong."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceberg_datamart.app.settings_file import default_config_text, json_schema, load_config, parse_config
from iceberg_datamart.core.settings.model import Config, SourceName
from iceberg_datamart.errors import ConfigError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "src" / "iceberg_datamart" / "core" / "settings" / "config.schema.json"
WRITE_SCHEMA = (
    "import json; from pathlib import Path; from iceberg_datamart.app.settings_file import json_schema; "
    "Path('src/iceberg_datamart/core/settings/config.schema.json')"
    ".write_text(json.dumps(json_schema(), indent=2) + '\\n')"
)

SMALL = """\
version: 1
catalog: {type: sql, uri: "sqlite:///catalog.db", warehouse: lake}
database: datamart
state:
  timestamp_file: last.csv
sources:
  prd:
    type: postgres
    url: postgresql://reader@db/prd
    password: "pw"
tables:
  account:
    source: prd
    from: account
    cursor: updated_at
"""


def parsed(text: str, **environment: str) -> Config:
    return parse_config(text, environment, "datamart.yaml")


def refusal(text: str, **environment: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(text, **environment)
    return caught.value


def problems(text: str, **environment: str) -> list[str]:
    """Return the lines of the message below its heading."""
    return [line.strip() for line in refusal(text, **environment).message.splitlines()[1:]]


def password(config: Config) -> str:
    secret = config.sources["prd"].password
    assert secret is not None
    return secret.get_secret_value()


# --- variables


@given(st.text(min_size=1))
@example('it\'s 100% "safe": #1\n${HOME} $${ {a: b} - [c] & * !')
@example("0123")
@example("null")
@example("true")
def test_whatever_a_variable_holds_arrives_unchanged(value: str) -> None:
    assert password(parsed(SMALL.replace('"pw"', "${PW}"), PW=value)) == value


@given(st.text(min_size=1))
def test_a_variable_inside_of_a_text_arrives_unchanged(value: str) -> None:
    assert password(parsed(SMALL.replace('"pw"', '"<${PW}>"'), PW=value)) == f"<{value}>"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${SET}", "s"),
        ("${SET:-d}", "s"),
        ("${UNSET:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("a${EMPTY}b", "ab"),
        ("a${UNSET:-}b", "ab"),
        ("${UNSET:-a:-b $c}", "a:-b $c"),
        ("$${SET}", "${SET}"),
        ("$${", "${"),
        ("$SET $$ $", "$SET $$ $"),
        ("${SET}${SET}", "ss"),
    ],
)
def test_variables_and_defaults_are_replaced_like_in_a_shell(written: str, value: str) -> None:
    assert password(parsed(SMALL.replace("pw", written), SET="s", EMPTY="")) == value


@pytest.mark.parametrize("written", ["${}", "${1A}", "${A", "${A-b}", "${A:b}", "${A:-${B}}", "${A B}"])
def test_a_malformed_variable_is_a_problem_at_its_line(written: str) -> None:
    (problem,) = problems(SMALL.replace("pw", written), A="a", B="b")
    assert problem.startswith("line 10: sources.prd.password: write ${NAME} or ${NAME:-default}")


def test_every_unset_variable_is_named_and_nothing_else_is_said_of_its_setting() -> None:
    text = SMALL.replace("postgresql://reader@db/prd", "${URL}").replace("updated_at", "${CURSOR}")
    text = text.replace("source: prd", "source: ${SOURCE}")
    assert [problem.split(";")[0] for problem in problems(text)] == [
        "line 9: sources.prd.url: the environment variable URL is not set",
        "line 13: tables.account.source: the environment variable SOURCE is not set",
        "line 15: tables.account.cursor: the environment variable CURSOR is not set",
    ]


def test_a_variable_can_give_a_number_or_a_boolean() -> None:
    account = parsed(SMALL + '    partitions: ${N}\n    enabled: "${ON:-no}"\n', N="4").tables["account"]
    assert (account.partitions, account.enabled) == (4, False)


def test_names_of_settings_are_not_replaced() -> None:
    assert "tables.${T}" not in str(parsed(SMALL).tables)
    assert "'${T}' must begin with a letter" in problems(SMALL.replace("account:", '"${T}":'), T="t")[0]


# --- YAML


@pytest.mark.parametrize(
    "name", ["on", "no", "yes", "off", "y", "null_", "0123", "1_000", "12:30", "2024-01-01", "="]
)
def test_a_name_is_the_text_that_it_looks_like(name: str) -> None:
    account = parsed(
        SMALL + f"    primary_key: [{name}]\n    columns: {{{name}: {{type: string}}}}\n"
    ).tables["account"]
    assert account.primary_key == (name,)
    assert account.columns.keys() == {name}


def test_the_key_on_of_a_join_needs_no_quotes() -> None:
    text = SMALL + "  queue: {source: prd, from: queue}\nmarts:\n  m:\n    from: account\n    joins:\n"
    joins = parsed(text + "      - table: queue\n        on: [id]\n").marts["m"].joins
    assert joins[0].on == (("id", "id"),)


def test_properties_keep_the_digits_that_were_written() -> None:
    text = SMALL + "spark: {properties: {a: 1.10, b: true, c: 0100, d: 1e3, e: ~}}\n"
    assert "line 16: spark.properties.e: must be text" in problems(text)
    text = text.replace(", e: ~", "")
    assert parsed(text).spark.properties == {"a": "1.10", "b": "true", "c": "0100", "d": "1e3"}


def test_a_setting_written_twice_is_a_problem_with_both_lines() -> None:
    assert problems(SMALL + "    cursor: created_at\n") == [
        "line 15: tables.account.cursor: written twice, on lines 15 and 16"
    ]


def test_a_table_written_twice_is_a_problem_even_when_quoted_differently() -> None:
    assert "written twice, on lines 12 and 16" in problems(SMALL + '  "account": {source: prd, from: a}\n')[0]


def test_anchors_and_merge_keys_work_and_own_settings_win() -> None:
    text = SMALL.replace("  account:", "  account: &base")
    tables = parsed(
        text + "  queue: {<<: *base, from: queue}\n  risk:\n    <<: [{from: risk}, *base]\n"
    ).tables
    assert [str(each.from_) for each in tables.values()] == ["account", "queue", "risk"]
    assert tables["risk"].cursor == "updated_at"


@pytest.mark.parametrize("text", ["&a {<<: *a}", "&a [*a]", "&a {b: *a}", "{<<: [text]}"])
def test_an_alias_that_cannot_be_followed_is_a_problem(text: str) -> None:
    assert any(" marts" in problem for problem in problems(f"{SMALL}marts: {text}\n"))


def test_yaml_tags_are_a_problem() -> None:
    assert "YAML tags" in problems(SMALL.replace('"pw"', "!!python/object:os.system x"))[0]


def test_a_mapping_as_a_name_is_a_problem() -> None:
    assert "line 16" in problems(SMALL + "? [a, b]\n: c\n")[-1]


# --- problems


def test_all_problems_are_listed_by_line_under_a_count() -> None:
    text = (
        SMALL.replace("cursor:", "cursr:")
        .replace("version: 1\n", "")
        .replace("type: postgres", "type: mysql")
    )
    assert refusal(text).message == (
        "3 problems in datamart.yaml:\n"
        "  line 1: version: required, but not given\n"
        "  line 7: sources.prd.type: must be 'postgres' or 'glue', not 'mysql'\n"
        "  line 14: tables.account.cursr: unknown setting; did you mean 'cursor'?"
    )


def test_one_problem_is_counted_in_the_singular() -> None:
    error = refusal(SMALL.replace("cursor:", "cursr:"))
    assert error.message.startswith("1 problem in datamart.yaml:\n  line 15: ")
    assert "docs/configuration.md" in error.hint


def test_a_problem_in_a_list_names_the_line_of_the_entry() -> None:
    text = SMALL + "marts:\n  m:\n    from: account\n    joins:\n      - {table: queue, on: [id]}\n"
    assert problems(text) == [
        "line 20: marts.m.joins[0].table: there is no table 'queue'; known here: account"
    ]


def test_a_name_with_a_dot_is_quoted_in_the_path() -> None:
    assert problems(SMALL + '  "a.b": {source: prd, from: a}\n')[0].startswith('line 16: tables."a.b": ')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("~", "is empty"),
        ("[version, 1]", "must begin with settings"),
        ("hello", "must begin with settings"),
        ("version: 1\ndatabase: a: b\n", "line 2, column 12: mapping values are not allowed"),
        ("version: 1\n\tdatabase: a\n", "line 2, column 1"),
        ("version: [1", "line 1, column 12"),
        ("version: 1\n---\nversion: 1\n", "line 2, column 1: expected a single document"),
        ("version: 1\ndatabase: \x07", "line 2: the character U+0007 is not allowed"),
    ],
)
def test_a_text_that_is_no_configuration_is_refused_with_its_place(text: str, words: str) -> None:
    error = refusal(text)
    assert error.message.startswith("datamart.yaml ")
    assert words in error.message
    assert error.hint


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#\n\t ,?<~$1.", max_size=30))
def test_no_text_causes_another_error_than_a_refusal(text: str) -> None:
    with pytest.raises(ConfigError):
        parsed(text)


@pytest.mark.parametrize(
    "written",
    [
        "*hunter2",
        "!hunter2 x",
        "!!hunter2 x",
        "!a!hunter2 x",
        "&hunter2",
        "{hunter2",
        "[hunter2]",
        "%hunter2",
        "'hunter2",
        "${hunter2",
    ],
)
def test_no_message_shows_a_password_however_it_was_written(written: str) -> None:
    text = SMALL.replace('"pw"', written).replace("version: 1", "version: 2")
    error = refusal(text)
    assert "hunter2" not in f"{error.message}{error.hint}"
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


def test_no_message_shows_what_a_variable_holds_in_a_url_or_password() -> None:
    text = SMALL.replace("postgresql://reader@db/prd", "${URL}").replace('"pw"', "[${PW}]")
    error = refusal(text, URL="mysql://hunter2@db", PW="hunter2")
    assert "hunter2" not in error.message


# --- files


def test_a_file_is_loaded_with_the_environment_given(tmp_path: Path) -> None:
    path = tmp_path / "datamart.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("pw", "${PW}").replace("\n", "\r\n").encode())
    assert password(load_config(path, {"PW": "größe"})) == "größe"


def test_paths_are_left_as_written() -> None:
    config = parsed(SMALL)
    assert (config.catalog.uri, config.catalog.warehouse) == ("sqlite:///catalog.db", "lake")
    assert config.state.timestamp_file == "last.csv"


def test_a_missing_file_a_directory_and_another_encoding_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("version: 1\n# größe".encode("latin-1"))
    for name, words in (
        ("gone.yaml", "There is no"),
        ("", "is a directory"),
        ("latin.yaml", "line 2 holds the byte 0xf6"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            load_config(tmp_path / name, {})
        assert str(tmp_path) in caught.value.message
        assert caught.value.hint


def test_a_path_below_a_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "file" / "datamart.yaml", {})


# --- what the package ships


def test_the_shipped_configuration_works_with_an_empty_environment() -> None:
    config = parsed(default_config_text())
    assert [table.primary_key for table in config.tables.values()] == [None] * 6, "PostgreSQL names them"
    assert all(table.from_ == SourceName("public", name) for name, table in config.tables.items())
    assert [name for name, table in config.tables.items() if table.cursor != "updated_at"] == [
        "settlement_transaction"
    ]
    assert config.tables["settlement_transaction"].reconcile_every == 24
    joins = config.marts["account_settlements"].joins
    assert [join.table for join in joins] == [
        "account_metadata",
        "account_risk",
        "queue",
        "settlement_transaction",
    ]


def test_the_shipped_configuration_takes_host_and_password_from_the_environment() -> None:
    config = parsed(default_config_text(), PGHOST="db", PGPASSWORD="a'b%")
    assert config.sources["prd"].url == "postgresql://reader@db:5432/prd"
    assert password(config) == "a'b%"


def test_the_schema_file_is_current() -> None:
    current = json.loads(SCHEMA.read_text("utf-8")) == json_schema()
    assert current, f'write it again: python -c "{WRITE_SCHEMA}"'


def test_the_schema_speaks_the_names_of_the_file_and_describes_them() -> None:
    blocks = [json_schema(), *json_schema()["$defs"].values()]
    names = {name: field for block in blocks for name, field in block["properties"].items()}
    assert {"from", "reconcile"} <= names.keys()
    assert not {"from_", "reconcile_every"} & names.keys()
    assert [name for name, field in names.items() if "description" not in field] == []


def test_the_first_example_of_the_reference_works_and_its_problems_are_reported_as_shown() -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    text, shown = re.findall(r"```(?:yaml)?\n(.*?)```", reference, re.DOTALL)[:2]
    assert parsed(text).tables.keys() == {"account"}
    assert (
        refusal(text.replace("source: prd", "source: prod").replace("cursor:", "cursr:")).message
        == shown.strip()
    )


def test_the_other_examples_of_the_reference_are_valid_blocks() -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", reference, re.DOTALL)
    glue, tables, marts, checks, audits, maintain = examples[1:]
    queue = "  queue: {source: prd, from: queue}\n"
    others = queue + checks.removeprefix("tables:\n")
    config = parsed(SMALL + tables.removeprefix("tables:\n") + others + marts)
    audited = parsed(SMALL + queue + audits.removeprefix("tables:\n")).tables["payment"].audits
    assert [audit.tables for audit in audited] == [(), (), ("queue",), ("payment", "account")]
    assert parsed(SMALL.partition("sources:")[0] + glue).tables["account"].source == "crawled"
    assert len(config.tables["payment"].checks) == 6
    upkeep = parsed(SMALL.partition("tables:")[0] + maintain)
    assert upkeep.tables["account"].maintain.over(upkeep.maintain).keep == timedelta(days=30)
    assert config.tables["Order Items"].from_ == SourceName("Sales.2024", "Order Items")
    assert config.marts["orders"].joins[1].on == (("queue_id", "paid_queue"),)
