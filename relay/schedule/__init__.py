"""What happens when and where to: retries, throttles, routes. Pure: time and randomness are arguments."""
