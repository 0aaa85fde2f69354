"""Settings of what runs beside the mail: events, records, logs, the user it all runs as."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.suggest import nearest
from relay.runtime.config.values import (
    Duration,
    Flag,
    Kind,
    Mailbox,
    Name,
    Number,
    RelativePath,
    Share,
    Size,
    shown,
)

EVENT_TYPES = (
    "Send",
    "Delivery",
    "DeliveryDelay",
    "Bounce",
    "Complaint",
    "Reject",
    "Open",
    "Click",
    "Rendering Failure",
    "Subscription",
)
ALL = "all"


def parse_event_types(value: Any) -> tuple[str, ...]:
    """Return event types; `all` is every one."""
    if value == ALL:
        return EVENT_TYPES
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"must be `all` or a list such as [Send, Bounce], not {shown(value)}")
    for item in value:
        if item not in EVENT_TYPES:
            meant = nearest(str(item), EVENT_TYPES)
            hint = f"; did you mean `{meant}`?" if meant else f"; there are {', '.join(EVENT_TYPES)}"
            raise ValueError(f"has no event type {shown(item)}{hint}")
    return tuple(dict.fromkeys(value))


EventTypes = Annotated[tuple[str, ...], BeforeValidator(parse_event_types), Kind("all, or a list")]


class Notifications(Section):
    """The relay's own mail to senders and contacts."""

    sender: Mailbox = setting(
        "no-reply@relay.invalid",
        "The address that the relay's own mail to senders is from. Nobody reads answers to it.",
        shown="no-reply@ the hostname",
    )
    product_name: Annotated[str, Field(strict=True, pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,60}$"), Kind("text")] = (
        setting("Relay", "What the product is called in that mail and on its pages.")
    )


class EventDestination(Section):
    """A place that events are published to, at least once each."""

    name: Name = setting(REQUIRED, "A name, unique among the destinations; its place in the log is kept under it.")
    type: Literal["file"] = setting("file", "`file`: one JSON object a line.")
    path: RelativePath = setting(REQUIRED, "The file; a relative path starts from `data_dir`.")
    types: EventTypes = setting("all", "Which events: `all`, or a list of their types, such as [Delivery, Bounce].")
    rotate_bytes: Size = setting("100MB", "Size at which the file is renamed and a new one begun.", ge=4096)
    keep: Number = setting(10, "Renamed files that are kept.", ge=0, le=10_000)


class Feedback(Section):
    """Bounces and complaints that come back."""

    retention: Duration = setting(
        "30d", "How long a bounce or complaint can still be matched to its message.", ge=3600.0, le=366 * 86400.0
    )


class History(Section):
    """Records of finished messages, without their bodies, and of events: for `relay trace`, for search and for SQL.

    Both are kept in files of days and dropped whole; today's always stay. When the disk has less than one and a half
    times `limits.disk_free_min` left, the oldest days go first. Mail that waits is never touched.
    """

    retention: Duration = setting(
        "14d", "How long finished messages are kept; at least `feedback.retention`.", ge=3600.0, le=3660 * 86400.0
    )
    size_max: Size = setting("10GB", "Size of all of them at which the oldest days are dropped.", ge=1 << 20)
    events: Flag = setting(True, "Whether events are kept for `relay events` and `relay trace`.", restart=True)
    events_retention: Duration = setting("30d", "How long events are kept.", ge=3600.0, le=3660 * 86400.0)
    events_size_max: Size = setting("10GB", "Size of all events at which the oldest days are dropped.", ge=1 << 20)


class Audit(Section):
    """The audit log: what administrators and the relay itself changed."""

    retention: Duration = setting(
        "730d",
        "How long a record is kept; the log has 11 files of 16 MiB at most, and drops the oldest before its time.",
        ge=86400.0,
        le=36600 * 86400.0,
    )


class QuotaIncrease(Section):
    """When the limits of an account rise by themselves. An account in the sandbox never gets more this way."""

    enabled: Flag = setting(False, "Whether they do.")
    near: Share = setting("80%", "Share of the daily quota that must be used in 24 hours.")
    by: Share = setting("50%", "By how much both limits rise.")
    daily_max: Number = setting(1_000_000, "The daily quota above which nothing rises.", ge=1, le=10**12)
    interval: Duration = setting("7d", "The time between two changes of an account.", ge=3600.0, le=366 * 86400.0)
    bounce_rate_max: Share = setting(
        "5%", "The bounce rate up to which limits rise; `100%`: whatever it is, known or not."
    )
    complaint_rate_max: Share = setting(
        "0.1%", "The complaint rate up to which limits rise; `100%`: whatever it is, known or not."
    )
    outside_share_min: Share = setting(
        "50%", "Share of recipients outside the account's own domains; `0%`: whatever it is, known or not."
    )


class QuotaDecrease(Section):
    """When the limits of an account fall by themselves, or it is paused."""

    enabled: Flag = setting(False, "Whether they do.")
    bounce_rate: Share = setting("10%", "The bounce rate above which limits fall.")
    complaint_rate: Share = setting("0.5%", "The complaint rate above which limits fall.")
    sent_min: Number = setting(1000, "Recipients in 24 hours that a rate needs to count.", ge=1, le=10**12)
    by: Share = setting("50%", "By how much both limits fall; `100%` pauses the account instead.")
    interval: Duration = setting("1d", "The time between two changes of an account.", ge=3600.0, le=366 * 86400.0)


class QuotaRules(Section):
    """Limits that follow how an account sends; looked at every hour."""

    increase: QuotaIncrease = setting({}, "When limits rise.")
    decrease: QuotaDecrease = setting({}, "When limits fall.")


class Logging(Section):
    """What the relay says on standard error."""

    format: Literal["auto", "json", "console"] = setting(
        "auto", "`json`: one object a line. `console`: for people. `auto`: console on a terminal, else json."
    )
    level: Literal["debug", "info", "warning", "error"] = setting("info", "The least severity that is written.")


class RunAs(Section):
    """The user that the relay becomes when root starts it."""

    user: Name = setting(REQUIRED, "A user of this machine.")
    group: Name | None = setting(None, "A group of this machine.", shown="the user's own group")
