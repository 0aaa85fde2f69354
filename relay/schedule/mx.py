"""The order in which mail exchangers are tried, and what makes two domains one site; randomness is passed in."""

from collections.abc import Callable, Collection, Iterable, Sequence

from relay.ports import MailHost

Shuffle = Callable[[list[MailHost]], None]
"""Shuffles a list in place, as random.shuffle does."""

HOSTS_MAX = 10


def without_us(hosts: Sequence[MailHost], own_names: Collection[str]) -> tuple[MailHost, ...]:
    """Drop ourselves and every host of the same or lower priority (RFC 5321 section 5.1); empty: a loop."""
    ours = [host.preference for host in hosts if host.host in own_names]
    if not ours:
        return tuple(hosts)
    best = min(ours)
    return tuple(host for host in hosts if host.preference < best)


class Deck:
    """Deals the hosts of a site to its connections: of those of the best preference each comes first equally often.

    A connection carries many messages, so that chance alone would leave hosts without any (RFC 5321 section 5.1).
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[str] = []

    def deal(self, hosts: Iterable[MailHost], shuffle: Shuffle) -> list[MailHost]:
        """Return at most 10 hosts for a connection, by preference, at random inside one."""
        ordered = list(hosts)
        shuffle(ordered)
        ordered.sort(key=_preference)  # a stable sort keeps the random order inside one preference
        best = [one for one in ordered if one.preference == ordered[0].preference]
        if len(best) > 1:
            names = [one.host for one in best]
            self._left = [name for name in self._left if name in names] or list(names)
            first = best[names.index(self._left.pop())]
            ordered.remove(first)
            ordered.insert(0, first)
        return ordered[:HOSTS_MAX]


def _preference(host: MailHost) -> int:
    return host.preference


def site_name(hosts: Iterable[MailHost]) -> str:
    """Return one name for all domains with the same set of mail exchangers."""
    return ",".join(sorted({host.host for host in hosts}))


def families(addresses: Sequence[str], *, ipv6: bool, prefer_ipv6: bool) -> list[str]:
    """Return addresses of one host with the families taking turns, the preferred one first."""
    four = [address for address in addresses if ":" not in address]
    six = [address for address in addresses if ":" in address] if ipv6 else []
    first, second = (six, four) if prefer_ipv6 else (four, six)
    mixed: list[str] = []
    for index in range(max(len(first), len(second))):
        mixed += first[index : index + 1] + second[index : index + 1]
    return mixed
