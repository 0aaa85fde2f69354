"""Messages as bytes: addresses, headers, shaping, return paths and reports. Pure: no clock, no I/O."""
