"""Which deliveries an operator means: every criterion given must hold, of its values any one.

Pure: the time and the domains that a site serves are arguments. What is matched may be hostile: values are compared
as they are or by patterns that do not backtrack; a regular expression is the operator's own and bounded in length.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from relay.errors import UsageError
from relay.model.delivery import OPEN_STATES, DeliveryState
from relay.model.queue_entry import QueueEntry
from relay.policy.glob import Glob

VALUES_MAX = 1000
VALUE_MAX_CHARACTERS = 1000
PATTERN_MAX_CHARACTERS = 200

STANDING = frozenset({"accounts", "configuration_sets", "domains", "recipients", "senders", "pools"})
_LISTS = (*sorted(STANDING), "message_ids", "sites", "sources")

Predicate = Callable[[QueueEntry], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """Criteria; an empty one stands for anything.

    A domain that begins with a dot means it and all below; a sender or recipient may have `*` and `?`. `older_ms`
    and `newer_ms` are ages since acceptance. `reply` is looked for without case, `reply_pattern` is a regular
    expression; both in the last reply. Only those in `STANDING` can be told of mail that has not been accepted yet.
    """

    states: frozenset[DeliveryState] = OPEN_STATES
    message_ids: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    configuration_sets: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    older_ms: int = 0
    newer_ms: int = 0
    reply: str = ""
    reply_pattern: str = ""
    _pattern: re.Pattern[str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        for name in _LISTS:
            values = getattr(self, name)
            if len(values) > VALUES_MAX or any(not value or len(value) > VALUE_MAX_CHARACTERS for value in values):
                raise UsageError(f"At most {VALUES_MAX} values of at most {VALUE_MAX_CHARACTERS} characters: {name}.")
        if len(self.reply) > VALUE_MAX_CHARACTERS or len(self.reply_pattern) > PATTERN_MAX_CHARACTERS:
            raise UsageError(f"A text for the last reply has at most {PATTERN_MAX_CHARACTERS} characters.")
        if self.reply_pattern:
            try:
                pattern = re.compile(self.reply_pattern, re.IGNORECASE)
            except (re.error, RecursionError, OverflowError) as error:
                raise UsageError(f"{self.reply_pattern!r} is no regular expression: {error}.") from error
            object.__setattr__(self, "_pattern", pattern)

    @property
    def everything(self) -> bool:
        """True when no criterion is given but the states."""
        return not self.given() - {"states"}

    def given(self) -> set[str]:
        """Return the names of the criteria that are given."""
        return {
            each.name
            for each in fields(self)
            if not each.name.startswith("_") and getattr(self, each.name) != getattr(_ANY, each.name)
        }

    def matcher(self, now_ms: int, site_domains: Collection[str] = ()) -> Predicate:
        """Return what says whether a delivery is meant; `site_domains` are the domains that the sites serve."""
        tests = list(self._tests(now_ms, site_domains))
        if len(tests) == 1:
            return tests[0]
        return lambda entry: all(test(entry) for test in tests)

    def _tests(self, now_ms: int, site_domains: Collection[str]) -> "list[Predicate]":
        states, pattern, reply = self.states, self._pattern, self.reply.lower()
        ids, accounts, pools = frozenset(self.message_ids), frozenset(self.accounts), frozenset(self.pools)
        sets, sources = frozenset(self.configuration_sets), frozenset(self.sources)
        oldest = now_ms - self.newer_ms if self.newer_ms else 0
        newest = now_ms - self.older_ms
        possible: list[tuple[object, Predicate]] = [
            (True, lambda entry: entry.state in states),
            (ids, lambda entry: entry.message_id in ids),
            (accounts, lambda entry: entry.account in accounts),
            (sets, lambda entry: entry.options.configuration_set in sets),
            (pools, lambda entry: entry.options.pool in pools),
            (sources, lambda entry: entry.source in sources),
            (self.older_ms, lambda entry: entry.accepted_ms <= newest),
            (self.newer_ms, lambda entry: entry.accepted_ms >= oldest),
            (self.sites, lambda entry: entry.domain in site_domains),
            (reply, lambda entry: reply in entry.last_reply.lower()),
            (pattern, lambda entry: pattern is not None and pattern.search(entry.last_reply) is not None),
            (self.domains, _in_domains(self.domains)),
            (self.recipients, _like(self.recipients, lambda entry: entry.recipient)),
            (self.senders, _like(self.senders, lambda entry: entry.sender)),
        ]
        return [test for given, test in possible if given]

    def as_json(self) -> dict[str, Any]:
        """Return what is given, for a file or a log."""
        values = {name: getattr(self, name) for name in sorted(self.given())}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}


_ANY = Selection()


def selection_of(values: Mapping[str, Any]) -> Selection:
    """Return the standing selection that `as_json` made the values of. Raise UsageError."""
    given: dict[str, Any] = {
        name: tuple(value)
        for name, value in values.items()
        if name in STANDING and isinstance(value, list) and all(isinstance(one, str) for one in value)
    }
    if not given or len(given) != len(values):
        raise UsageError(f"this is no selection of mail to come: {', '.join(map(str, values)) or 'nothing'}")
    return Selection(**given)


def _in_domains(domains: tuple[str, ...]) -> Predicate:
    exact = frozenset(domain.lstrip(".").lower() for domain in domains)
    below = tuple(domain.lower() for domain in domains if domain.startswith("."))
    if not below:
        return lambda entry: entry.domain in exact
    return lambda entry: (domain := entry.domain) in exact or domain.endswith(below)


def _like(patterns: tuple[str, ...], text: Callable[[QueueEntry], str]) -> Predicate:
    exact = frozenset(pattern.lower() for pattern in patterns)
    globs = [Glob(pattern) for pattern in exact if "*" in pattern or "?" in pattern]
    if not globs:
        return lambda entry: text(entry).lower() in exact

    def test(entry: QueueEntry) -> bool:
        value = text(entry).lower()
        return value in exact or any(glob.fits(value) for glob in globs)

    return test
