"""Settings of TLS to mail exchangers: what single domains need, MTA-STS, and reports on TLS."""

from typing import Literal

from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import DomainPattern, Duration, FilePath, Flag, Mailbox, Number, OpenPort, Text

TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]


class TlsPolicy(Section):
    """What TLS the mail exchangers of a domain need, whatever `delivery.starttls` says for all."""

    domain: DomainPattern = setting(
        REQUIRED, "A recipient domain, `*.example` for every name below it, or `*` for all. The closest match counts."
    )
    tls: Literal["none", "opportunistic", "require", "verify"] = setting(
        REQUIRED,
        "`require`: TLS in any case; `verify`: with a trusted certificate for the host's name, too. With `none` and "
        "`opportunistic` what the domain publishes (MTA-STS, DANE) does not count; the others come on top of it.",
    )
    minimum_version: TlsVersion | None = setting(
        None, "The oldest version of TLS for this domain; at least 1.2 where TLS is required.", shown="as for all"
    )


class MtaSts(Section):
    """MTA-STS policies of recipient domains (RFC 8461)."""

    enabled: Flag = setting(True, "Looks for policies, and obeys them.")
    timeout: Duration = setting("60s", "How long fetching a policy may take.", ge=0.1, le=60.0)
    ca_file: FilePath | None = setting(
        None, "Authorities that certificates of policy hosts are checked with, as PEM.", shown="those of the system"
    )
    port: OpenPort = setting(443, "The port of policy hosts. Other values are for tests.")
    allow_private_hosts: Flag = setting(
        False,
        "Fetches policies from loopback, private and link-local addresses, too. A stranger's record can then make "
        "the relay talk to hosts of the inner network.",
    )


class TlsReports(Section):
    """Daily reports on TLS to domains that ask for them (RFC 8460). None are made without a `contact`."""

    contact: Mailbox | None = setting(
        None, "Whom receivers may ask about reports; it is in every one of them. Switches reports on."
    )
    organization: Text = setting("", "The name of who reports.", shown="the hostname")
    delay: Duration = setting(
        "4h",
        "Reports of a day begin at a random time within this long after midnight (UTC), so that not everybody's "
        "come at once.",
        ge=0.0,
        le=12 * 3600.0,
    )
    domains_max: Number = setting(
        10_000, "Domains that one day's reports are about; more are not reported.", ge=1, le=1_000_000
    )
