"""The kinds of source, one module each behind `ports.Source`."""
