"""Whether a message is bulk: it waits behind transactional mail of its own account (`relay.schedule.fair`). Pure.

A configuration set says so, or leaves it to the message. Then it is bulk when it says so itself, by what lists put
into their mail (List-Unsubscribe and List-Id, RFC 2369 and 2919; `Precedence: bulk`, `list` or `junk`), or when it
has more recipients than a message to somebody has. All other mail is transactional.
"""

from collections.abc import Iterable
from typing import Final

from relay.mail.headers import Field
from relay.model.configuration_set import Priority

RECIPIENTS_MAX: Final = 10
_TELLING: Final = frozenset({b"list-unsubscribe", b"list-id", b"precedence"})
_BULK_PRECEDENCE: Final = frozenset({b"bulk", b"list", b"junk"})


def is_bulk(priority: Priority, fields: Iterable[Field], recipients: int) -> bool:
    """Say whether a message is bulk, by its configuration set, its header fields, and how many it is for."""
    if priority is not Priority.AUTO:
        return priority is Priority.BULK
    if recipients > RECIPIENTS_MAX:
        return True
    for field in fields:
        if field.key in _TELLING and (field.key != b"precedence" or field.value.lower() in _BULK_PRECEDENCE):
            return True
    return False
