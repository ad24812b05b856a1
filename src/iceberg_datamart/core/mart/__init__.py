"""A mart as a join tree: its names, its definition, what a change touches."""
