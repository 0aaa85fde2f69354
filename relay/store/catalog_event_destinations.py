"""Event destinations in the catalog: at most ten for each configuration set, gone with it (DEST-*, CFG-010)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relay.errors import AlreadyExistsError, LimitExceededError, NotFoundError
from relay.model.event_destination import (
    DestinationKind,
    Dimension,
    DimensionSource,
    EventDestination,
    EventType,
)
from relay.policy.event_destinations import DESTINATIONS_MAX, KnownTargets, checked
from relay.store.catalog_tables import Row, Tables


class EventDestinations:
    """Makes, changes, lists and deletes destinations. Unknown names raise NotFoundError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(self, wanted: EventDestination, known: KnownTargets) -> EventDestination:
        """Add a destination; it is published to from the next event on, when it is enabled."""
        one = replace(checked(wanted, known), created_ms=self._tables.now_ms())
        with self._tables.writing(one.account):
            self._require_set(one.account, one.configuration_set)
            there = self._tables.rows("list_event_destinations", _of(one))
            if any(row[2] == one.name for row in there):
                raise AlreadyExistsError(
                    f"Configuration set {one.configuration_set} has an event destination {one.name} already."
                )
            if len(there) >= DESTINATIONS_MAX:
                raise LimitExceededError(f"A configuration set has at most {DESTINATIONS_MAX} event destinations.")
            self._tables.run("create_event_destination", _values(one))
        return one

    def get(self, account: str, configuration_set: str, name: str) -> EventDestination:
        """Return a destination."""
        for one in self.list(account, configuration_set):
            if one.name == name:
                return one
        raise NotFoundError(f"Configuration set {configuration_set} has no event destination {name[:80]}.")

    def list(self, account: str, configuration_set: str) -> list[EventDestination]:
        """Return all destinations of a set, by name."""
        self._require_set(account, configuration_set)
        values = {"account": account, "configuration_set": configuration_set}
        return [event_destination_of(row) for row in self._tables.rows("list_event_destinations", values)]

    def update(self, changed: EventDestination, known: KnownTargets) -> EventDestination:
        """Replace everything about a destination but its name."""
        one = checked(changed, known)
        with self._tables.writing(one.account):
            before = self.get(one.account, one.configuration_set, one.name)
            one = replace(one, created_ms=before.created_ms)
            self._tables.run("update_event_destination", _values(one))
        return one

    def delete(self, account: str, configuration_set: str, name: str) -> None:
        """Remove a destination; what was routed before still goes to its target."""
        with self._tables.writing(account):
            self._require_set(account, configuration_set)
            values = {"account": account, "configuration_set": configuration_set, "name": name}
            if not self._tables.run("delete_event_destination", values):
                raise NotFoundError(f"Configuration set {configuration_set} has no event destination {name[:80]}.")

    def _require_set(self, account: str, name: str) -> None:
        if self._tables.row("get_configuration_set", {"account": account, "name": name}) is None:
            raise NotFoundError(f"Account {account} has no configuration set {name[:80]}.")


def event_destination_of(row: Row) -> EventDestination:
    """Return the destination of a row of `list_event_destinations`."""
    account, configuration_set, name, enabled, types, kind, target, role_arn, dimensions, created_ms = row
    return EventDestination(
        account=account,
        configuration_set=configuration_set,
        name=name,
        enabled=bool(enabled),
        types=tuple(EventType(each) for each in json.loads(types)),
        kind=DestinationKind(kind),
        target=target,
        role_arn=role_arn,
        dimensions=_dimensions(json.loads(dimensions)),
        created_ms=created_ms,
    )


def _dimensions(stored: Sequence[Sequence[str]]) -> tuple[Dimension, ...]:
    return tuple(Dimension(name, DimensionSource(source), default) for name, source, default in stored)


def _of(one: EventDestination) -> dict[str, Any]:
    return {"account": one.account, "configuration_set": one.configuration_set}


def _values(one: EventDestination) -> dict[str, Any]:
    return {
        **_of(one),
        "name": one.name,
        "enabled": int(one.enabled),
        "types": json.dumps(one.types),
        "kind": str(one.kind),
        "target": one.target,
        "role_arn": one.role_arn,
        "dimensions": json.dumps([[each.name, each.source, each.default] for each in one.dimensions]),
        "created_ms": one.created_ms,
    }
