"""Rule R17: what libpq takes from the environment holds for JDBC, too, or is refused by its variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from iceberg_datamart.core.settings.model import PostgresSource
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.sources.postgres.address import parameters_of
from iceberg_datamart.sources.postgres.jdbc import credentials_of, jdbc_url

if TYPE_CHECKING:
    from pathlib import Path

URL = "postgresql://db/prd"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def source(url: str = URL, **settings: Any) -> PostgresSource:
    return PostgresSource.model_validate({"type": "postgres", "url": url, **settings})


def jdbc(url: str = URL) -> tuple[str, str, dict[str, str]]:
    """Return place, database and parameters of the JDBC URL."""
    found = urlsplit(jdbc_url(source(url)).removeprefix("jdbc:"))
    return found.netloc, found.path, {name: values[0] for name, values in parse_qs(found.query).items()}


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("PGSSLMODE", "verify-full", "sslmode", "verify-full"),
        ("PGSSLMODE", "disable", "sslmode", "disable"),
        ("PGREQUIRESSL", "1", "sslmode", "require"),
        ("PGSSLROOTCERT", "/etc/root.pem", "sslrootcert", "/etc/root.pem"),
        ("PGSSLCERT", "/etc/client.pem", "sslcert", "/etc/client.pem"),
        ("PGSSLKEY", "/etc/client.key", "sslkey", "/etc/client.key"),
        ("PGGSSENCMODE", "require", "gssEncMode", "require"),
    ],
)
def test_r17_what_the_environment_demands_is_demanded_of_jdbc(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert jdbc()[2][name] == expected


def test_r17_the_url_goes_before_the_environment_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGPORT", "6000")
    monkeypatch.setenv("PGHOST", "elsewhere")
    place, _, parameters = jdbc("postgresql://db:5433/prd?sslmode=require")
    assert (place, parameters["sslmode"]) == ("db:5433", "require")


def test_r17_place_and_login_that_the_url_leaves_out_are_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "HOST": "db",
        "PORT": "6000",
        "DATABASE": "prd",
        "USER": "r",
        "PASSWORD": "pw",
    }.items():
        monkeypatch.setenv(f"PG{name}", value)
    assert jdbc("postgresql://")[:2] == ("db:6000", "/prd")
    assert credentials_of(source("postgresql://")) == {"user": "r", "password": "pw"}
    own = source("postgresql://", user="own", password="secret")
    assert credentials_of(own) == {"user": "own", "password": "secret"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGHOSTADDR", "10.0.0.1"),
        ("PGSERVICE", "prd"),
        ("PGTARGETSESSIONATTRS", "read-write"),
        ("PGLOADBALANCEHOSTS", "random"),
        ("PGCHANNELBINDING", "require"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGSSLCRL", "/etc/crl.pem"),
        ("PGSSLCRLDIR", "/etc/crl"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ("PGSSLCERTMODE", "require"),
        ("PGREQUIREPEER", "postgres"),
        ("PGKRBSRVNAME", "other"),
        ("PGSSLROOTCERT", "system"),
    ],
)
def test_r17_what_jdbc_cannot_follow_is_refused_by_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=variable):
        jdbc_url(source())


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("PGHOST", "a,b", r"several hosts \(PGHOST\)"),
        ("PGPORT", "5432,5433", r"several hosts \(PGPORT\)"),
        ("PGHOST", "/run/postgresql", r"a Unix socket \(PGHOST\)"),
        ("PGHOST", "", "no host"),
    ],
)
def test_r17_a_place_that_jdbc_cannot_reach_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, what: str
) -> None:
    monkeypatch.setenv("PGHOST", "db")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=what):
        jdbc_url(source("postgresql:///prd"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGTARGETSESSIONATTRS", "any"),
        ("PGCHANNELBINDING", "prefer"),
        ("PGOPTIONS", "-c datestyle=German"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGAPPNAME", "somebody"),
        ("PGCONNECT_TIMEOUT", "1"),
        ("PGPASSFILE", "/etc/passwords"),
    ],
)
def test_r17_what_is_the_default_or_has_no_say_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    before = parameters_of(source())
    monkeypatch.setenv(variable, value)
    assert parameters_of(source()) == before


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_r17_the_root_certificate_in_libpqs_home_is_named_to_jdbc(tmp_path: Path, sslmode: str) -> None:
    root = tmp_path / ".postgresql" / "root.crt"
    url = f"{URL}?sslmode={sslmode}"
    assert jdbc(url)[2].get("sslrootcert") == (None if sslmode == "require" else str(root))
    root.parent.mkdir()
    root.touch()
    found = jdbc(url)[2]
    assert found["sslrootcert"] == str(root)
    assert found["sslmode"] == ("verify-ca" if sslmode == "require" else sslmode)
    root.with_suffix(".crl").touch()
    with pytest.raises(ConfigError, match=r"root\.crl"):
        jdbc(f"{url}&sslrootcert=/etc/root.pem")
