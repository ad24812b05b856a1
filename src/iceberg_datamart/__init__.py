"""Incremental, exact merges of operational tables into Apache Iceberg, and joined marts kept true."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Return the version when it is asked for: reading it takes longer than to import all of the rest."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version  # noqa: PLC0415  (only then)

    return version("iceberg-datamart")
