"""What this process is doing: told while it lasts, and stopped when somebody asks."""
