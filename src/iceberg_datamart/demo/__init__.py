"""A settlement system in miniature: six tables, their rows, and what changes in them while it runs."""
