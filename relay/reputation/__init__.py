"""What the world thinks of us, decided from values: block lists, and our own names and records. Pure."""
