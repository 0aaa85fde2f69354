"""Source addresses and the pools they are in, as values (POOL-*): stored in the catalog, read as a snapshot."""

from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_POOL = "ses-default-dedicated-pool"
SHARED_POOL = "ses-shared-pool"
BUILT_IN = (DEFAULT_POOL, SHARED_POOL)
NO_OVERFLOW = "none"
"""What a pool says whose mail waits rather than leave from elsewhere; "" leaves it to warm-up (WARM-004)."""
RELAY = ""
"""The owner of addresses that all accounts share, and of pools for all accounts."""
PIN_PREFIX = "@"
"""A pool name that begins so is one address and nothing else: the test of an address."""

WEIGHT_DEFAULT = 100
WEIGHT_MAX = 1000
PERCENT_MAX = 100


class ScalingMode(StrEnum):
    """How a pool gets its addresses; it never changes (POOL-002)."""

    STANDARD = "STANDARD"
    MANAGED = "MANAGED"


class WarmUp(StrEnum):
    """How an address is warmed up: not at all, by its age, or as far as somebody says (decision 19)."""

    OFF = "off"
    AUTO = "auto"
    PERCENT = "percent"


class Origin(StrEnum):
    """Who made an address known: `delivery.source_addresses`, or a command."""

    CONFIG = "config"
    COMMAND = "command"


class Reverse(StrEnum):
    """What DNS says about an address (PTR and back)."""

    UNKNOWN = "unknown"  # not looked at yet
    CONFIRMED = "confirmed"  # its PTR names a host that has the address
    MISSING = "missing"  # it has no PTR record
    UNCONFIRMED = "unconfirmed"  # no host that its PTR names has the address
    UNAVAILABLE = "unavailable"  # name servers gave no answer


@dataclass(frozen=True, slots=True)
class ReverseDns:
    """The last look at an address in DNS.

    `names` are those of its PTR records, `helo` whether its name in EHLO is one of those that lead back to it.
    Times are milliseconds since 1970; `checked_ms` 0: never looked at, `next_ms` when it is looked at again.
    """

    state: Reverse = Reverse.UNKNOWN
    names: tuple[str, ...] = ()
    helo: bool = False
    error: str = ""
    checked_ms: int = 0
    next_ms: int = 0


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """An address of this host that mail leaves from.

    `account` owns it (RELAY: all share it), `pool` is where it was put ("": the default pool of its account, or the
    shared pool), `helo_name` its name in EHLO ("": the relay's), `weight` its share among the addresses of its pool.
    `warmup_percent` is only for PERCENT, `warmup_started_ms` only for AUTO. A `reserve` address is shared mail's no
    more: it waits to be given to an account. `absent_ms` is since when the host does not have it (0: it has it),
    `suspended` why nobody may send from it ("": everybody who may). `registered`: it lies in a range that its
    account brought (POOL-010), so that its reverse DNS must hold (POOL-011).
    """

    address: str
    account: str = RELAY
    pool: str = ""
    helo_name: str = ""
    weight: int = WEIGHT_DEFAULT
    warmup: WarmUp = WarmUp.OFF
    warmup_percent: int = 0
    warmup_started_ms: int = 0
    origin: Origin = Origin.COMMAND
    reserve: bool = False
    managed: bool = False
    absent_ms: int = 0
    suspended: str = ""
    registered: bool = False
    reverse: ReverseDns = field(default_factory=ReverseDns)
    created_ms: int = 0

    @property
    def warming(self) -> bool:
        """True while a schedule limits what leaves from it."""
        return self.warmup is not WarmUp.OFF

    @property
    def pool_name(self) -> str:
        """The pool it is in, with the names of the built-in ones; "" in the reserve."""
        if self.pool or self.reserve:
            return self.pool
        return DEFAULT_POOL if self.account else SHARED_POOL


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of an account (RELAY: for all accounts). `overflow` is a pool, NO_OVERFLOW, or "" for warm-up's rule."""

    account: str
    name: str
    mode: ScalingMode = ScalingMode.STANDARD
    overflow: str = ""
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class PoolRule:
    """Mail that leaves from a pool: of senders at a domain, to recipients at a domain, or both.

    A domain is a name, `*.name` for all names below it, or "" for any. `account` is whose mail, RELAY: everybody's.
    """

    rule_id: int
    account: str
    sender_domain: str
    recipient_domain: str
    pool: str


@dataclass(frozen=True, slots=True)
class AccountSending:
    """Where an account's mail leaves from when nothing else says so ("": its own addresses, else the shared ones).

    `auto_warmup`: whether addresses that come to it may warm up by themselves (WARM-001).
    """

    account: str
    pool: str = ""
    shared_barred: bool = False
    auto_warmup: bool = True


@dataclass(frozen=True, slots=True)
class AddressRange:
    """A range that an account brought with it (POOL-010), in CIDR form."""

    network: str
    account: str
    registry: str
    use_case: str
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """All of it at one time, as workers read it."""

    addresses: tuple[SourceAddress, ...] = ()
    pools: tuple[Pool, ...] = ()
    rules: tuple[PoolRule, ...] = ()
    accounts: tuple[AccountSending, ...] = ()


NO_POOLS = PoolSnapshot()
