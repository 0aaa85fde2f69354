"""The verbs of the product: accept, attempt, report, receive. Uses ports only."""
