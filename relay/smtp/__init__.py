"""The SMTP engine, both directions, without I/O: bytes in, bytes and values out."""
