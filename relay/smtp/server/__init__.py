"""The server side of the engine. `session` is the loop.

Where to look, or to add:

    what a session is in the midst of      dialogue; who its client is: client; the door: door
    which command when                     table, state, unknown
    EHLO HELO STARTTLS QUIT                hello, extensions, dialect
    AUTH                                   login; the exchange: auth
    MAIL RCPT RSET                         mail, envelope; arguments: command, parameters
    DATA BDAT                              text; where text ends: data, chunks
    what is kept of a message              transaction, content
    XCLIENT                                xclient, xclient_attributes; PROXY: proxy_protocol
    what a line is                         lines
    what is answered                       reply
    rules and limits of a listener         policy
"""
