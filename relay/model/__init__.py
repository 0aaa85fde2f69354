"""Values and state tables that every part speaks in. Imports nothing of ours."""
