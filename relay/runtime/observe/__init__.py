"""What an operator sees: structured logs, metrics and their pages."""
