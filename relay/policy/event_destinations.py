"""What an event destination may be, and its form in API v2 (DEST-002 to DEST-007, DEST-012 to DEST-016). Pure.

arn:aws:firehose:<region>:<account>:deliverystream/<name>   a stream of the configuration
arn:aws:events:<region>:<account>:event-bus/<name>          a bus of the configuration
arn:aws:sns:<region>:<account>:<name>                       a topic
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from relay.errors import UsageError
from relay.model.event_destination import (
    RECORD_KINDS,
    DestinationKind,
    Dimension,
    DimensionSource,
    EventDestination,
    EventType,
)

DESTINATIONS_MAX: Final = 10  # of one configuration set (CFG-004)
DIMENSIONS_MAX: Final = 10
DIMENSION_MAX_CHARACTERS: Final = 255
ROLE_MAX_CHARACTERS: Final = 1024
AUTO_TAGS: Final = frozenset({
    "ses:configuration-set",
    "ses:caller-identity",
    "ses:from-domain",
    "ses:source-ip",
    "ses:outgoing-ip",
    "ses:operation",
})  # fmt: skip
BARRED_HEADERS: Final = frozenset(
    {"received", "to", "from", "dkim-signature", "cc", "message-id", "return-path"}
)  # DEST-016

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_DIMENSION_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")
_DIMENSION_VALUE: Final = re.compile(r"[A-Za-z0-9_@.-]{1,255}\Z")
_ARN: Final = re.compile(
    r"arn:aws:(?P<service>[a-z]+):(?P<region>[a-z0-9][a-z0-9-]{0,62}):(?P<account>[0-9]{12}):(?P<rest>[^\s:]{1,300})\Z"
)
_SERVICES: Final = {
    DestinationKind.TOPIC: ("sns", ""),
    DestinationKind.STREAM: ("firehose", "deliverystream/"),
    DestinationKind.BUS: ("events", "event-bus/"),
}


@dataclass(frozen=True, slots=True)
class KnownTargets:
    """What destinations may name: the region, and the streams and buses of the configuration."""

    region: str
    streams: Collection[str] = ()
    buses: Collection[str] = ()


def parse_type(text: str) -> EventType:
    """Return the event type of a name: of API v2, of API v1, or of records, in any case. Raise UsageError."""
    wanted = text.strip().lower()
    for kind in EventType:
        if wanted and wanted in {
            kind.lower(),
            kind.v1_name.lower(),
            RECORD_KINDS[kind].lower(),
            kind.lower().replace("_", "-"),
        }:
            return kind
    raise UsageError(f"There is no event type {text[:80]!r}; there are {', '.join(EventType)}.")


def target_arn(kind: DestinationKind, region: str, account: str, name: str) -> str:
    """Return the ARN of a topic, stream or bus."""
    service, prefix = _SERVICES[kind]
    return f"arn:aws:{service}:{region}:{account}:{prefix}{name}"


def target_name(kind: DestinationKind, arn: str) -> str:
    """Return the name in an ARN that was checked."""
    return arn.rsplit(":", 1)[-1].removeprefix(_SERVICES[kind][1])


def is_dimension_value(text: str) -> bool:
    """Say whether a value can be published as a dimension (DEST-017)."""
    return _DIMENSION_VALUE.match(text) is not None


def checked(one: EventDestination, known: KnownTargets) -> EventDestination:
    """Return a destination in the form it is kept in. Raise UsageError that names what cannot be."""
    if not NAME.match(one.name):
        raise UsageError(
            f"An event destination has a name of 1 to 64 letters, digits, - and _; {one.name[:80]!r} does not fit."
        )
    if not one.types:
        raise UsageError(f"Event destination {one.name} needs at least one event type.")
    if len(one.role_arn) > ROLE_MAX_CHARACTERS or not one.role_arn.isprintable():
        raise UsageError(f"A role ARN has at most {ROLE_MAX_CHARACTERS} printable characters.")
    types = tuple(kind for kind in EventType if kind in one.types)
    if one.kind is DestinationKind.METRICS:
        return replace(one, types=types, target="", role_arn="", dimensions=_checked_dimensions(one.dimensions))
    if one.dimensions:
        raise UsageError(f"Dimensions belong to metrics destinations, not to a {one.kind}.")
    _check_target(one, known)
    return replace(one, types=types, role_arn=one.role_arn if one.kind is DestinationKind.STREAM else "")


def _check_target(one: EventDestination, known: KnownTargets) -> None:
    service, prefix = _SERVICES[one.kind]
    found = _ARN.match(one.target)
    if not found or found["service"] != service or not found["rest"].startswith(prefix) or found["rest"] == prefix:
        raise UsageError(
            f"The ARN of a {one.kind} is {target_arn(one.kind, known.region, one.account, 'NAME')}, "
            f"not {one.target[:200]!r}."
        )
    if found["region"] != known.region:
        raise UsageError(f"The {one.kind} is in region {found['region']}, this relay in {known.region}.")
    if one.kind is DestinationKind.TOPIC:
        if one.target.endswith(".fifo"):
            raise UsageError("Events go to standard topics, not to a FIFO topic.")  # TOPIC-001
        return
    if found["account"] != one.account:
        raise UsageError(f"The {one.kind} is one of account {found['account']}, the destination of {one.account}.")
    name = found["rest"].removeprefix(prefix)
    there = known.streams if one.kind is DestinationKind.STREAM else known.buses
    setting = "streams" if one.kind is DestinationKind.STREAM else "buses"
    if name not in there:
        names = ", ".join(sorted(there)) or "none"
        raise UsageError(f"There is no {one.kind} {name[:80]} under `{setting}` of the configuration ({names}).")


def _checked_dimensions(dimensions: Sequence[Dimension]) -> tuple[Dimension, ...]:
    if not 1 <= len(dimensions) <= DIMENSIONS_MAX:
        raise UsageError(f"A metrics destination has 1 to {DIMENSIONS_MAX} dimensions, not {len(dimensions)}.")
    seen: set[str] = set()
    for each in dimensions:
        _check_dimension(each)
        if each.name in seen:
            raise UsageError(f"Dimension {each.name} is given twice.")
        seen.add(each.name)
    return tuple(dimensions)


def _check_dimension(one: Dimension) -> None:
    automatic = one.source is DimensionSource.MESSAGE_TAG and one.name in AUTO_TAGS
    if not automatic and not _DIMENSION_NAME.match(one.name):
        raise UsageError(
            f"A dimension has a name of 1 to {DIMENSION_MAX_CHARACTERS} letters, digits, - and _, or, from a message "
            f"tag, one of {', '.join(sorted(AUTO_TAGS))}; {one.name[:80]!r} does not fit."
        )
    if one.source is DimensionSource.EMAIL_HEADER and one.name.lower() in BARRED_HEADERS:
        raise UsageError(f"The header {one.name} cannot be a dimension.")
    if not is_dimension_value(one.default):
        raise UsageError(
            f"Dimension {one.name} needs a default value of 1 to {DIMENSION_MAX_CHARACTERS} letters, digits and _-@. "
            f"characters; {one.default[:80]!r} does not fit."
        )


# --- API v2 ---------------------------------------------------------------------------------------------------------


def as_api(one: EventDestination) -> dict[str, Any]:
    """Return a destination in the shape of API v2."""
    shape: dict[str, Any] = {
        "Name": one.name,
        "Enabled": one.enabled,
        "MatchingEventTypes": [str(kind) for kind in one.types],
    }
    if one.kind is DestinationKind.TOPIC:
        shape["SnsDestination"] = {"TopicArn": one.target}
    elif one.kind is DestinationKind.STREAM:
        shape["KinesisFirehoseDestination"] = {"IamRoleArn": one.role_arn, "DeliveryStreamArn": one.target}
    elif one.kind is DestinationKind.BUS:
        shape["EventBridgeDestination"] = {"EventBusArn": one.target}
    else:
        shape["CloudWatchDestination"] = {
            "DimensionConfigurations": [
                {
                    "DimensionName": each.name,
                    "DimensionValueSource": str(each.source),
                    "DefaultDimensionValue": each.default,
                }
                for each in one.dimensions
            ]
        }
    return shape


def from_api(account: str, configuration_set: str, name: str, shape: dict[str, Any]) -> EventDestination:
    """Return the destination that an `EventDestination` of API v2 describes, not checked. Raise UsageError.

    `Enabled` is false where it is left out.
    """
    if shape.get("PinpointDestination"):
        raise UsageError("Pinpoint destinations are not offered.")  # DEST-003
    given = [key for key in _READERS if shape.get(key)]
    if len(given) != 1:
        raise UsageError(f"An event destination has exactly one of {', '.join(_READERS)}; {len(given)} are given.")
    types = shape.get("MatchingEventTypes") or ()
    if not isinstance(types, (list, tuple)):
        raise UsageError("MatchingEventTypes is a list.")
    kinds = []
    for each in types:
        if each not in EventType.__members__:
            raise UsageError(f"There is no event type {str(each)[:80]!r}; there are {', '.join(EventType)}.")
        kinds.append(EventType(each))
    enabled = shape.get("Enabled", False)
    if not isinstance(enabled, bool):
        raise UsageError("Enabled is true or false.")
    kind, reader = _READERS[given[0]]
    details = shape[given[0]]
    if not isinstance(details, dict):
        raise UsageError(f"{given[0]} is an object.")
    return EventDestination(account, configuration_set, name, enabled, tuple(kinds), kind, **reader(details))


def _text(details: dict[str, Any], key: str) -> str:
    value = details.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{key} is required.")
    return value


def _topic(details: dict[str, Any]) -> dict[str, Any]:
    return {"target": _text(details, "TopicArn")}


def _stream(details: dict[str, Any]) -> dict[str, Any]:
    return {"target": _text(details, "DeliveryStreamArn"), "role_arn": _text(details, "IamRoleArn")}


def _bus(details: dict[str, Any]) -> dict[str, Any]:
    return {"target": _text(details, "EventBusArn")}


def _metrics(details: dict[str, Any]) -> dict[str, Any]:
    dimensions = []
    for each in details.get("DimensionConfigurations") or ():
        if not isinstance(each, dict):
            raise UsageError("Each of DimensionConfigurations is an object.")
        source = _text(each, "DimensionValueSource")
        if source not in DimensionSource.__members__:
            raise UsageError(f"DimensionValueSource is one of {', '.join(DimensionSource)}, not {source[:80]!r}.")
        default = _text(each, "DefaultDimensionValue")
        dimensions.append(Dimension(_text(each, "DimensionName"), DimensionSource(source), default))
    return {"dimensions": tuple(dimensions)}


_READERS: Final = {
    "SnsDestination": (DestinationKind.TOPIC, _topic),
    "KinesisFirehoseDestination": (DestinationKind.STREAM, _stream),
    "CloudWatchDestination": (DestinationKind.METRICS, _metrics),
    "EventBridgeDestination": (DestinationKind.BUS, _bus),
}
