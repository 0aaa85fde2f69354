"""Where a delivery goes: hosts, how they may be used, and which address families they have. Shared by its lanes."""

from collections.abc import Sequence

from relay.model.lane import Lane, Source
from relay.pipeline.departure import ANY_FAMILY, Shapes
from relay.ports import MailHost
from relay.schedule import mx
from relay.schedule.route import Route
from relay.schedule.shaping import Shape

DESTINATIONS_MAX = 20_000
FAMILY_SECONDS = 300.0


class Destination:
    """A set of mail exchangers, or the host of a route. `name` tells it from all others, `domain` a special one."""

    __slots__ = ("_families", "_families_until", "domain", "hosts", "name", "route", "shape")

    def __init__(
        self, name: str, hosts: Sequence[MailHost], route: Route | None, shape: Shape, domain: str = ""
    ) -> None:
        self.name = name
        self.hosts = hosts
        self.route = route
        self.shape = shape
        self.domain = domain
        self._families = ANY_FAMILY
        self._families_until = 0.0

    def families(self, now: float) -> frozenset[int]:
        """Return the address families (4, 6) that the hosts can have; `now` in monotonic seconds."""
        return self._families if self._families_until > now else ANY_FAMILY

    def without(self, family: int, now: float) -> None:
        """Note for a while that no host has an address of a family."""
        self._families = self.families(now) - {family}
        self._families_until = now + FAMILY_SECONDS


class Destinations:
    """Those in use, by name; all are forgotten when they are too many."""

    shapes: Shapes

    def __init__(self) -> None:
        self._destinations: dict[str, Destination] = {}

    def known(self, name: str) -> Destination | None:
        """Return what is known of a destination."""
        return self._destinations.get(name)

    def of(self, name: str, hosts: Sequence[MailHost], route: Route | None, domain: str = "") -> Destination:
        """Return what is known of some hosts together; `domain`: the special one that they are asked for."""
        found = self._destinations.get(name)
        if found is None or found.route is not route:
            if len(self._destinations) >= DESTINATIONS_MAX:
                self._destinations.clear()
            shape = self.shapes.shape(name, hosts, domain=domain, routed=route is not None)
            found = self._destinations[name] = Destination(name, hosts, route, shape, domain)
        found.hosts = hosts
        return found

    def forget(self) -> None:
        """Ask anew how each may be used."""
        self._destinations.clear()

    def keep(self, names: set[str]) -> None:
        """Forget all but these."""
        self._destinations = {name: one for name, one in self._destinations.items() if name in names}


def lane_of(destination: Destination, source: Source) -> Lane:
    """Return the lane from a source to a destination: sites of one provider share it."""
    return Lane(source.address, destination.shape.provider or destination.name)


def name_of_route(route: Route) -> str:
    """Return the name of the destination that a smart host is."""
    return f"route {route.host}:{route.port} {route.username} {route.tls.value} {route.several_recipients}"


def name_of_hosts(hosts: Sequence[MailHost], special: str = "") -> str:
    """Return the name of the destination that mail exchangers are, for a domain with `special` rules or any other."""
    name = mx.site_name(hosts)
    return f"{name} as {special}" if special else name
