"""What became of a run, as outcomes, exit codes and JSON."""
