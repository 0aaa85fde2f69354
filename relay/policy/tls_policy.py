"""What TLS a delivery needs, for a site and for each of its hosts: decided here and nowhere else. Pure.

Five voices: the operator (for all domains and for single ones), the sender's configuration set, the sender's message
(REQUIRETLS, `TLS-Required: No`), the recipient's domain (MTA-STS) and its mail exchangers (DANE). A `SiteTls` is all
of it that is the same for every host; deliveries with different ones never share a connection. `of_host` adds what
one host's records say.

- DANE beats MTA-STS (RFC 8461 section 2): where a host has TLSA records, they alone authenticate it.
- The stricter voice wins; `TLS-Required: No` silences what the recipient published, not what the sender's
  configuration set or the operator demand (RFC 8689 section 3).
- REQUIRETLS needs a host that authenticates itself and offers REQUIRETLS (RFC 8689 section 4.2.1).
- An operator's entry for a domain with `none` or `opportunistic` silences what that domain published.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from relay.model.tls import NO_TLSA, StsMode, StsPolicy, Tlsa, TlsaFound
from relay.policy import dane
from relay.policy.mta_sts import names_host

MINIMUM = "1.0"
MINIMUM_REQUIRED = "1.2"
VERSIONS = ("1.0", "1.1", "1.2", "1.3")


class Vouched(StrEnum):
    """Whether the name of a domain's host is certain, and not only what unsigned MX records say."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class TlsNeed(StrEnum):
    """How much TLS a connection needs; `VERIFY` also wants a trusted certificate for the host's name."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRE = "require"
    VERIFY = "verify"


_ORDER = {need: rank for rank, need in enumerate(TlsNeed)}


@dataclass(frozen=True, slots=True)
class DomainRule:
    """What the operator says about a domain: exact, `*.example` for every name below it, `*` for all others.

    `minimum` is the oldest version of TLS, "" the usual one.
    """

    domain: str
    need: TlsNeed
    minimum: str = ""


@dataclass(frozen=True)
class TlsRules:
    """What the operator says: versions accepted where TLS is optional and where it is required; single domains."""

    minimum: str = MINIMUM
    minimum_required: str = MINIMUM_REQUIRED
    domains: tuple[DomainRule, ...] = ()

    def rule(self, domain: str) -> DomainRule | None:
        """Return the closest rule for a domain."""
        known = self._known
        if not known:
            return None
        found, rest = known.get(domain), domain
        while found is None and rest:
            rest = rest.partition(".")[2]
            found = known.get(f"*.{rest}" if rest else "*")
        return found

    @cached_property
    def _known(self) -> dict[str, DomainRule]:
        return {rule.domain.lower(): rule for rule in reversed(self.domains)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a message asks for: by its configuration set, by the MAIL parameter, by its header field."""

    require: bool = False
    requiretls: bool = False
    relaxed: bool = False


NOTHING_ASKED = Asked()


@dataclass(frozen=True)
class SiteTls:
    """What all deliveries of a site have in common. `by` says who demands it, for people; "" for nobody.

    `sts` is the policy in force, `dane` that the MX records are secure, so that TLSA records count. `minimum` is for
    where TLS is optional, `minimum_required` for where it is not. `quiet`: sessions are in no report (RFC 8460 5.3).
    `vouched` counts for REQUIRETLS only: whether anybody but an MTA-STS policy vouches for the names of the hosts.
    """

    need: TlsNeed = TlsNeed.OPPORTUNISTIC
    by: str = ""
    sts: StsPolicy | None = None
    dane: bool = False
    requiretls: bool = False
    quiet: bool = False
    vouched: Vouched = Vouched.YES
    minimum: str = MINIMUM
    minimum_required: str = MINIMUM_REQUIRED

    @cached_property
    def key(self) -> str:
        """What tells its sites from others of the same hosts; "" for plain opportunistic TLS."""
        parts = []
        if self.need is not TlsNeed.OPPORTUNISTIC:
            parts.append(" over TLS only" if self.need is TlsNeed.REQUIRE else f" tls {self.need}")
        if self.sts is not None:
            parts.append(f" mta-sts {self.sts.mode} {','.join(self.sts.mx)}")
        parts += [" dane"] if self.dane else []
        parts += [f" requiretls {self.vouched}"] if self.requiretls else []
        if self.quiet:
            parts.append(" tls not required")
        if (self.minimum, self.minimum_required) != (MINIMUM, MINIMUM_REQUIRED):
            parts.append(f" tls from {self.minimum} {self.minimum_required}")
        return "".join(parts)


PLAIN = SiteTls()


def of_site(
    asked: Asked,
    need: TlsNeed,
    rules: TlsRules = TlsRules(),
    *,
    domain: str = "",
    sts: StsPolicy | None = None,
    secure_mx: bool = False,
    vouched: Vouched = Vouched.YES,
) -> SiteTls:
    """Join the voices that are the same for all hosts. `need` is the operator's word for all domains.

    `sts` is the policy of the domain as it is known now, `secure_mx` that its MX records came signed; `vouched` is as
    in `SiteTls`.
    """
    rule = rules.rule(domain)
    by = "delivery.starttls" if need not in (TlsNeed.OPPORTUNISTIC, TlsNeed.NONE) else ""
    minimum, minimum_required = rules.minimum, rules.minimum_required
    published = not asked.relaxed or asked.requiretls  # RFC 8689 section 4.1: the parameter beats the field
    if rule is not None:
        need, by = rule.need, f"tls_policies for {rule.domain}"
        minimum = rule.minimum or minimum
        minimum_required = max(rule.minimum or minimum_required, MINIMUM_REQUIRED)
        published = published and _ORDER[need] >= _ORDER[TlsNeed.REQUIRE]
    if asked.require and _ORDER[need] < _ORDER[TlsNeed.REQUIRE]:
        need, by = TlsNeed.REQUIRE, "the configuration set"
    if asked.requiretls:
        need, by = TlsNeed.VERIFY, "REQUIRETLS"
    return SiteTls(
        need=need,
        by=by if _ORDER[need] >= _ORDER[TlsNeed.REQUIRE] else "",
        sts=sts if published and sts is not None and sts.mode is not StsMode.NONE else None,
        dane=secure_mx and (published or asked.requiretls),
        requiretls=asked.requiretls,
        quiet=asked.relaxed and not asked.requiretls,
        vouched=vouched if asked.requiretls else Vouched.YES,
        minimum=minimum,
        minimum_required=minimum_required,
    )


@dataclass(frozen=True, slots=True)
class HostTls:
    """How to connect to one host. `policy` names what decided: for records, metrics and reports.

    `verified`: a trusted certificate for `server_name`; `tlsa`: certificates that fit one of these, checked against
    `names`. `refusal`: the host must not be used at all, and why; `permanent` when that is how it is. `result`: what
    a report calls the failure that is known before anybody connects (RFC 8460 section 4.3). `soft`: a failure is
    reported, and the delivery goes on as `after_testing` says.
    """

    need: TlsNeed
    policy: str
    why: str
    server_name: str
    minimum: str
    verified: bool = False
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    requiretls: bool = False
    soft: bool = False
    refusal: str = ""
    permanent: bool = False
    result: str = ""

    @property
    def bound(self) -> bool:
        """True when nothing may leave without TLS."""
        return _ORDER[self.need] >= _ORDER[TlsNeed.REQUIRE]


def of_host(site: SiteTls, host: str, found: TlsaFound = NO_TLSA) -> HostTls:
    """Return how to connect to a host of a site; `found` are its TLSA records where `site.dane` says to look."""
    if found.failure:  # RFC 7672 section 2.1.2: no downgrade for want of an answer
        text = f"the TLSA records of {host} cannot be looked up: {found.failure}"
        return _refused(site, host, "dane", text, "dnssec-invalid")
    if found.applies:
        return _by_dane(site, host, found)
    policy = site.sts
    if site.requiretls and site.vouched is not Vouched.YES and not (policy and names_host(policy, host)):
        return _unvouched(site, host)
    if policy is not None and not names_host(policy, host):
        text = f"the MTA-STS policy of the domain does not name {host}"
        if policy.mode is StsMode.ENFORCE:  # RFC 8461 section 4.2
            return _refused(site, host, "sts", text, "validation-failure")
        return _plain(site, host, "sts", result="validation-failure")
    if policy is not None:
        enforced = policy.mode is StsMode.ENFORCE
        return HostTls(
            need=TlsNeed.VERIFY,
            policy="sts",
            why="MTA-STS of the domain" if enforced else "MTA-STS of the domain (testing)",
            server_name=host,
            minimum=site.minimum_required,
            verified=True,
            requiretls=site.requiretls,
            soft=not enforced and not site.requiretls,
        )
    return _plain(site, host, "none")


def after_testing(site: SiteTls, host: str) -> HostTls:
    """Return how to connect where what `mode: testing` would ask for has failed (RFC 8461 section 5)."""
    return _plain(site, host, "sts")


def _by_dane(site: SiteTls, host: str, found: TlsaFound) -> HostTls:
    records = dane.usable(found.records)
    verified = not records and site.need is TlsNeed.VERIFY
    if not records:  # RFC 7672 section 2.2: TLS in any case, of anybody
        return HostTls(
            need=TlsNeed.VERIFY if verified else TlsNeed.REQUIRE,
            policy="dane",
            why="DANE (no usable TLSA record)",
            server_name=host if verified else found.base,
            minimum=site.minimum_required,
            verified=verified,
            requiretls=site.requiretls,
        )
    return HostTls(
        need=TlsNeed.VERIFY,
        policy="dane",
        why="DANE",
        server_name=found.base,  # RFC 7672 section 8.1
        minimum=site.minimum_required,
        tlsa=records,
        names=tuple(dict.fromkeys((found.base, host))),
        requiretls=site.requiretls,
    )


def _needs(site: SiteTls) -> bool:
    return _ORDER[site.need] >= _ORDER[TlsNeed.REQUIRE]


def _plain(site: SiteTls, host: str, policy: str, result: str = "") -> HostTls:
    verified = site.need is TlsNeed.VERIFY
    return HostTls(
        need=site.need,
        policy=policy,
        why=site.by,
        server_name=host,
        minimum=site.minimum_required if _needs(site) else site.minimum,
        verified=verified,
        requiretls=site.requiretls,
        result=result,
    )


def _unvouched(site: SiteTls, host: str) -> HostTls:
    """RFC 8689 section 4.2.1: a name from unsigned MX records that no MTA-STS policy has is nobody's proof."""
    text = f"neither signed MX records nor an MTA-STS policy vouch for {host}, as REQUIRETLS needs"
    refused = _refused(site, host, "none", text, "validation-failure")
    return replace(refused, permanent=site.vouched is Vouched.NO)


def _refused(site: SiteTls, host: str, policy: str, text: str, result: str) -> HostTls:
    return HostTls(
        need=TlsNeed.VERIFY,
        policy=policy,
        why="",
        server_name=host,
        minimum=site.minimum_required,
        requiretls=site.requiretls,
        refusal=text,
        result=result,
    )


def result_of(text: str, host: HostTls, *, offered: bool) -> str:
    """Return what a TLS failure is called in reports (RFC 8460 section 4.3), from the words that describe it."""
    if not offered:
        return "starttls-not-supported"
    words = text.lower()
    if "hostname mismatch" in words or "ip address mismatch" in words:
        return "certificate-host-mismatch"
    if "expired" in words:
        return "certificate-expired"
    if "tlsa" in words:
        return "validation-failure"
    if "certificate" in words:
        return "validation-failure" if host.tlsa else "certificate-not-trusted"
    return "validation-failure"


def in_words(host: HostTls) -> Sequence[str]:
    """Return what a host would get, for people: one phrase each."""
    if host.refusal:
        return (f"not used: {host.refusal}",)
    if host.need is TlsNeed.NONE:
        return ("no TLS",)
    if host.need is TlsNeed.OPPORTUNISTIC:
        return (f"TLS {host.minimum} or newer where it works, else clear text",)
    checks = [f"TLS {host.minimum} or newer, never clear text"]
    if host.tlsa:
        checks.append("certificate checked against TLSA " + ", ".join(map(str, host.tlsa)))
    elif host.verified:
        checks.append(f"certificate trusted and for {host.server_name}")
    if host.soft:
        checks = [f"tried: {checks[0]}", *checks[1:], "what fails is reported, and delivered all the same"]
    if host.requiretls:
        checks.append("only if the host offers REQUIRETLS")
    return tuple(checks)
