"""The settings of sources: one block for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, WrapValidator

from iceberg_datamart.core.settings.address import address_problem
from iceberg_datamart.core.settings.rules import Problem, Settings, Text, mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _postgres_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        msg = "must start with postgresql:// or postgres://"
        raise ValueError(msg)
    if (problem := address_problem(url)) is not None:
        raise ValueError(problem)
    return url


LockWait = Annotated[
    float,
    Field(
        gt=0,
        le=86_400,
        description="Longest wait for a table that another session has locked; it then fails with exit code "
        "75, and the source's other tables are read.",
    ),
]


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
    secret: Annotated[str | None, BeforeValidator(_none_if_empty)] = Field(
        default=None,
        description="Name or ARN of a secret in AWS Secrets Manager that holds the password, instead of "
        "`password`. Empty means not set.",
    )
    lock_wait_seconds: LockWait = 300

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return a problem where the password is given twice."""
        if plain.get("password") and plain.get("secret"):
            yield Problem(("secret",), "set either 'password' or 'secret', not both")


class GlueSource(Settings):
    """A database of the Glue Data Catalog, whose tables are read where they are."""

    type: Literal["glue"] = Field(description="Kind of source.")
    database: Text = Field(
        description="Database of the Glue Data Catalog; a table's `from` is a table's name in it."
    )
    lock_wait_seconds: LockWait = 300


class AnySource(Settings):
    """What all kinds of source have; says which kinds there are."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["postgres", "glue"] = Field(description="Kind of source.")


_KINDS: Mapping[str, type[Settings]] = {"postgres": PostgresSource, "glue": GlueSource}


def _source(value: Any, _: object) -> Any:
    """Return the settings of a source, by its kind, so that no problem is told of another kind."""
    if isinstance(value, Settings):
        return value
    kind = mapping(value).get("type")
    return _KINDS.get(str(kind), AnySource).model_validate(value)


SourceConfig: TypeAlias = PostgresSource | GlueSource
SourceOfAKind = Annotated[SourceConfig, Field(discriminator="type"), WrapValidator(_source)]
