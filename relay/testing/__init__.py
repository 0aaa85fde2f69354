"""Fakes that ship with the product: memory stores, a manual clock, an internet in a literal."""
