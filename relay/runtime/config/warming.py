"""Settings of warm-up: how fast source addresses that warm up come to their full volume."""

from typing import Annotated

from pydantic import Field

from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import Address, Flag, Kind, Number, Share
from relay.schedule.warmup import SHARES

Label = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._-]{1,100}$"), Kind("name")]
Volume = Annotated[int, Field(strict=True, ge=1, le=10**9), Kind("number")]


class WarmUpSchedule(Section):
    """A schedule of daily volumes."""

    name: Label = setting(REQUIRED, "A name for it; `default` is taken by the one of 45 days up to 50,000.")
    volumes: tuple[Volume, ...] = setting(
        REQUIRED, "Messages that an address may send on the first day, the second, ...", min_length=1, max_length=366
    )


class WarmUpShare(Section):
    """What a provider may get of an address's volume."""

    provider: Label = setting(
        REQUIRED, "A provider of the shaping rules, or the exchangers of a site; `other`: all that are not named."
    )
    share: Share = setting(REQUIRED, "Its share of each day's volume.")


class WarmUpAddress(Section):
    """An address with a schedule of its own."""

    address: Address = setting(REQUIRED, "A source address.")
    schedule: Label = setting(REQUIRED, "The name of a schedule.")


class WarmUpHealth(Section):
    """When answers of receivers set a warm-up back."""

    enabled: Flag = setting(True, "Whether they do.")
    bounce_rate: Share = setting(
        "10%", "Share of a day's attempts that bounce, at once or later, above which the day does not count."
    )
    block_rate: Share = setting("5%", "The same for answers that are about us (enhanced codes x.7.x).")
    complaint_rate: Share = setting("0.3%", "The same for complaints that came back on a day, of three or more.")
    attempts_min: Number = setting(50, "Attempts on a day that a rate needs to count.", ge=1, le=10**9)
    step_back: Number = setting(3, "Days that are taken back beside, above twice a rate.", ge=0, le=366)


class Warming(Section):
    """How addresses that warm up come to their full volume."""

    schedule: Label = setting("default", "The schedule of all addresses that have none of their own.")
    schedules: tuple[WarmUpSchedule, ...] = setting((), "Further schedules.", max_length=100)
    addresses: tuple[WarmUpAddress, ...] = setting((), "Addresses with a schedule of their own.", max_length=10_000)
    shares: tuple[WarmUpShare, ...] = setting(
        (),
        "What each provider may get of a day's volume.",
        shown=", ".join(f"{provider} {share:g}%" for provider, share in SHARES.items()),
        max_length=1000,
    )
    health: WarmUpHealth = setting({}, "When answers of receivers set a warm-up back.")
