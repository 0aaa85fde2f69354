"""What the ready window holds, and who may put how much into it. Decides by `relay.schedule.fair`; reads no index.

Room is dealt by dynamic thresholds: to accounts by weight, within an account to configuration sets. Three quarters
of a share may be bulk. A domain gets `domain_max` of an account's share, and never more than half of what is free of
it, or a few. Of the window, and of a domain's part of it, either of first attempts and retries may take three
quarters, so that new mail finds room while a great many retries are due.

A hundred slow domains with a few deliveries each fill their sender's share all the same. So new mail to a domain of
which nothing is here may come in beyond the share: up to a twentieth of the window, while there is room for others.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from relay.model.message import Delivery
from relay.schedule.fair import Flow, Tenancy, domain_allowance, flow_of
from relay.schedule.lanes import admits, share

FREE_MIN: Final = 2
_BEYOND_DIVISOR: Final = 20  # of the window: what may be in it beyond shares
_OTHERS_DIVISOR: Final = 24  # of the window: what that leaves free for others, of the eighth that a share leaves

_Domains = Counter[tuple[str, str]]  # by account and domain


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """Bounds of the window: deliveries in all, those of an account for one domain, octets of bodies in memory."""

    window_max: int = 5_000
    domain_max: int = 1_000
    cache_bytes_max: int = 64 * 1024 * 1024


class ReadyWindow:
    """The deliveries in memory, counted by who sends them, where they go, and whether they are retries."""

    def __init__(self, limits: WindowLimits) -> None:
        self._limits = limits
        self._held: dict[int, Delivery] = {}
        self._beyond: set[int] = set()  # of these: the keys of those that are in nobody's share
        self._tenancies: dict[str, Tenancy] = {}
        self._firsts: _Domains = Counter()
        self._retries: _Domains = Counter()
        self._retries_count = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: int) -> bool:
        return key in self._held

    @property
    def full(self) -> bool:
        """True when there is no room for anybody."""
        return self._limits.window_max - len(self._held) < FREE_MIN

    def room(self, delivery: Delivery, flow: Flow) -> int:
        """Return how many more of its sender and kind, first attempt or retry, there is room for; 0 or less: none."""
        free = self._free(delivery)
        if free < FREE_MIN:
            return 0
        tenancy = self._tenancies.get(delivery.message.account)
        return free if tenancy is None else tenancy.room(flow, free)

    def domain_takes(self, delivery: Delivery, room: int) -> bool:
        """Say whether the part of its domain in that room of its sender takes a delivery more of its kind."""
        domain = (delivery.message.account, delivery.domain)
        own, others = self._firsts[domain], self._retries[domain]
        if delivery.attempts:
            own, others = others, own
        return admits(own, others, domain_allowance(room, self._limits.domain_max))

    def takes_beyond(self, delivery: Delivery) -> bool:
        """Say whether new mail may come in beyond its sender's share: it is the only one for its domain here."""
        most, domain = self._limits.window_max, (delivery.message.account, delivery.domain)
        if len(self._beyond) >= most // _BEYOND_DIVISOR or self._free(delivery) < most // _OTHERS_DIVISOR:
            return False
        return domain not in self._firsts and domain not in self._retries

    def _free(self, delivery: Delivery) -> int:
        """Return how many more of its kind there is room for, whoever sends them."""
        most, held = self._limits.window_max, len(self._held)
        own = self._retries_count if delivery.attempts else held - self._retries_count
        return min(most - held, share(most) - own)

    def add(self, delivery: Delivery, flow: Flow, *, beyond: bool = False) -> None:
        """Take a delivery in, into its sender's share or beyond it."""
        account = delivery.message.account
        self._held[delivery.key] = delivery
        if beyond:
            self._beyond.add(delivery.key)
        else:
            tenancy = self._tenancies.get(account)
            if tenancy is None:
                tenancy = self._tenancies[account] = Tenancy()
            tenancy.add(flow)
        domains = self._counts(delivery)
        domains[account, delivery.domain] += 1
        self._retries_count += domains is self._retries

    def remove(self, key: int) -> bool:
        """Let a delivery go; False when it is not here."""
        delivery = self._held.pop(key, None)
        if delivery is None:
            return False
        account = delivery.message.account
        if key in self._beyond:
            self._beyond.remove(key)
        else:
            tenancy = self._tenancies[account]
            tenancy.add(flow_of(delivery.message), -1)
            if not tenancy.held:
                del self._tenancies[account]
        domain, domains = (account, delivery.domain), self._counts(delivery)
        self._retries_count -= domains is self._retries
        domains[domain] -= 1
        if not domains[domain]:
            del domains[domain]
        return True

    def _counts(self, delivery: Delivery) -> _Domains:
        return self._retries if delivery.attempts else self._firsts
