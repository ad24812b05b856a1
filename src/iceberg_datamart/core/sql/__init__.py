"""The SQL of the rules: changesets, key bounds and MERGE, in the dialect of the engine that runs it."""
