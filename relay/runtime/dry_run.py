"""A message made exactly as the relay would make it, and neither kept nor sent.

The acceptance of a worker runs over a spool that keeps what it is given in memory and permits that let all pass.
"""

from collections.abc import Callable
from typing import cast

from relay.errors import UsageError
from relay.mail.scan import head_end, scan_body
from relay.model.account import Account
from relay.model.content import Content
from relay.model.message import NewMessage, Protocol, Submission
from relay.model.refusal import Accepted, Refusal
from relay.pipeline.accept import Accept
from relay.ports import Directory, Lease, Log, Metrics, Permits, Spool
from relay.runtime import settings
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.schedule.bandwidth import LargeMail

SIZE_MAX_BYTES = 256 * 1024  # a larger body needs the helper process of a worker


class _Kept:
    """As much of a spool and of permits as one acceptance asks for."""

    shard = 1

    def __init__(self) -> None:
        self.new: NewMessage | None = None

    def next_key(self) -> int:
        return 1

    def append(self, new: NewMessage, done: Callable[[Exception | None], None]) -> None:
        self.new = new
        done(None)

    def keep_scan(self, *_: object) -> None:
        return

    def take(self, account: Account, recipients: int, done: Callable[[Lease], None], *, counted: int) -> None:
        del recipients
        done(Lease(0, account.account_id, counted))

    def spent(self, *_: object) -> None:
        return


class _Silent:
    """Logs and counts nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_named: None


def made(  # noqa: PLR0917 - who, what, to whom, and by what
    config: Config, master: bytes, directory: Directory, account: str, sender: str, recipient: str, message: bytes
) -> NewMessage:
    """Return a message as it would be committed. Raise UsageError with the refusal's text."""
    end = head_end(message)
    if end < 0 or len(message) > SIZE_MAX_BYTES:
        raise UsageError(f"The message needs a head and at most {SIZE_MAX_BYTES // 1024} KiB.")
    head, body = message[:end], message[end:]
    kept, silent = _Kept(), _Silent()
    answers: list[Accepted | Refusal] = []
    accept = Accept(
        rules=settings.accept_rules(config, master),
        directory=directory,
        permits=cast("Permits", kept),
        spool=cast("Spool", kept),
        accepted=lambda _new: None,
        reencode=lambda *_args: None,
        examine=lambda *_args: None,
        large_mail=LargeMail(),
        call_later=lambda _seconds, call: call(),
        clock=SteadyClock(),
        log=cast("Log", silent),
        metrics=cast("Metrics", silent),
    )
    accept.submit(
        Submission(
            account, "", sender, (recipient,), Content(head, body), scan_body(body), Protocol.LOCAL,
            smtputf8=False, source_address="127.0.0.1", helo="localhost",
        ),
        answers.append,
    )  # fmt: skip
    if answers and isinstance(answers[0], Refusal):
        raise UsageError(f"The relay would refuse it: {answers[0].text}")
    assert kept.new is not None
    return kept.new
