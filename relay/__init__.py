"""Relay: an SMTP relay and mail transfer agent that works the way Amazon SES does, on your own machines."""

__version__ = "0.1.0"
