"""Shaping rules at work (relay.pipeline.departure.Shapes): which limits a destination has, what a reply makes us do.

Rules are exchanged whole by `use`. What a reply came to is remembered by its words, since many deliveries get the
same ones; nothing else is kept here.
"""

from collections.abc import Sequence
from typing import Final

from relay.model.outcome import Outcome
from relay.ports import MailHost
from relay.schedule.effects import NO_REACTION, Reaction
from relay.schedule.shaping import Shape
from relay.schedule.shaping_rules import RuleSet

REMEMBERED_MAX: Final = 2000
_Key = tuple[str, str, str, int, str, str]


class RuleShapes:
    """Knows how destinations may be used, by the rules in force."""

    def __init__(self, rules: RuleSet, base: Shape) -> None:
        self.rules = rules
        self._base = base
        self._remembered: dict[_Key, Reaction] = {}

    def use(self, rules: RuleSet, base: Shape) -> None:
        """Go by other rules from now on; `base` is what the configuration allows everybody."""
        self.rules = rules
        self._base = base
        self._remembered.clear()

    def special(self, domain: str) -> str:
        """Return the rules that a domain has whatever its hosts are, "" for none."""
        match = self.rules.of_domain(domain)
        return match.rules.name if match is not None else ""

    def shape(self, site: str, hosts: Sequence[MailHost], *, domain: str = "", routed: bool = False) -> Shape:
        """Return the limits of a site."""
        del site
        return self.rules.shape(self.rules.find(hosts, domain=domain, routed=routed), self._base)

    def react(self, shape: Shape, outcome: Outcome) -> Reaction:
        """Return what the rules make of a remote's reply."""
        if not self.rules.asks_about(shape.rules, outcome.code):
            return NO_REACTION
        key = (shape.rules, outcome.verdict, outcome.stage, outcome.code, outcome.enhanced, outcome.text)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[key] = self.rules.react(shape.rules, outcome)
        return found
