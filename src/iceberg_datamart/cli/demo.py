"""`demo`: a PostgreSQL, six tables, two runs and the proof, in one folder."""


def demo() -> None:
    """Placeholder until the end of this hour."""
