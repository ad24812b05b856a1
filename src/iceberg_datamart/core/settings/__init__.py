"""The settings: their model, and what is checked between them."""
