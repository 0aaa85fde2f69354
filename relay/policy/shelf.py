"""Policies ready to be asked: stored texts are read once, not once a request.

A text that was stored and cannot be read any more, such as one of another region, becomes a policy that denies
everything: it may have held a Deny. Kept is what was asked for last, bounded by the length of the texts; what one
request may have read anew is bounded too, since fifty authors could bring fifty times eighty kilobytes.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from relay.model.account import PolicyTexts
from relay.policy.arn import IdentityArn
from relay.policy.document import Faults, parse_identity_policy, parse_user_policy
from relay.policy.statements import Actions, Effect, Policy, Statement

KEPT_MAX_CHARS = 1 << 20  # 256 policies of the largest size; a compiled one takes about ten times its text
READ_MAX_CHARS = 1 << 17  # anew for one request, 25 ms; one identity and one user have 92,160 bytes at most
TOO_MANY = "(too many policies to read for one request)"
UNREADABLE = "(the stored text cannot be read)"

_DENY_ALL = Statement(Effect.DENY, Actions(frozenset(), negated=True), sid=UNREADABLE)
_USER_POLICY = "policy"  # a user's policy may have a name that an identity's may not
_Key = tuple[IdentityArn | None, PolicyTexts]


class Shelf:
    """Compiled policies by their texts; `services` are the service principals this relay knows."""

    __slots__ = ("_chars", "_old", "_read_chars", "_services", "_young")

    def __init__(self, services: Collection[str] = ()) -> None:
        self._services = services
        self._young: dict[_Key, tuple[Policy, ...]] = {}
        self._old: dict[_Key, tuple[Policy, ...]] = {}
        self._chars = 0
        self._read_chars = 0

    def begin(self) -> None:
        """Begin a request."""
        self._read_chars = 0

    def of_identity(self, arn: IdentityArn, texts: PolicyTexts) -> tuple[Policy, ...]:
        """Return the policies attached to an identity."""
        if not texts:
            return ()
        services = self._services
        return self._kept((arn, texts), lambda name, text: parse_identity_policy(name, text, arn, services))

    def of_user(self, texts: PolicyTexts) -> tuple[Policy, ...]:
        """Return the policies of a user; one that has none may do nothing."""
        if not texts:
            return _NOTHING
        return self._kept((None, texts), lambda _, text: parse_user_policy(_USER_POLICY, text))

    def _kept(self, key: _Key, read: Callable[[str, str], Policy | Faults]) -> tuple[Policy, ...]:
        found = self._young.get(key)
        if found is not None:
            return found
        found = self._old.pop(key, None)
        chars = sum(len(text) for _, text in key[1])
        if found is None:
            self._read_chars += chars
            if self._read_chars > READ_MAX_CHARS:
                return _UNREAD
            found = tuple(_sealed(name, read(name, text)) for name, text in key[1])
        if self._chars + chars > KEPT_MAX_CHARS // 2:
            self._old, self._young, self._chars = self._young, {}, 0
        self._chars += chars
        self._young[key] = found
        return found


_NOTHING = (Policy("(no policy)", ()),)
_UNREAD = (Policy("(unread)", (replace(_DENY_ALL, sid=TOO_MANY),)),)


def _sealed(name: str, read: Policy | Faults) -> Policy:
    return Policy(name, (_DENY_ALL,)) if isinstance(read, Faults) else replace(read, name=name)
