"""Shaping rules: what is known of providers, and what to make of their replies. Pure.

A `ProviderRules` says which hosts and domains a provider has, how it may be used, and what its replies mean. The
rules of the name `default` hold for everybody: their limits where no others are given, their responses after the
provider's own. Of the response rules, the first that fits decides, and no other is asked. A reply that no rule knows
still has what every reply can say: when to come back (`hints`), and which block list it names (`blocklists`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final

from relay.mail.blocklists import blocklist_of
from relay.model.outcome import Outcome, Verdict
from relay.ports import MailHost
from relay.schedule.effects import NO_REACTION, Effect, Reaction
from relay.schedule.hints import wait_asked_for
from relay.schedule.patterns import PatternSet
from relay.schedule.providers import NameTable
from relay.schedule.shaping import Shape, ShapeException

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that a rule sets; None where it leaves them to others."""

    connections: int | None = None
    connections_start: int | None = None
    connections_per_minute: int | None = None
    messages_per_minute: int | None = None
    messages_per_connection: int | None = None
    recipients: int | None = None

    @property
    def given(self) -> dict[str, int]:
        """The limits that are set, by name."""
        values = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in values if value is not None}

    def over(self, shape: Shape) -> Shape:
        """Return a shape with these limits in place of its own."""
        return replace(shape, **self.given)  # type: ignore[arg-type]  # the names are Shape's


@dataclass(frozen=True, slots=True)
class LimitsException:
    """Other limits from one of our addresses, or from one pool."""

    limits: Limits
    source: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One response rule. Every condition that is given must hold; empty ones hold for all.

    `codes` are reply codes, `enhanced` beginnings of enhanced codes in whole numbers ("4.7" fits 4.7.0 and 4.7.28,
    `x` any class), `stages` values of `Stage`, `texts` patterns of which one must stand in the text.
    """

    name: str
    codes: frozenset[int] = frozenset()
    enhanced: tuple[str, ...] = ()
    stages: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    wait_seconds: float = 0.0
    retries: int = 0
    blocklist: str = ""
    about: str = ""
    source: str = ""
    examples: tuple[str, ...] = ()

    def fits(self, outcome: Outcome) -> bool:
        """Say whether everything but the text fits."""
        if self.codes and outcome.code not in self.codes:
            return False
        if self.stages and outcome.stage.value not in self.stages:
            return False
        return not self.enhanced or any(_begins(outcome.enhanced, one) for one in self.enhanced)


def _begins(enhanced: str, prefix: str) -> bool:
    if prefix.startswith("x."):
        enhanced, prefix = enhanced.partition(".")[2], prefix[2:]
    return f"{enhanced}.".startswith(f"{prefix}.")


class Responses:
    """Response rules in order, compiled: one pass over the text for all of them, none where no code fits."""

    __slots__ = ("_codes", "_owners", "_patterns", "all", "any_code")

    def __init__(self, responses: Sequence[Response]) -> None:
        self.all = tuple(responses)
        self._codes = frozenset(code for one in responses for code in one.codes)
        self.any_code = any(not one.codes for one in responses)
        texts = [(text, number) for number, one in enumerate(responses) for text in one.texts]
        self._patterns = PatternSet([text for text, _ in texts])
        self._owners = [number for _, number in texts]

    def asks_about(self, code: int) -> bool:
        """Say whether a rule may fit a reply code. Replies of success are looked at where a rule names their code."""
        return code in self._codes or (self.any_code and code >= 400)  # noqa: PLR2004

    def first(self, outcome: Outcome) -> Response | None:
        """Return the rule that decides about a reply."""
        if not self.asks_about(outcome.code):
            return None
        found: set[int] | None = None
        for number, one in enumerate(self.all):
            if not one.fits(outcome):
                continue
            if not one.texts:
                return one
            if found is None:
                found = {self._owners[index] for index in self._patterns.search(outcome.text)}
            if number in found:
                return one
        return None


@dataclass(frozen=True)
class ProviderRules:
    """What is known of one provider. `rollup`: all its sites share their limits."""

    name: str
    about: str = ""
    hosts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    rollup: bool = True
    limits: Limits = Limits()
    exceptions: tuple[LimitsException, ...] = ()
    responses: tuple[Response, ...] = ()
    file: str = ""
    source: str = ""

    @cached_property
    def compiled(self) -> Responses:
        """The responses, ready to be asked."""
        return Responses(self.responses)

    def shape(self, base: Shape) -> Shape:
        """Return how the provider may be used; `base` is how everybody may be."""
        named = replace(base, provider=self.name if self.rollup else "", rules=self.name, exceptions=())
        general = self.limits.over(named)
        return replace(
            general,
            exceptions=tuple(
                ShapeException(one.limits.over(general), one.source, one.pool) for one in self.exceptions
            ),
        )


@dataclass(frozen=True, slots=True)
class Match:
    """Why a destination goes by some rules: `pattern` of a host, of a domain, or of a route's host."""

    rules: ProviderRules
    kind: str = ""
    pattern: str = ""
    name: str = ""


class RuleSet:
    """All rules together. Immutable; a reload makes another."""

    def __init__(self, providers: Iterable[ProviderRules] = ()) -> None:
        self.providers: Mapping[str, ProviderRules] = {one.name: one for one in providers}
        self.default = self.providers.get(DEFAULT) or ProviderRules(DEFAULT)
        known = [one for one in self.providers.values() if one.name != DEFAULT]
        self._hosts = NameTable((pattern, one.name) for one in known for pattern in one.hosts)
        self._domains = NameTable((pattern, one.name) for one in known for pattern in one.domains)
        self._routes = NameTable((pattern, one.name) for one in known for pattern in one.routes)

    def of_domain(self, domain: str) -> Match | None:
        """Return the rules that a recipient domain is named in, which go before those of its hosts."""
        return self._match(self._domains, "domain", domain) if self._domains else None

    def of_hosts(self, hosts: Sequence[MailHost]) -> Match | None:
        """Return the rules of the most preferred mail exchangers."""
        if not hosts:
            return None
        best = min(host.preference for host in hosts)
        for name in sorted({host.host.lower() for host in hosts if host.preference == best}):
            if (match := self._match(self._hosts, "host", name)) is not None:
                return match
        return None

    def of_route(self, host: str) -> Match | None:
        """Return the rules of a smart host: those that name it as a route, else as a host."""
        name = host.lower()
        return self._match(self._routes, "route", name) or self._match(self._hosts, "host", name)

    def find(self, hosts: Sequence[MailHost], *, domain: str = "", routed: bool = False) -> Match:
        """Return the rules of a destination; those named `default` where no others fit."""
        if routed:
            match = self.of_route(hosts[0].host)
        else:
            match = (self.of_domain(domain) if domain else None) or self.of_hosts(hosts)
        return match or Match(self.default)

    def _match(self, table: NameTable, kind: str, name: str) -> Match | None:
        found = table.find(name)
        return None if found is None else Match(self.providers[found[0]], kind, found[1], name)

    def shape(self, match: Match, base: Shape) -> Shape:
        """Return how a destination may be used; `base` has what the configuration says for all."""
        general = self.default.limits.over(base)
        if match.rules is not self.default:
            return match.rules.shape(general)
        return replace(self.default.shape(general), provider="", rules="")

    def asks_about(self, rules: str, code: int) -> bool:
        """Say whether a reply code can mean anything: every failure, and successes that a rule names."""
        if code >= 400 or not code:  # noqa: PLR2004
            return bool(code)
        own = self.providers.get(rules)
        return self.default.compiled.asks_about(code) or (own is not None and own.compiled.asks_about(code))

    def decide(self, rules: str, outcome: Outcome) -> Response | None:
        """Return the response rule that decides about a reply: the provider's, else one of those for all."""
        own = self.providers.get(rules) if rules else None
        found = own.compiled.first(outcome) if own is not None and own is not self.default else None
        return found or self.default.compiled.first(outcome)

    def react(self, rules: str, outcome: Outcome) -> Reaction:
        """Return what a remote's reply makes us do; NO_REACTION for most."""
        decided = self.decide(rules, outcome)
        if decided is None and outcome.verdict is Verdict.DELIVERED:
            return NO_REACTION
        listed = blocklist_of(outcome.text)
        name = decided.blocklist if decided is not None and decided.blocklist else listed.name if listed else ""
        waits = wait_asked_for(outcome.text) if outcome.verdict is Verdict.TEMPORARY else 0.0
        if decided is None:
            return (
                Reaction("", (), waits, 0, name, listed is not None and listed.of_domains)
                if waits or name
                else NO_REACTION
            )
        return Reaction(
            decided.name,
            decided.effects,
            decided.wait_seconds or waits,
            decided.retries,
            name,
            listed is not None and listed.of_domains,
        )
