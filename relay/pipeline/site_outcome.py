"""What an answer becomes: the outcome of a delivery, with what was tried on the way (TRACE).

Two cases: a connection gave the answer, or none did (name lookup, routing, a dead site, a lane that is closed).
Nothing is decided here.
"""

from functools import partial
from typing import TYPE_CHECKING

from relay.model.dialogue import Dialogue, Try
from relay.model.outcome import Outcome, Stage
from relay.pipeline.site_item import Item, Target
from relay.smtp.client.answer import Answer

if TYPE_CHECKING:
    from relay.pipeline.site_session import Session


def tried(session: "Session", answer: Answer) -> Try:
    """Return what was said on a connection, up to an answer."""
    link, target, log = session.link, session.target, session.log
    facts = link.tls_facts() if link is not None else None
    text = " ".join(filter(None, (str(answer.code or ""), answer.enhanced, answer.text)))
    before = max(0, log.messages - 1)
    return Try(target.host, target.address, target.port, text, facts, log.lines(), before)


def of_session(session: "Session", item: Item, answer: Answer, now_ms: int) -> Outcome:
    """Return the outcome of an attempt that a connection made."""
    link, client, target = session.link, session.client, session.target
    return Outcome(
        answer.verdict,
        answer.stage,
        answer.code,
        answer.enhanced,
        answer.text,
        answer.local,
        target.host,
        target.address,
        link.source_address if link is not None else "",
        session.tls_version,
        item.started_ms,
        now_ms,
        reports=client is not None and client.extensions.dsn,
        tls_policy=session.tls_policy,
        # What was refused before it was sent has no part in what this connection says.
        dialogue=None if answer.stage is Stage.LOCAL else partial(_dialogue, session, item, answer),
    )


def _dialogue(session: "Session", item: Item, answer: Answer) -> Dialogue:
    tries = (*item.tries, *session.earlier, tried(session, answer))
    return Dialogue(tries, (*item.skipped, *session.skipped))


def without_session(
    item: Item, answer: Answer, target: Target | None, now_ms: int, *, nxdomain: bool = False
) -> Outcome:
    """Return the outcome of an attempt that no connection made; `target`: the last address that was tried."""
    return Outcome(
        answer.verdict,
        answer.stage,
        answer.code,
        answer.enhanced,
        answer.text[:1000],
        local=answer.local,
        remote_host=target.host if target else "",
        remote_address=target.address if target else "",
        source_address=item.source.address if item.source else "",
        started_ms=item.started_ms or now_ms,
        finished_ms=now_ms,
        nxdomain=nxdomain,
        dialogue=partial(Dialogue, item.tries, item.skipped) if item.tries or item.skipped else None,
    )
