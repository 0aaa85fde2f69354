"""Settings of the checks of the relay's own addresses, names and records."""

from typing import Annotated, Any, Literal

from pydantic import Field

from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import Domain, Duration, Flag, Kind, Text

ListName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$"), Kind("name")]

DEFAULT_BLOCK_LISTS: tuple[dict[str, Any], ...] = (
    {"name": "Spamhaus ZEN", "zone": "zen.spamhaus.org", "about": "https://check.spamhaus.org/"},
    {"name": "SpamCop", "zone": "bl.spamcop.net", "about": "https://www.spamcop.net/bl.shtml"},
    {"name": "Barracuda", "zone": "b.barracudacentral.org", "about": "https://www.barracudacentral.org/lookups"},
    {"name": "PSBL", "zone": "psbl.surriel.com", "action": "show", "about": "https://psbl.org/"},
    {
        "name": "UCEPROTECT 1",
        "zone": "dnsbl-1.uceprotect.net",
        "action": "show",
        "about": "https://www.uceprotect.net/en/rblcheck.php",
    },
)
DEFAULT_DOMAIN_LISTS: tuple[dict[str, Any], ...] = (
    {"name": "Spamhaus DBL", "zone": "dbl.spamhaus.org", "about": "https://check.spamhaus.org/"},
    {"name": "SURBL", "zone": "multi.surbl.org", "about": "https://surbl.org/surbl-analysis"},
)


class BlockListSetting(Section):
    """A DNS block list of addresses."""

    name: ListName = setting(REQUIRED, "What it is called in commands, metrics and mails.")
    zone: Domain = setting(REQUIRED, "Its DNS zone.")
    action: Literal["show", "warn", "withdraw"] = setting(
        "warn",
        "`show`: a listing is seen in commands and metrics only. `warn`: the contact is told. `withdraw`: nothing "
        "leaves from the address until the listing ends, either.",
    )
    about: Text = setting("", "Where to read about a listing and how to end it.")


class DomainListSetting(Section):
    """A DNS block list of domains, for the links in messages (`relay lint`)."""

    name: ListName = setting(REQUIRED, "What it is called.")
    zone: Domain = setting(REQUIRED, "Its DNS zone.")
    about: Text = setting("", "Where to read about it.")


class OwnChecks(Section):
    """What receivers find when they look at the relay: reverse names, SPF, block lists, certificate, clock."""

    enabled: Flag = setting(True, "Looks by itself; `relay doctor` looks in any case.")
    every: Duration = setting("1h", "How long after one look the next begins.", ge=10.0, le=7 * 86400.0)
    private_addresses: Flag = setting(
        False, "Also looks at source addresses that the Internet does not route, such as those of a test."
    )
    block_lists: tuple[BlockListSetting, ...] = setting(
        DEFAULT_BLOCK_LISTS,
        "Lists that are asked about the relay's addresses. Many answer registered name servers only, and their terms "
        "are yours to keep; an empty list asks none.",
        max_length=100,
    )
    domain_lists: tuple[DomainListSetting, ...] = setting(
        DEFAULT_DOMAIN_LISTS,
        "Lists that `relay lint`, and the look at samples of mail, ask about the domains of links and images.",
        max_length=100,
    )
