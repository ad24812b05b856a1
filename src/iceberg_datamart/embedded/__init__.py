"""The parts that a laptop lacks and production has: a PostgreSQL server and a Java runtime."""
