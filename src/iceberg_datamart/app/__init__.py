"""The real parts, put together."""
