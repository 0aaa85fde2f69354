"""TLS for the deliveries to one domain, or over one route: what is the same for all of them is worked out once."""

from relay.model.message import SendOptions
from relay.model.tls import StsPolicy
from relay.policy.tls_policy import NOTHING_ASKED, Asked, SiteTls, TlsNeed, TlsRules, Vouched, of_site
from relay.ports import MailHosts, StsAnswer
from relay.schedule.route import TlsMode

_OF_HOSTS = {
    TlsMode.NONE: TlsNeed.NONE,
    TlsMode.OPPORTUNISTIC: TlsNeed.OPPORTUNISTIC,
    TlsMode.REQUIRE: TlsNeed.REQUIRE,
    TlsMode.IMPLICIT: TlsNeed.VERIFY,
}
_OF_ROUTES = {**_OF_HOSTS, TlsMode.REQUIRE: TlsNeed.VERIFY}  # the operator named the host, so its name is sure


class DomainTls:
    """Answers for each message of a domain what TLS it needs."""

    __slots__ = ("_domain", "_need", "_others", "_rules", "_secure_mx", "_sts", "_vouched", "plain")

    def __init__(
        self,
        need: TlsNeed,
        rules: TlsRules,
        domain: str = "",
        sts: StsPolicy | None = None,
        *,
        secure_mx: bool = False,
        vouched: Vouched = Vouched.YES,
    ) -> None:
        self._need = need
        self._rules = rules
        self._domain = domain
        self._sts = sts
        self._secure_mx = secure_mx
        self._vouched = vouched
        self._others: dict[Asked, SiteTls] = {}
        self.plain = self._of(NOTHING_ASKED)

    def of(self, options: SendOptions) -> SiteTls:
        """Return what a message needs; most messages ask for nothing."""
        if not (options.tls_required or options.requiretls or options.tls_relaxed):
            return self.plain
        asked = Asked(options.tls_required, options.requiretls, options.tls_relaxed)
        found = self._others.get(asked)
        if found is None:
            found = self._others[asked] = self._of(asked)
        return found

    def _of(self, asked: Asked) -> SiteTls:
        return of_site(
            asked,
            self._need,
            self._rules,
            domain=self._domain,
            sts=self._sts,
            secure_mx=self._secure_mx,
            vouched=self._vouched,
        )


def of_hosts(
    mode: TlsMode, rules: TlsRules, domain: str, hosts: MailHosts, sts: StsAnswer, *, dane: bool
) -> DomainTls:
    """Return the TLS of deliveries to the mail exchangers of a domain; `dane`: TLSA records count."""
    certain = hosts.secure or hosts.implicit or not hosts.hosts  # without MX records the host is who was asked for
    vouched = Vouched.YES if certain else Vouched.NO if sts.sure else Vouched.UNKNOWN
    return DomainTls(_OF_HOSTS[mode], rules, domain, sts.policy, secure_mx=hosts.secure and dane, vouched=vouched)


def of_route(mode: TlsMode, rules: TlsRules) -> DomainTls:
    """Return the TLS of deliveries over a route: nothing that anybody published counts there."""
    return DomainTls(_OF_ROUTES[mode], rules)
