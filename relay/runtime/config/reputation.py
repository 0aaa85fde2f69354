"""Settings of statistics, and of what follows from how accounts send."""

from typing import Literal

from relay.runtime.config.section import Section, setting
from relay.runtime.config.values import Duration, FilePath, Flag, Name, Number, Share

DEFAULT_PROVIDERS = ("comcast", "cox", "fastmail", "laposte", "libero", "mailru", "orange", "outlook", "rackspace",
                     "seznam", "sfr", "uol", "yahoo", "yandex", "zoho")  # fmt: skip


class StatisticsSettings(Section):
    """How long counts are kept. Those of 15 minutes are kept for 14 days."""

    hourly: Duration = setting(
        "90d", "How long counts of an hour are kept, from the sending on.", ge=14 * 86400.0, le=3660 * 86400.0
    )
    daily: Duration = setting(
        "730d", "How long counts of a day are kept, from the sending on.", ge=14 * 86400.0, le=36600 * 86400.0
    )


class Reputation(Section):
    """When an account, or a configuration set with reputation metrics, is under review, and when it is paused."""

    enabled: Flag = setting(
        True, "Opens cases by itself and leads them to their end. Rates are counted and shown in any case."
    )
    bounce_review: Share = setting("5%", "The bounce rate from which a review begins.")
    bounce_pause: Share = setting("10%", "The bounce rate from which sending may be paused.")
    complaint_review: Share = setting("0.1%", "The complaint rate from which a review begins.")
    complaint_pause: Share = setting("0.5%", "The complaint rate from which sending may be paused.")
    volume_min: Number = setting(500, "Messages that a rate needs before anything follows from it.", ge=1, le=10**9)
    review_period: Duration = setting("21d", "How long a review takes.", ge=1.0, le=366 * 86400.0)
    pause: Literal["at_end", "at_once", "never"] = setting(
        "at_end",
        "What a rate at its limit for a pause does. `at_end`: sending is paused when that is still so at the end of "
        "the review. `at_once`: it is paused without waiting. `never`: an administrator is asked.",
    )
    repeats: Number = setting(
        2,
        "Reviews for the same cause within half a year after which the next one pauses at once; 0: never.",
        ge=0,
        le=100,
    )
    feedback_providers: tuple[Name, ...] = setting(
        DEFAULT_PROVIDERS,
        "Providers, by the names of their shaping rules, whose feedback loops this relay has joined: complaints are "
        "counted against the mail to them. Take out those that you have not joined.",
        max_length=1000,
    )
    spamtraps: FilePath | None = setting(
        None, "A file of addresses that are spamtraps, one a line. They are shown nowhere."
    )
    spamtrap_hits: Number = setting(1, "Messages to spamtraps from which a review begins.", ge=1, le=10**6)
    spamtrap_pause_hits: Number = setting(
        0, "Messages to spamtraps from which sending is paused without a review; 0: never.", ge=0, le=10**6
    )
    blocked_review: Share = setting(
        "5%", "The share of a day's messages refused because of a block list from which a review begins."
    )
    blocked_pause: Share = setting("25%", "The share of them from which sending is paused without waiting.")
    sampled_per_hour: Number = setting(
        5,
        "Messages of an account and hour, for each worker, whose links and images are looked up in "
        "`own_checks.domain_lists`; 0: none. A listed domain opens a case.",
        ge=0,
        le=100,
    )
    every: Duration = setting("1m", "How long after one look at what changed the next begins.", ge=0.1, le=3600.0)
