"""What the tests of the spool share: messages, and a shard on a loop."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from relay.model.content import BodyFile, Content
from relay.model.delivery import DeliveryState
from relay.model.ids import new_message_id
from relay.model.message import (
    DEFAULT_OPTIONS,
    Delivery,
    Message,
    NewEvent,
    NewMessage,
    SendOptions,
    Settlement,
)
from relay.store.spool import ShardSpool, SpoolOptions
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

NOW_MS = 1_790_000_000_000
HEAD = b"Subject: hello\r\n\r\n"
_NUMBERS = itertools.count()


def new_message(
    spool: Any,
    *,
    recipients: int = 1,
    body: bytes | BodyFile = b"body\r\n",
    account: str = "000000000001",
    now_ms: int = NOW_MS,
    state: DeliveryState = DeliveryState.QUEUED,
    domain: str = "example.org",
    options: SendOptions = DEFAULT_OPTIONS,
    mail_json: bytes = b'{"messageId":"x"}',
) -> NewMessage:
    message_id = new_message_id(spool.shard, now_ms)
    size = len(body) if isinstance(body, bytes) else body.size_bytes
    message = Message(
        key=spool.next_key(),
        message_id=message_id,
        account=account,
        sender="sender@example.com",
        accepted_ms=now_ms,
        expires_ms=now_ms + 50_400_000,
        size_bytes=len(HEAD) + size,
        smtputf8=True,
        eight_bit=False,
        mail_json=mail_json,
        options=options,
    )
    deliveries = tuple(
        Delivery(
            message,
            index,
            f"r{index}@{domain}",
            state=state,
            next_ms=now_ms,
            wishes=f"NOTIFY=DELAY ORCPT=rfc822;r{index}" if index % 2 else "",
        )
        for index in range(recipients)
    )
    return NewMessage(message, Content(HEAD, body), deliveries, (event(message_id, "Send"),), recipients)


def event(message_id: str, kind: str) -> NewEvent:
    return NewEvent(f"{message_id}:{kind}:{next(_NUMBERS)}", kind, message_id, b'{"eventType":"%s"}' % kind.encode())


def verdict(delivery: Delivery, state: DeliveryState = DeliveryState.DELIVERED, **values: Any) -> Settlement:
    facts: dict[str, Any] = {
        "attempts": delivery.attempts + 1,
        "next_ms": 0,
        "last_reply": "250 2.0.0 Ok",
        "attempt": b'{"reply":"250 2.0.0 Ok"}',
        "events": (event(delivery.message.message_id, "Delivery"),),
    }
    return Settlement(delivery, state, **(facts | values))


async def written(ask: Any, *values: Any) -> Exception | None:
    """Append or settle; return the error, None when it is on disk."""
    future = asyncio.get_running_loop().create_future()
    ask(*values, future.set_result)
    answer: Exception | None = await asyncio.wait_for(future, 30)
    return answer


@asynccontextmanager
async def shard(data_dir: Path, *, options: SpoolOptions | None = None, **parts: Any) -> AsyncIterator[ShardSpool]:
    """Open, start, and at the end close a shard."""
    spool = ShardSpool.open(
        data_dir,
        parts.get("number", 1),
        parts.get("clock") or ManualClock(),
        parts.get("log") or MemoryLog(),
        options,
    )
    spool.start(asyncio.get_running_loop())
    try:
        yield spool
    finally:
        await asyncio.to_thread(spool.close)


async def until(ready: Any, seconds: float = 20) -> None:
    """Wait until a condition that another thread brings about holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not ready():
        assert asyncio.get_running_loop().time() < deadline, "it never happened"
        await asyncio.sleep(0.01)
