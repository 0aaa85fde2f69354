"""The queue as commands see it: reading from the shards' files, changing through whoever owns them.

Reading needs no owner: short read-only statements see what is committed, while the relay runs and while it is
stopped. A change goes to the shard's worker; when nobody runs, the shard's lock is taken and its spool opened here.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from relay.mail.blocklists import advice, is_of_domains
from relay.model.delivery import DeliveryState
from relay.model.search import mail_of, subject_of
from relay.runtime.cli.output import iso
from relay.store.adoption import shard_paths, shards_on_disk
from relay.store.dialogues import unpacked
from relay.store.reader import QueueScan, ShardReader
from relay.store.spool import find_message

SPEAKERS = {"C": "client", "S": "server", "-": "note"}

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.model.message import Delivery
    from relay.model.queue_entry import QueueEntry
    from relay.model.scan import Scan
    from relay.runtime.cli.site import Site
    from relay.store.history import Trace


class Shard:
    """One shard of a relay. Close it, or use `open_shards`."""

    def __init__(self, site: "Site", number: int) -> None:
        self.number = number
        self.paths = shard_paths(site.data_dir, number)
        self.reader = ShardReader(self.paths.database)

    def entries(self, scan: QueueScan, after: int = 0) -> "Iterator[tuple[list[QueueEntry], int | None]]":
        """Yield what there is beyond a key, some at a time, each with where to go on, None with the last."""
        position: int | None = after
        while position is not None:
            found, position = self.reader.entries(scan, position)
            yield found, position

    def trace(self, message_id: str) -> dict[str, Any] | None:
        """Return a message with its deliveries and attempts, as the outside contract has it."""
        found = find_message(self.reader, self.paths.history, message_id)
        return trace_object(found) if found else None


@contextlib.contextmanager
def open_shards(config: Path | None, number: int | None = None) -> "Iterator[tuple[Site, list[Shard]]]":
    """Give a relay and its shards in order, or the one that is asked for, if it exists."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    shards = [Shard(site, found) for found in shard_numbers(site) if number in (None, found)]
    try:
        yield site, shards
    finally:
        for shard in shards:
            shard.reader.close()


def shard_numbers(site: "Site") -> list[int]:
    """Return the numbers of the shards on disk that have a spool."""
    found = shards_on_disk(site.data_dir)
    return [number for number in found if shard_paths(site.data_dir, number).database.is_file()]


def entry_object(entry: "QueueEntry") -> dict[str, Any]:
    """Return a delivery as `relay queue list --json` prints it."""
    return {
        "messageId": entry.message_id,
        "recipient": entry.recipient,
        "state": str(entry.state),
        "attempts": entry.attempts,
        "nextAttempt": iso(entry.next_ms) if entry.state is DeliveryState.QUEUED else None,
        "heldUntil": iso(entry.held_until_ms),
        "standingHold": entry.rule or None,
        "lastReply": entry.last_reply or None,
        "account": entry.account,
        "configurationSet": entry.options.configuration_set or None,
        "pool": entry.options.pool or None,
        "sourceAddress": entry.source or None,
        "sender": entry.sender,
        "accepted": iso(entry.accepted_ms),
        "release": iso(entry.options.release_ms) if entry.options.release_ms else None,
        "expires": iso(entry.expires_ms),
        "size": entry.size_bytes,
    }


def trace_object(found: "Trace") -> dict[str, Any]:
    """Return a message as `relay trace --json` prints it."""
    message, scan = found.message, found.scan
    said = {(key, attempt): record for key, attempt, record in found.dialogues}
    return {
        "messageId": message.message_id,
        "account": message.account,
        "sender": message.sender,
        "subject": subject_of(mail_of(message.mail_json)) or None,
        "accepted": iso(message.accepted_ms),
        "release": iso(message.options.release_ms) if message.options.release_ms else None,
        "expires": iso(message.expires_ms),
        "size": message.size_bytes,
        "scan": _scan(scan) if scan else None,
        "deliveries": [_traced(delivery, orjson.loads(attempts), said) for delivery, attempts in found.deliveries],
    }


def _scan(scan: "Scan") -> dict[str, Any]:
    return {
        "time": iso(scan.scanned_ms),
        "verdict": str(scan.verdict),
        "scanner": scan.scanner or None,
        "detail": scan.detail or None,
        "spamScore": scan.spam_score,
    }


def _traced(
    delivery: "Delivery", attempts: list[dict[str, Any]], said: dict[tuple[int, int], bytes]
) -> dict[str, Any]:
    return {
        "recipient": delivery.recipient,
        "state": str(delivery.state),
        "nextAttempt": iso(delivery.next_ms) if delivery.state is DeliveryState.QUEUED else None,
        "lastReply": delivery.last_reply or None,
        "attempts": [_attempt(one, said.get((delivery.key, one.get("attempt", 0)))) for one in attempts],
    }


def _attempt(record: dict[str, Any], said: bytes | None) -> dict[str, Any]:
    listed = record.get("blocklist")
    return {
        "time": iso(record.get("startedMs")),
        "finished": iso(record.get("finishedMs")),
        "sourceAddress": record.get("sourceAddress") or None,
        "pool": record.get("pool"),
        "remoteHost": record.get("remoteHost") or None,
        "remoteAddress": record.get("remoteAddress") or None,
        "tls": record.get("tls") or "none",
        "tlsPolicy": record.get("tlsPolicy") or None,
        "stage": record.get("stage"),
        "outcome": record.get("outcome"),
        "reply": record.get("reply"),
        "nextAttempt": iso(record.get("nextMs")),
        "rule": record.get("rule"),
        "effects": record.get("effects") or [],
        "blocklist": listed,
        "advice": advice(listed, of_domains=is_of_domains(listed)) if listed else None,
        "dialogue": _dialogue(unpacked(said)) if said else None,
    }


def _dialogue(said: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what was said in an attempt; None where the record is damaged."""
    try:
        return said and {"tries": [_try(one) for one in said["tries"]], "skipped": said["skipped"]}
    except (KeyError, TypeError):
        return None


def _try(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": one["host"],
        "address": one["address"],
        "port": one["port"],
        "outcome": one["outcome"],
        "messagesBefore": one["messages_before"],
        "tls": one["tls"],
        "lines": [
            {"ms": line["at_ms"], "from": SPEAKERS[line["who"]], "text": line["text"]} for line in one["lines"]
        ],
    }
