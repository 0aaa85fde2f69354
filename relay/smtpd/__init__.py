"""The SMTP door: submission and MX listeners over real sockets."""
