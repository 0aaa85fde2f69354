"""Custom MAIL FROM domains of identities: set, changed and given up (MFROM-002, 003, 008, 010).

The domain is a subdomain of the identity's own. Setting another one starts its check in DNS from the beginning; until
the MX record is found the fallback holds. What mail uses is read by `relay.store.directory`.
"""

from collections.abc import Sequence

from relay.errors import NotFoundError, UsageError
from relay.mail.address import BadAddress, normal_domain
from relay.model.account import MailFromFallback
from relay.model.check import Aspect
from relay.policy import checks
from relay.policy.identity import covering_domains
from relay.store.catalog_checks import put_check, read_checks
from relay.store.catalog_identities import canonical_name
from relay.store.catalog_tables import Tables


class MailFroms:
    """Sets and clears MAIL FROM domains. Unknown identities raise NotFoundError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def set(
        self,
        account: str,
        name: str,
        domain: str,
        *,
        fallback: MailFromFallback = MailFromFallback.USE_DEFAULT_VALUE,
        own_names: Sequence[str] = (),
    ) -> str:
        """Use a domain for the return paths of an identity; return a warning for the operator, or "".

        `own_names` are domains the relay takes mail for itself. Raise UsageError for a domain that cannot be.
        """
        kept = self._require(account, name)
        wanted = _checked(domain, kept, own_names)
        with self._tables.writing(account):
            self._require_parent(account, kept)
            before = self._tables.row("get_mail_from", {"account": account, "name": kept})
            values = {"account": account, "name": kept, "domain": wanted, "fallback": str(fallback)}
            self._tables.run("set_mail_from", values)
            check = read_checks(self._tables, account, kept).get(Aspect.MAIL_FROM)
            if before is None or before[0] != wanted or check is None or not check.next_ms:
                put_check(self._tables, account, kept, checks.started(Aspect.MAIL_FROM, self._tables.now_ms()))
        return self._warning(account, wanted)

    def clear(self, account: str, name: str) -> None:
        """Send with the relay's own return paths again (MFROM-010)."""
        kept = self._require(account, name)
        fallback = str(MailFromFallback.USE_DEFAULT_VALUE)
        with self._tables.writing(account):
            self._tables.run("set_mail_from", {"account": account, "name": kept, "domain": "", "fallback": fallback})
            self._tables.run("delete_check", {"account": account, "identity": kept, "aspect": str(Aspect.MAIL_FROM)})

    def _require(self, account: str, name: str) -> str:
        kept, _ = canonical_name(name)
        if self._tables.row("get_identity", {"account": account, "name": kept}) is None:
            raise NotFoundError(f"Account {account} has no identity {name}.")
        return kept

    def _require_parent(self, account: str, kept: str) -> None:
        """Refuse an address whose domain is not the account's own (MFROM-010)."""
        if "@" not in kept:
            return
        domain = kept.rpartition("@")[2].lower()
        names = covering_domains(domain)
        if not any(self._tables.row("get_identity", {"account": account, "name": one}) for one in names):
            raise UsageError(
                f"{domain} is no identity of account {account}; create it first, or set the domain on it instead."
            )

    def _warning(self, account: str, domain: str) -> str:
        """Say when mail is also sent from the domain, so that bounces and feedback would meet there (MFROM-003)."""
        if not self._tables.row("sends_from_domain", {"account": account, "domain": domain}):
            return ""
        return f"{domain} is also an identity to send from; feedback mailed to it would come back to the relay."


def _checked(domain: str, kept: str, own_names: Sequence[str]) -> str:
    wanted = normal_domain(domain)
    parent = kept.rpartition("@")[2].lower()
    if isinstance(wanted, BadAddress):
        raise UsageError(f"{domain[:80]!r} is not a domain name; give a subdomain such as mail.{parent}.")
    if not wanted.endswith(f".{parent}"):
        raise UsageError(f"A MAIL FROM domain is a subdomain of the identity's own, such as mail.{parent}.")
    for own in own_names:
        if wanted == own or wanted.endswith(f".{own}"):
            raise UsageError(f"The relay takes mail for {own} itself; choose another subdomain of {parent}.")
    return wanted
