"""Checks and audits, as rules and SQL."""
