"""The engine without a JVM: DuckDB computes, PyArrow writes files, PyIceberg commits them."""
