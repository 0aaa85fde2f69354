"""The client side of the engine. `session` keeps the order of things.

Where to look, or to add:

    states, and what is awaited in each    steps, exchange
    greeting, EHLO, TLS, AUTH              setup, auth; what the host offers: extensions
    MAIL RCPT DATA                         transactions, envelope; the message itself: data, body
    what a reply is, and what it means     reply, answer
    what was said                          transcript
    what is configured                     options
"""
