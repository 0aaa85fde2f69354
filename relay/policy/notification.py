"""What a sender is told of a delivery, by us or by the next hop (RFC 3461, RFC 2852): the only home of it.

Nothing here knows of senders without an address and of too many reports: whoever writes them does.
"""

from collections.abc import Sequence

from relay.mail.feedback import Cause
from relay.model.message import Delivery
from relay.model.notification import Notice, notify_words, passed_on, wants
from relay.model.outcome import Outcome
from relay.smtp.client.envelope import Parameters


def next_hop_told(deliveries: Sequence[Delivery], now_ms: int, *, return_path_is_ours: bool) -> Parameters | None:
    """Return what a host hears of the wishes for deliveries of one message, None: nothing was asked for."""
    options = deliveries[0].message.options
    if not (options.ret or options.envelope_id or options.deliver_by_mode or any(one.wishes for one in deliveries)):
        return None
    asked = tuple(passed_on(one.wishes, return_path_is_ours=return_path_is_ours) for one in deliveries)
    given = (("RET", options.ret), ("ENVID", options.envelope_id))
    return Parameters(
        " ".join(f"{name}={value}" for name, value in given if value),
        asked,
        (options.deliver_by_ms - now_ms) // 1000,
        options.deliver_by_mode,
    )


def failure_told(delivery: Delivery) -> bool:
    """Say whether the sender is told that a delivery failed."""
    return not delivery.wishes or wants(delivery.wishes, Notice.FAILURE)


def success_told(delivery: Delivery, outcome: Outcome) -> Cause | None:
    """Return what the sender is told of a delivery that a host has taken, None: nothing.

    A host that offers DSN was told what is wanted and reports itself (RFC 3461 section 5.2.1); of one that does not,
    nothing more will be heard (section 5.2.2). A trace asks for a report of each hop (RFC 2852 section 4).
    """
    if wants(delivery.wishes, Notice.SUCCESS) and not outcome.reports:
        return Cause.RELAYED
    traced = "T" in delivery.message.options.deliver_by_mode
    return Cause.RELAYED if traced and "NEVER" not in notify_words(delivery.wishes) else None


def delay_due_ms(delivery: Delivery, after_ms: int) -> int:
    """Return from when on the sender is told that a delivery is late, 0: never, or it was told.

    `after_ms` is how long mail may take before that is a delay; it counts from when the message may leave.
    """
    options, words = delivery.message.options, notify_words(delivery.wishes)
    if delivery.delay_told:
        return 0
    limit_ms = options.deliver_by_ms if options.deliver_by_mode[:1] == "N" else 0
    if not words:
        return limit_ms
    if Notice.DELAY not in words:
        return 0
    late_ms = (options.release_ms or delivery.message.accepted_ms) + after_ms
    return min(limit_ms, late_ms) if limit_ms else late_ms


def report_forwarded(delivery: Delivery, kind: str) -> bool:
    """Say whether a report of another host goes on to the sender; `kind` is that of `relay.mail.classify`.

    To a return path of ours every report comes, whatever the sender asked for (`passed_on`).
    """
    wanted = {"delay": Notice.DELAY, "success": Notice.SUCCESS}.get(kind)
    return wanted is None or wanted in notify_words(delivery.wishes)
