"""Event records and the destinations they are published to."""
