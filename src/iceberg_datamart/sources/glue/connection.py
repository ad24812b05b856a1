"""A Glue connection to PostgreSQL as the settings of a `postgres` source.

Properties: https://docs.aws.amazon.com/glue/latest/webapi/API_Connection.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from pydantic import SecretStr

from iceberg_datamart.core.settings.address import address_problem
from iceberg_datamart.core.settings.model import PostgresSource, SourceName
from iceberg_datamart.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_POSTGRES = "jdbc:postgresql://"
_PARAMETERS = {"sslmode", "sslrootcert"}
# What libpq and JDBC do without a word about it: TLS where the server offers it.
_WITHOUT_TLS = {"disable", "allow", "prefer"}
_OWN_SOURCE = "Or name the database in a source of type postgres."


def postgres_source(name: str, connection: str, properties: Mapping[str, str]) -> PostgresSource:
    """Return the settings that a Glue connection of source `name` stands for. Raises: SourceError."""
    what = f"source '{name}': the Glue connection '{connection}'"
    user, password = properties.get("USERNAME"), properties.get("PASSWORD")
    secret = properties.get("SECRET_ID")
    if not secret and not (user and password):
        encrypted = "ENCRYPTED_PASSWORD" in properties
        kept = "has an encrypted password that Glue does not give" if encrypted else "holds no login"
        hint = "Let it take its login from Secrets Manager (SECRET_ID)"
        hint += ", or allow the job's role kms:Decrypt on the key." if encrypted else "."
        raise SourceError(f"{what} {kept}", hint=hint)
    return PostgresSource(
        type="postgres",
        url=_url(what, properties),
        user=None if secret else user,
        password=None if secret or password is None else SecretStr(password),
        secret=secret or None,
    )


def crawled_table(what: str, location: str, database: str) -> SourceName:
    """Return the table at the `location` that a crawler wrote down: `database.schema.table`.

    Names may have dots themselves; the one of the database is known. Raises: SourceError.
    """
    schema, _, table = location.removeprefix(f"{database}.").partition(".")
    if not location.startswith(f"{database}.") or not schema or not table:
        message = f"{what} is at '{location}', which is no table of the connection's database '{database}'"
        raise SourceError(message, hint="Run its crawler again with a connection to the table's database.")
    return SourceName(schema, table)


def database_of(source: PostgresSource) -> str:
    """Return the database that a source made by `postgres_source` reads."""
    return unquote(urlsplit(source.url).path.removeprefix("/"))


def _url(what: str, properties: Mapping[str, str]) -> str:
    """Return libpq's URL for JDBC's. Raises: SourceError for what does not mean the same to both."""
    address = properties.get("JDBC_CONNECTION_URL", "")
    if not address.startswith(_POSTGRES):
        raise SourceError(
            f"{what} is to '{':'.join(address.split(':')[:2])}', not to PostgreSQL",
            hint=f"Its JDBC_CONNECTION_URL must begin with {_POSTGRES}.",
        )
    if properties.get("CUSTOM_JDBC_CERT"):
        hint = f"Take it out, and demand TLS by sslmode in the connection's url. {_OWN_SOURCE}"
        raise SourceError(f"{what} has a root certificate on S3, which is not fetched", hint=hint)
    place = urlsplit(address.removeprefix("jdbc:"))
    parameters = {key: values[-1] for key, values in parse_qs(place.query).items()}
    unknown = sorted(set(parameters) - _PARAMETERS)
    if unknown:
        hint = f"It may have {' and '.join(sorted(_PARAMETERS))}. {_OWN_SOURCE}"
        raise SourceError(f"{what} has the url parameters {', '.join(unknown)}", hint=hint)
    enforced = properties.get("JDBC_ENFORCE_SSL", "false").strip().lower() == "true"
    if enforced and parameters.get("sslmode", "prefer") in _WITHOUT_TLS:
        parameters["sslmode"] = "require"
    database = unquote(place.path.removeprefix("/"))
    if not place.hostname or not database:
        message = f"{what} names no host or no database"
        raise SourceError(message, hint=f"Its url must read {_POSTGRES}host:5432/database.")
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    url = f"postgresql://{place.netloc.rpartition('@')[2]}/{quote(database, safe='')}{query}"
    if (problem := address_problem(url)) is not None:
        message = f"the url of {what} {problem}"
        raise SourceError(message, hint=f"Its url must read {_POSTGRES}host:5432/database.")
    return url
