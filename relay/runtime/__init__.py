"""Processes, configuration, wiring and the command line. Knows everything; nothing imports it."""
