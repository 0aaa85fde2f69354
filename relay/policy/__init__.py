"""Who may send what, and how much: decisions over values. Pure: no clock, no storage."""
