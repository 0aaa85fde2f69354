"""What the sink's DNS answers: domains given by option, a relay's own name, its identities and their keys.

The catalog is read again at most once a second, and only when a question comes: an identity created a moment ago
resolves. While the catalog cannot be read, what was known last is answered.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from relay.errors import RelayError
from relay.runtime.cli.sink_dns import Zone

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site

REFRESH_SECONDS = 1.0
IDENTITIES_MAX = 10_000


class ZoneSource:
    """The current zone. `config` None, and no configuration where one is looked for: the given domains only."""

    def __init__(self, site: "Site | None", address: str, domains: Iterable[str]) -> None:
        self._site = site
        self._given = frozenset(domain.lower().rstrip(".") for domain in domains)
        self._zone = Zone(self._given, address)
        self._read_at = float("-inf")

    def current(self) -> Zone:
        """Return the zone as of a second ago at most."""
        now = time.monotonic()
        if self._site is not None and now - self._read_at > REFRESH_SECONDS:
            self._read_at = now
            try:
                self._zone = self._read(self._site)
            except RelayError:
                return self._zone
        return self._zone

    def _read(self, site: "Site") -> Zone:
        from relay.runtime.cli.identity import all_identities  # noqa: PLC0415

        domains = set(self._given)
        texts: dict[str, str] = {}
        with site.catalog() as catalog:
            for account in catalog.accounts.list():
                for identity in all_identities(catalog, account.account_id):
                    if identity.kind != "DOMAIN" or len(domains) >= IDENTITIES_MAX:
                        continue
                    domains.add(identity.name)
                    details = catalog.identities.require(account.account_id, identity.name)
                    texts |= {key.name(identity.name).lower(): key.public_txt for key in details.keys}
        return Zone(frozenset(domains), self._zone.address, texts, frozenset({site.config.hostname}))


def address_for(host: str) -> str:
    """Return the address that names resolve to for a sink that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104
