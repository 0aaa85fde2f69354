"""Every pluggable interface, with its contract in prose. Each port has a shipped fake and a contract test.

Two styles are used on purpose. What is asked for once a message answers through a callback, because a task or
a future for each message costs more than the work itself. What is asked for rarely is a coroutine.
Callbacks are always called on the event loop's thread, exactly once, and never from inside the call that took
them unless the port says so.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from relay.model.account import Account, CoveringIdentity, Identity, PolicyTexts, Principal, SuppressionEntry
from relay.model.configuration_set import ConfigurationSet
from relay.model.content import Content
from relay.model.dialogue import TlsFacts
from relay.model.message import Delivery, Message, NewEvent, NewMessage, Settlement, Submission
from relay.model.outcome import Outcome
from relay.model.pool import PoolSnapshot
from relay.model.refusal import Accepted, Refusal
from relay.model.scan import Scan
from relay.model.tls import StsPolicy, TlsaFound
from relay.model.verification import VerificationLink


class Clock(Protocol):
    """The only source of time. Durations are measured with `monotonic`, never with `now_ms`."""

    def now_ms(self) -> int:
        """Return wall-clock time in milliseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""
        ...


class Log(Protocol):
    """Structured log: an event in plain words, and fields. Values are escaped by the adapter, one line each."""

    def debug(self, event: str, **fields: object) -> None:
        """Tell a developer."""
        ...

    def info(self, event: str, **fields: object) -> None:
        """Tell an operator what happened."""
        ...

    def warning(self, event: str, **fields: object) -> None:
        """Tell an operator what may need a look."""
        ...

    def error(self, event: str, **fields: object) -> None:
        """Tell an operator what needs a hand."""
        ...


class Metrics(Protocol):
    """Counters and histograms declared in one table; an unknown name is a KeyError in tests."""

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        ...

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge of this process; gauges of all processes are added up."""
        ...


# --- the spool -------------------------------------------------------------------------------------------------

Done = Callable[[Exception | None], None]


class Spool(Protocol):
    """One shard of the durable queue, owned by this process for its life.

    `append` and `settle` call back after their transaction was synced to disk (None), or with a StorageError when
    nothing of it was kept. Keys are given out by `next_key` in memory and never repeat, across restarts too.
    """

    shard: int

    def next_key(self) -> int:
        """Return the key for the next message."""
        ...

    def append(self, message: NewMessage, done: Done) -> None:
        """Write a message with its deliveries, events and usage, all or nothing."""
        ...

    def settle(self, settlement: Settlement, done: Done) -> None:
        """Write the verdict on one delivery with all its effects, all or nothing."""
        ...

    def settle_all(self, settlements: Sequence[Settlement], done: Done) -> None:
        """Write the verdicts on several deliveries in one transaction, all or nothing."""
        ...

    def deliveries_of(self, message: Message) -> Sequence[Delivery]:
        """Return the deliveries of a message of this shard as they are on disk, those that ended too."""
        ...

    def scan(self, message_key: int) -> Scan | None:
        """Return what scanners said of a message, None when none was asked."""
        ...

    def keep_scan(self, message_key: int, scan: Scan) -> None:
        """Write what scanners said of a message; when that fails nobody is told, and it is scanned again."""
        ...

    def strands(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Return up to `limit` strands beyond one in which something is queued, each with its first `next_ms`.

        A delivery waits in the strand of its flow (`relay.schedule.fair`), as a first attempt or as a retry. The cost
        of a strand does not depend on how much waits in it.
        """
        ...

    def set_strand(self, keys: Sequence[int], strand: int) -> None:
        """Let queued deliveries wait in another strand, soon; when that fails they stay where they are."""
        ...

    def waiting(self, strand: int, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[tuple[int, int]]:
        """Return (next_ms, key) of what is queued in a strand and due, beyond `after`, in order."""
        ...

    def queued(self, keys: Sequence[int]) -> list[Delivery]:
        """Return those of some deliveries that are queued and whole, in the given order."""
        ...

    def due(self, now_ms: int, limit: int, after: tuple[int, int] = (0, 0)) -> list[Delivery]:
        """Return queued deliveries with `next_ms <= now_ms`, ordered by (next_ms, key), beyond `after`.

        Reads the whole index: for those who look at a queue, not for those who work it off.
        """
        ...

    def next_due_ms(self) -> int | None:
        """Return the earliest `next_ms` of the queued deliveries (of 1,000 strands), None when there are none."""
        ...

    def content(self, message_key: int) -> Content:
        """Return the message as accepted. Raise CorruptionError when it is missing or fails its checksum."""
        ...

    def in_flight(self, slot: int, delivery_key: int) -> None:
        """Note, cheaply and crash-safe, that connection `slot` works on a delivery (0: on none)."""
        ...

    def room_bytes(self) -> int:
        """Return how much may still be written before `limits.disk_free_min` is reached; 0 or less: refuse mail."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A message of this shard with its deliveries, still queued or long finished."""

    message: Message
    deliveries: Sequence[Delivery]


Recorded = Callable[[bool, Exception | None], None]
"""Called with whether it was written (False: known before, or an error), and the error."""


class Inbox(Protocol):
    """What came back for messages of any shard, until its owner took it over; and this shard's own records."""

    def keep(self, item_id: str, shard: int, payload: bytes, done: Done) -> None:
        """Write an item for a shard; the same id again changes nothing."""
        ...

    def waiting(self, limit: int) -> Sequence[tuple[str, int, bytes]]:
        """Return items (id, shard, payload) that were not taken over yet, oldest first."""
        ...

    def forget(self, item_id: str, done: Done) -> None:
        """Drop an item that its owner has taken over."""
        ...

    def find(self, message_id_prefix: str) -> Record | None:
        """Return the message of this shard whose id starts so, from queue or history."""
        ...

    def record(
        self, dedupe_key: str, events: Sequence[NewEvent], messages: Sequence[NewMessage], done: Recorded
    ) -> None:
        """Write events and messages in one transaction; nothing when `dedupe_key` was recorded before."""
        ...


# --- the catalog -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One DKIM key ready to sign: `algorithm` is rsa-sha256 or ed25519-sha256; `sign` takes the data to be signed."""

    domain: str
    selector: str
    algorithm: str
    sign: Callable[[bytes], bytes]


class Directory(Protocol):
    """The read side of the catalog, from bounded caches.

    `refresh` compares versions with the files on disk (a few microseconds) and drops what changed; call it once
    before the checks of a request. All other calls are synchronous and answer from what the last refresh saw.
    """

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        ...

    def account(self, account_id: str) -> Account | None:
        """Return the account, None when there is none."""
        ...

    def principal(self, username: str) -> Principal | None:
        """Return who a user name belongs to while the credential is active and its account is not closed."""
        ...

    def configuration_set(self, account_id: str, name: str) -> ConfigurationSet | None:
        """Return a configuration set of an account, None when there is none of this name."""
        ...

    def pools(self) -> PoolSnapshot:
        """Return all source addresses and pools, the same object until one of them changes."""
        ...

    def user_policies(self, account_id: str, user: str) -> PolicyTexts:
        """Return the policies of a user; empty when it has none."""
        ...

    def covering(self, account_id: str, address: str) -> Sequence[CoveringIdentity]:
        """Return all identities of an account that cover an address, most specific first; none when it is closed.

        Identities that are not verified are among them: what their owner denies stays denied. Only the first that has
        policies comes with them.
        """
        ...

    def sending_identity(self, account_id: str, address: str) -> Identity | None:
        """Return the most specific verified identity that covers `address` (IDENT-002, 004 to 006), or None."""
        ...

    def is_mail_from_domain(self, domain: str) -> bool:
        """Return whether a lower-case domain is the MAIL FROM domain of any account (MFROM-011)."""
        ...

    def signing_keys(self, account_id: str, domain: str) -> Sequence[SigningKey]:
        """Return the active keys of a domain identity, RSA first; empty when it has none."""
        ...

    def suppressed(self, account_id: str, address: str) -> SuppressionEntry | None:
        """Return the account's suppression entry for an address, compared without case (SUPP-018)."""
        ...


class Authenticator(Protocol):
    """Checks SMTP user names and passwords in constant time (CRED-005, CRED-008)."""

    def check(self, username: str, password: str) -> str | Refusal:
        """Return the account id, or the refusal; unknown users cost the same time as known ones."""
        ...


# --- permits ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to accept a request of an account, once. Give it back or report it spent.

    `recipients` are those that count against the daily quota.
    """

    lease_id: int
    account: str
    recipients: int


@dataclass(frozen=True, slots=True)
class AuthGate:
    """Whether an address may try to authenticate now: refuse it, or answer after `delay_seconds`."""

    refused: bool
    delay_seconds: float


class Permits(Protocol):
    """What workers share: rates, quotas, authentication failures. Exact for quotas, never over."""

    def take(
        self, account: Account, recipients: int, done: Callable[[Lease | Refusal], None], *, counted: int
    ) -> None:
        """Ask for a lease. Answers RATE_EXCEEDED, QUOTA_EXCEEDED, or TEMPORARY while permits is away.

        All `recipients` count against the rate, `counted` of them against the daily quota (QUOTA-003).
        An account without limits is granted at once, from inside the call.
        """
        ...

    def spent(self, lease: Lease, minute: int) -> None:
        """Report that the lease's recipients were committed in `minute` (minutes since 1970)."""
        ...

    def unused(self, lease: Lease) -> None:
        """Give a lease back: the request failed after it was granted (ERR-010)."""
        ...

    def auth_gate(self, address: str, username: str) -> AuthGate:
        """Return what the failure limits say about this address and user, from local knowledge, at once."""
        ...

    def recognises(self, address: str) -> bool:
        """Say whether an address authenticated lately, from local knowledge, at once."""
        ...

    def auth_result(self, address: str, username: str, *, succeeded: bool) -> None:
        """Report the result of an authentication, to be known by all workers."""
        ...


# --- doors -----------------------------------------------------------------------------------------------------


class Intake(Protocol):
    """What a door asks of the product. `done` may be called from inside the call when the answer is known."""

    def may_start(self, size_bytes: int) -> Refusal | None:
        """Say whether a transaction of about `size_bytes` may start now (disk, overload); None: yes."""
        ...

    def account_of(self, principal: str) -> str | None:
        """Return the account of an authenticated user while its credential is active, else None (CRED-011)."""
        ...

    def submit(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        """Accept a message for delivery: answer only after it is synced, or refuse it whole."""
        ...

    def may_receive(self, recipient: str) -> Refusal | None:
        """Say whether the `mx` listener takes mail for an address without authentication (SMTP-003)."""
        ...

    def receive(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        """Take a message that arrived on the `mx` listener without authentication; `account` is ""."""
        ...


class Confirmations(Protocol):
    """What the page of a verification link asks. Both raise TemporaryError when the catalog cannot be used now."""

    async def look(self, token: str) -> VerificationLink | None:
        """Return what a link is for, usable or not any more; None when there never was one. Changes nothing."""
        ...

    async def confirm(self, token: str) -> VerificationLink | None:
        """Verify the address of a usable link, once; return after the commit. Else as `look`: nothing happened."""
        ...


# --- delivery --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery, ready to be attempted. `return_path` is the envelope sender on the wire, "" for the null sender.

    `load` returns the message; it raises CorruptionError when the spool cannot give it back whole.
    """

    delivery: Delivery
    return_path: str
    load: Callable[[], Content]


Release = Callable[[], None]


class Departures(Protocol):
    """Where jobs go from the ready window: to `Outbound`, or to a stage before it that passes them on."""

    def enqueue(self, job: Job) -> None:
        """Take a job; it is settled in the end."""
        ...

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started; False when it is in flight or unknown."""
        ...


class Outbound(Protocol):
    """Everything between a job and its outcome: route, MX hosts, connections, TLS, dialogue.

    Every enqueued job is answered exactly once through `on_outcome(job, outcome, release)`. The connection goes on
    with its next message at once, but does not send that message's final dot before `release` was called: that is
    how a crash repeats at most one message for each open connection.
    """

    on_outcome: Callable[[Job, Outcome, Release], None]

    def enqueue(self, job: Job) -> None:
        """Attempt a delivery as soon as its site has room."""
        ...

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started; False when it is in flight or unknown."""
        ...

    async def drain(self, timeout_seconds: float) -> None:
        """Start nothing new, wait for what is in flight, close idle connections."""
        ...


class ResolverError(Exception):
    """DNS gave no answer now: SERVFAIL, time-out, or a malformed reply. Never means that a name does not exist.

    `found` are the addresses of the family that was answered, where the other one was not.
    """

    def __init__(self, text: str, found: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.found = tuple(found)


@dataclass(frozen=True, slots=True)
class MailHost:
    """One host of an MX answer."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class MailHosts:
    """The MX answer for a domain.

    `nxdomain`: the name does not exist. `null_mx`: RFC 7505. Else `hosts`, which is empty when the domain has
    neither MX nor address; `implicit` when the domain itself is its only host. `mx_unusable`: there are MX records
    and none of them names a host. `secure`: the answer was validated, by somebody who is trusted with that.
    """

    hosts: tuple[MailHost, ...] = ()
    nxdomain: bool = False
    null_mx: bool = False
    implicit: bool = False
    mx_unusable: bool = False
    secure: bool = False


class Resolver(Protocol):
    """DNS, cached and bounded. Raises ResolverError for answers that may differ later."""

    def known_mail_hosts(self, domain: str) -> MailHosts | None:
        """Return what the cache holds, at once, the same object while it holds it; None: ask."""
        ...

    def known_addresses(self, host: str) -> Sequence[str] | None:
        """Return what the cache holds, at once; None: ask."""
        ...

    async def mail_hosts(self, domain: str, *, refresh: bool = False) -> MailHosts:
        """Return the hosts that take mail for a domain; `refresh` asks past the cache."""
        ...

    async def addresses(self, host: str) -> Sequence[str]:
        """Return IPv4 and IPv6 addresses of a host as text; empty when it has none or does not exist.

        When only one family was answered, ResolverError has what was found: others may exist.
        """
        ...

    async def text(self, name: str) -> Sequence[bytes]:
        """Return the TXT strings of a name, each joined; empty when there are none."""
        ...

    def known_tlsa(self, host: str, port: int) -> TlsaFound | None:
        """Return what the cache holds, at once; None: ask."""
        ...

    async def tlsa(self, host: str, port: int) -> TlsaFound:
        """Return the secure TLSA records of a host; no answer is a value with `failure`, never an exception."""
        ...


@dataclass(frozen=True, slots=True)
class StsAnswer:
    """The MTA-STS policy that is in force for a domain now, None for none; `sure` unless looking for it failed."""

    policy: StsPolicy | None = None
    sure: bool = True


class StsPolicies(Protocol):
    """MTA-STS policies of recipient domains (RFC 8461), cached."""

    def known(self, domain: str) -> StsAnswer | None:
        """Return what is known to be in force, at once; None: ask."""
        ...

    async def find(self, domain: str) -> StsAnswer:
        """Return the policy in force; discovers and fetches it when it must. What fails leaves the last one valid."""
        ...


# --- scanners ------------------------------------------------------------------------------------------------


class Scanner(Protocol):
    """A program that looks into messages: for viruses, or for how much they are like spam.

    `name` is its type with its address, for logs; `label` its type, for metrics.
    """

    name: str
    label: str

    async def scan(self, content: Content) -> Scan:
        """Return what it says; a scanner that is down, slow or unintelligible is FAILED, never an exception."""
        ...


# --- connections -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How to connect. `server_name` goes into the TLS handshake, "" for none.

    `tls_verified` refuses a certificate that is not for `server_name` or not trusted. `tls_minimum` is the oldest
    version of TLS that is spoken ("1.0" to "1.3"). `judge_chain` is given the certificates of the handshake (DER, the
    host's own first) and says why they are refused, "" when they are not. `on_gone`
    is called once when a connection that was opened is closed on both sides, however it ended.
    """

    connect_timeout_seconds: float
    source_address: str = ""
    server_name: str = ""
    tls_verified: bool = False
    tls_minimum: str = "1.0"
    judge_chain: Callable[[Sequence[bytes]], str] | None = None
    on_gone: Callable[[], None] | None = None


SOURCE_GONE = "the source address is not of this host"


SOURCE_GONE = "the source address is not of this host"


class LinkUser(Protocol):
    """Whoever asked for a connection. After `link_failed` or `link_lost` nothing more is called."""

    def link_opened(self, link: "Link") -> None:
        """The connection is made."""
        ...

    def link_failed(self, text: str) -> None:
        """It could not be made; the text is SOURCE_GONE when the host does not have the address to connect from."""
        ...

    def link_data(self, data: bytes) -> None:
        """Bytes came, decrypted where TLS is on."""
        ...

    def link_tls_started(self, version: str) -> None:
        """The handshake is done; bytes that came in clear before it were dropped."""
        ...

    def link_tls_failed(self, text: str) -> None:
        """The handshake failed; the link is of no more use."""
        ...

    def link_progress(self) -> None:
        """A part of a streamed message was taken by the network."""
        ...

    def link_content_written(self) -> None:
        """A streamed message was handed to the network whole, with its final dot."""
        ...

    def link_content_failed(self, text: str) -> None:
        """A streamed message could not be read whole; its final dot was not written."""
        ...

    def link_lost(self, text: str) -> None:
        """The connection is gone."""
        ...


class Link(Protocol):
    """An open connection. None of its methods call back before they return."""

    @property
    def source_address(self) -> str:
        """The address it was made from."""
        ...

    def tls_facts(self) -> TlsFacts | None:
        """Return how it is encrypted, None while it is not; costs what reading a certificate costs."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def write_content(self, content: Content) -> None:
        """Stream a message as SMTP data, dot-stuffed and with its final dot, never whole in memory."""
        ...

    def start_tls(self) -> None:
        """Begin a TLS handshake."""
        ...

    def close(self) -> None:
        """Send what was written, then close."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def unsent(self) -> bool:
        """Say whether something that was written cannot have reached the remote yet."""
        ...


class Connector(Protocol):
    """Makes connections. Calls back from the event loop, never from inside `connect`."""

    def connect(self, address: str, port: int, options: LinkOptions, user: LinkUser) -> Callable[[], None]:
        """Begin to connect to an IP address; return what cancels it (after which nothing is called back)."""
        ...


# --- events ----------------------------------------------------------------------------------------------------


class EventSource(Protocol):
    """The event log of one shard, read by the process that publishes it."""

    shard: int

    def read(self, after: int, limit: int) -> Sequence[tuple[int, NewEvent]]:
        """Return events with a sequence number above `after`, in order."""
        ...


class EventDestination(Protocol):
    """A place events are published to, at least once: `publish` returns after they are kept there."""

    name: str

    async def publish(self, events: Iterable[NewEvent]) -> None:
        """Publish in order; raise TemporaryError to be called again later with the same events."""
        ...


Json = dict[str, Any]
