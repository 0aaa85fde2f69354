"""The outside network: DNS, TLS, outgoing connections."""
