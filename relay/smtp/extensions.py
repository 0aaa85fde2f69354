"""What EHLO offers, line by line (SMTP-005): fixed for a listener, so it is rendered once and not per session."""

from relay.smtp.server_policy import SessionPolicy, TlsMode


def keywords(policy: SessionPolicy, *, encrypted: bool) -> tuple[str, ...]:
    """Return the extension lines of the EHLO answer for a session in the clear or inside TLS."""
    lines = ["8BITMIME", f"SIZE {policy.message_size_max}", "PIPELINING"]
    if policy.smtputf8:
        lines.append("SMTPUTF8")  # RFC 6531, decision 12
    if policy.enhanced_codes:
        lines.append("ENHANCEDSTATUSCODES")  # RFC 2034, decision 1
    if policy.tls is TlsMode.STARTTLS and not encrypted:
        lines.append("STARTTLS")  # RFC 3207: never inside TLS
    if auth_offered(policy, encrypted=encrypted):
        lines.append("AUTH PLAIN LOGIN")  # RFC 4954, inside TLS only
    return tuple(lines)


def auth_offered(policy: SessionPolicy, *, encrypted: bool) -> bool:
    """Say whether a session may authenticate now."""
    return encrypted or (policy.tls is TlsMode.NONE and policy.auth_in_clear)


def ehlo_answer(policy: SessionPolicy, *, encrypted: bool) -> bytes:
    """Return the whole answer to EHLO; its last line is exactly `250 Ok`, which clients of the guide look for."""
    lines = "".join(f"250-{line}\r\n" for line in (policy.hostname, *keywords(policy, encrypted=encrypted)))
    return f"{lines}250 Ok\r\n".encode("ascii")


def greeting(policy: SessionPolicy, session_id: str) -> bytes:
    """Return the first line of a session (SMTP-004)."""
    return f"220 {policy.hostname} ESMTP Relay-{policy.instance} {session_id}\r\n".encode("ascii")
