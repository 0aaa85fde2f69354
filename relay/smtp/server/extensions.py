"""What EHLO offers, line by line (SMTP-005): alike for all sessions of a listener, so it is not made for each."""

import datetime as dt

from relay.smtp.server import xclient_attributes as xclient
from relay.smtp.server.parameters import DELIVERBY, DSN, FUTURERELEASE, REQUIRETLS, SMTPUTF8
from relay.smtp.server.policy import ListenerKind, SessionPolicy, TlsMode


def parameters_offered(policy: SessionPolicy) -> frozenset[str]:
    """Return the extensions whose parameters MAIL and RCPT may have. What delays mail is for our own senders only."""
    sending = policy.kind is ListenerKind.SUBMISSION
    return frozenset(
        name
        for name, offered in (
            (SMTPUTF8, policy.smtputf8),
            (DSN, policy.dsn),
            (FUTURERELEASE, sending and policy.hold_seconds_max > 0),
            (DELIVERBY, sending and policy.deliver_by),
        )
        if offered
    )


def keywords(policy: SessionPolicy, *, encrypted: bool, named: bool = False, now_ms: int = 0) -> tuple[str, ...]:
    """Return the extension lines of the EHLO answer for a session in the clear or inside TLS.

    `named`: the client may say who is behind it (XCLIENT). `now_ms` is for the latest time that mail may be held to.
    """
    offered = parameters_offered(policy)
    lines = (
        ("8BITMIME", True),
        (f"SIZE {policy.message_size_max}", True),
        ("PIPELINING", True),
        ("CHUNKING", policy.chunking),  # RFC 3030; BINARYMIME is not offered
        (SMTPUTF8, SMTPUTF8 in offered),  # RFC 6531, decision 12
        (DSN, DSN in offered),  # RFC 3461
        ("ENHANCEDSTATUSCODES", policy.enhanced_codes),  # RFC 2034, decision 1
        (
            f"{FUTURERELEASE} {policy.hold_seconds_max} {_latest(policy, now_ms)}",
            FUTURERELEASE in offered,
        ),  # RFC 4865
        (DELIVERBY, DELIVERBY in offered),  # RFC 2852
        (_limits(policy), policy.limits),  # RFC 9422
        (xclient.offer(login=policy.xclient_login), named),
        (REQUIRETLS, encrypted),  # RFC 8689 section 2: inside TLS only
        ("STARTTLS", policy.tls is TlsMode.STARTTLS and not encrypted),  # RFC 3207: never inside TLS
        ("AUTH PLAIN LOGIN", auth_offered(policy, encrypted=encrypted)),  # RFC 4954, inside TLS only
    )
    return tuple(line for line, is_offered in lines if is_offered)


def _latest(policy: SessionPolicy, now_ms: int) -> str:
    latest = dt.datetime.fromtimestamp(now_ms / 1000 + policy.hold_seconds_max, tz=dt.UTC)
    return latest.strftime("%Y-%m-%dT%H:%M:%SZ")


def _limits(policy: SessionPolicy) -> str:
    """Return the limits that hold now; a session without a limit of messages names none."""
    messages = f" MAILMAX={policy.messages_max}" if policy.messages_max else ""
    return f"LIMITS{messages} RCPTMAX={policy.recipients_max}"


def auth_offered(policy: SessionPolicy, *, encrypted: bool) -> bool:
    """Say whether a session may authenticate now."""
    return encrypted or (policy.tls is TlsMode.NONE and policy.auth_in_clear)


def ehlo_answer(policy: SessionPolicy, *, encrypted: bool, named: bool = False, now_ms: int = 0) -> bytes:
    """Return the whole answer to EHLO; its last line is exactly `250 Ok`, which clients of the guide look for."""
    offer = keywords(policy, encrypted=encrypted, named=named, now_ms=now_ms)
    lines = "".join(f"250-{line}\r\n" for line in (policy.hostname, *offer))
    return f"{lines}250 Ok\r\n".encode("ascii")


def greeting(policy: SessionPolicy, session_id: str) -> bytes:
    """Return the first line of a session (SMTP-004)."""
    return f"220 {policy.hostname} ESMTP Relay-{policy.instance} {session_id}\r\n".encode("ascii")
