"""Which deliveries share a transaction, and what the transaction is."""

from typing import TYPE_CHECKING

from relay.model.content import Content
from relay.pipeline.attempt_settings import RECIPIENTS_MAX
from relay.pipeline.site_item import Item
from relay.policy.notification import next_hop_told
from relay.smtp.client.envelope import Transaction
from relay.smtp.client.extensions import Extensions

if TYPE_CHECKING:
    from relay.pipeline.site_protocols import SessionOwner


def together(item: Item, offer: Extensions, owner: "SessionOwner") -> list[Item]:
    """Return the deliveries that share a transaction with one, within the limits of the host (RFC 9422 section 4)."""
    items = [item, *owner.more_items(item, lesser(RECIPIENTS_MAX, offer.recipients_max) - 1)]
    if not offer.recipient_domains_max or len(items) == 1:
        return items
    domains: set[str] = set()
    for index, each in enumerate(items):
        domains.add(each.job.delivery.domain)
        if len(domains) > offer.recipient_domains_max:
            owner.put_back(items[index:])
            return items[:index]
    return items


def transaction_of(items: list[Item], content: Content, owner: "SessionOwner") -> Transaction:
    """Return the transaction of deliveries of one message."""
    first = items[0]
    job, message = first.job, first.job.delivery.message
    for other in items[1:]:
        other.started_ms = first.started_ms
    deliveries = [each.job.delivery for each in items]
    sender = owner.return_path(job)
    return Transaction(
        sender,
        tuple([delivery.recipient for delivery in deliveries]),
        content,
        message.eight_bit,
        message.smtputf8,
        job,
        next_hop_told(deliveries, first.started_ms, return_path_is_ours=sender != message.sender),
        requiretls=message.options.requiretls,
    )


def lesser(ours: int, theirs: int) -> int:
    """Return the lesser of our limit and the host's, which names none with 0."""
    return min(ours, theirs) if theirs else ours
