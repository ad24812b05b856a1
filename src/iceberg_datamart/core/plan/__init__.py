"""What a run will do, decided from facts alone."""
