"""Keys, DKIM signatures and secrets. Pure: no clock, no files."""
