"""Subscriptions of topics in the catalog, and their life (TOPIC-120 to TOPIC-125).

A subscription waits for its endpoint to confirm it with a token; of the token only a hash is kept. What the endpoint
is to be asked or told is not sent from here: `unasked` lists it, in the same transaction as the change it comes
from, and `asked` notes that it is under way. User and password of an endpoint, and its shared secret, are sealed.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace

import orjson

from relay.errors import RequestRefusedError
from relay.model.topic import TOKEN_VALID_MS, FilterScope, Protocol, Subscription, SubscriptionState
from relay.signing.secrets import Sealer
from relay.signing.topic_token import Tokens, token_hash
from relay.store.catalog_tables import Row, Tables
from relay.store.catalog_topics import no_topic

SUBSCRIPTIONS_MAX = 10_000  # of one topic: all of them are looked at for each publication
PAGE_SIZE_MAX = 1000
OVER_BATCH = 100


class Subscriptions:
    """Makes, confirms, changes, ends and lists subscriptions."""

    __slots__ = ("_tables", "_tokens")

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._tokens = Tokens(tables.master_key)

    def create(self, wanted: Subscription) -> Subscription:
        """Add a subscription in the state given (pending or confirmed), and return it with its id.

        One of this endpoint that is there already is returned as it is; while it is not confirmed its endpoint is
        asked anew, with a new token.
        """
        now_ms = self._tables.now_ms()
        with self._tables.writing(wanted.account):
            if self._tables.row("get_topic", {"account": wanted.account, "name": wanted.topic}) is None:
                raise no_topic()
            self._tables.require_account(wanted.owner)
            found = self.of_endpoint(wanted)
            if found is not None:
                if found.state is not SubscriptionState.CONFIRMED:
                    self._renew(found.id, SubscriptionState.PENDING, now_ms)
                return self.require(found.id)
            rows = self._tables.rows("count_subscriptions", {"account": wanted.account, "topic": wanted.topic})
            if sum(row[1] for row in rows) >= SUBSCRIPTIONS_MAX:
                raise RequestRefusedError(
                    "SubscriptionLimitExceeded", f"The topic has {SUBSCRIPTIONS_MAX} subscriptions already."
                )
            made = replace(wanted, id=str(uuid.uuid4()), token_ms=now_ms, created_ms=now_ms)
            self._tables.run(
                "create_subscription",
                {
                    **_values(made, self._tables.sealer),
                    "state": str(made.state),
                    "token_hash": self._hash(made.id, now_ms),
                    "token_ms": now_ms,
                    "asked": int(made.state is SubscriptionState.CONFIRMED),
                    "created_ms": now_ms,
                },
            )
        return self.require(made.id)

    def get(self, subscription_id: str) -> Subscription | None:
        """Return a subscription, None when there is none."""
        return self._one("get_subscription", {"id": subscription_id})

    def require(self, subscription_id: str) -> Subscription:
        """Return a subscription that must exist."""
        found = self.get(subscription_id)
        if found is None:
            raise RequestRefusedError("NotFound", "Subscription does not exist")
        return found

    def of_endpoint(self, wanted: Subscription) -> Subscription | None:
        """Return the subscription of the same topic, protocol and endpoint."""
        values = {"account": wanted.account, "topic": wanted.topic}
        return self._one(
            "subscription_of_endpoint", {**values, "protocol": str(wanted.protocol), "endpoint": wanted.endpoint}
        )

    def of_token(self, account: str, topic: str, token: str) -> Subscription:
        """Return the subscription that a token confirms. Raise `InvalidParameter` for none (TOPIC-123)."""
        found = self._one("subscription_of_token", {"token_hash": token_hash(token)})
        if found is None or (found.account, found.topic) != (account, topic):
            raise RequestRefusedError("InvalidParameter", "Invalid token")
        if found.expires_ms <= self._tables.now_ms():
            raise RequestRefusedError("InvalidParameter", "Invalid token: its time is over")
        return found

    def of_topic(
        self, account: str, topic: str, *, after: str = "", limit: int = PAGE_SIZE_MAX
    ) -> list[Subscription]:
        """Return up to `limit` subscriptions of a topic that follow `after`, by id."""
        values = {"account": account, "topic": topic, "after": after, "limit": max(1, min(limit, PAGE_SIZE_MAX))}
        return self._all("list_subscriptions_of_topic", values)

    def of_owner(self, owner: str, *, after: str = "", limit: int = PAGE_SIZE_MAX) -> list[Subscription]:
        """Return up to `limit` subscriptions that an account made, by id."""
        values = {"owner": owner, "after": after, "limit": max(1, min(limit, PAGE_SIZE_MAX))}
        return self._all("list_subscriptions", values)

    def update(self, changed: Subscription) -> Subscription:
        """Replace what a subscription is set to; what waits for it is delivered by that."""
        with self._tables.writing(changed.account):
            if not self._tables.run("update_subscription", _values(changed, self._tables.sealer)):
                raise RequestRefusedError("NotFound", "Subscription does not exist")
        return self.require(changed.id)

    # --- states ------------------------------------------------------------------------------------------------

    def confirm(
        self, account: str, topic: str, token: str, *, authenticated: bool = False, protected: bool = False
    ) -> Subscription:
        """Confirm or restore the subscription of a token; one that is confirmed already stays as it is."""
        with self._tables.writing(account):
            found = self.of_token(account, topic, token)
            values = {"id": found.id, "authenticated": int(authenticated), "protected": int(protected)}
            self._tables.run("confirm_subscription", values)
        return self.require(found.id)

    def confirm_by_owner(self, subscription_id: str) -> Subscription:
        """Confirm a subscription without its token: an operator vouches for the endpoint."""
        found = self.require(subscription_id)
        with self._tables.writing(found.account):
            self._tables.run("confirm_subscription", {"id": found.id, "authenticated": 1, "protected": 0})
        return self.require(found.id)

    def end(self, subscription_id: str) -> Subscription:
        """Unsubscribe an endpoint that asks for it without a signature; it is told, and can take it back.

        Raise `AuthorizationError` where only the owner may (TOPIC-125), `NotFound` when there is none.
        """
        found = self.require(subscription_id)
        if found.protected:
            raise RequestRefusedError("AuthorizationError", "Only its owner may end this subscription")
        with self._tables.writing(found.account):
            if found.state is SubscriptionState.CONFIRMED:
                self._renew(found.id, SubscriptionState.ENDED, self._tables.now_ms())
            elif found.state is SubscriptionState.PENDING:
                self._remove(found)
        return found

    def delete(self, subscription_id: str) -> bool:
        """Remove a subscription for its owner, who is not told; say whether there was one."""
        found = self.get(subscription_id)
        if found is None:
            return False
        with self._tables.writing(found.account):
            self._remove(found)
        return True

    def expire(self) -> int:
        """Remove what nobody confirmed in time (TOPIC-121); return how many."""
        values = {"before_ms": self._tables.now_ms() - TOKEN_VALID_MS, "limit": OVER_BATCH}
        over = self._tables.rows("subscriptions_over", values)
        for subscription_id, account, _, _ in over:
            found = self.get(subscription_id)
            with self._tables.writing(account):
                if found is not None and found.state is not SubscriptionState.CONFIRMED:
                    self._remove(found)
        return len(over)

    # --- personal data -----------------------------------------------------------------------------------------

    def export(self, address: str, limit: int = PAGE_SIZE_MAX) -> list[Subscription]:
        """Return the subscriptions of an address, in any letter case."""
        return self._all("subscriptions_of_mailbox", {"address": address, "limit": limit})

    def erase(self, address: str) -> int:
        """Remove the subscriptions of an address; return how many there were."""
        erased = 0
        while found := self.export(address, OVER_BATCH):
            for one in found:
                erased += self.delete(one.id)
        return erased

    # --- questions to endpoints --------------------------------------------------------------------------------

    def unasked(self, limit: int = OVER_BATCH) -> list[Subscription]:
        """Return subscriptions whose endpoints are to be asked to confirm, or told that they ended."""
        return self._all("subscriptions_unasked", {"limit": limit})

    def asked(self, asked: Sequence[Subscription]) -> None:
        """Note that the endpoints of these were asked with these tokens; newer tokens are still to be told."""
        for one in asked:
            with self._tables.writing(one.account):
                self._tables.run("note_asked", {"id": one.id, "token_ms": one.token_ms})

    def _remove(self, found: Subscription) -> None:
        self._tables.run("delete_subscription", {"id": found.id})
        self._tables.run("count_ended", {"account": found.account, "name": found.topic})

    def _renew(self, subscription_id: str, state: SubscriptionState, now_ms: int) -> None:
        values = {"id": subscription_id, "state": str(state), "token_ms": now_ms}
        self._tables.run("renew_token", {**values, "token_hash": self._hash(subscription_id, now_ms)})

    def _hash(self, subscription_id: str, made_ms: int) -> bytes:
        return token_hash(self._tokens.token(subscription_id, made_ms))

    def _one(self, query: str, values: dict[str, object]) -> Subscription | None:
        row = self._tables.row(query, values)
        return subscription_of(row, self._tables.sealer) if row else None

    def _all(self, query: str, values: dict[str, object]) -> list[Subscription]:
        return [subscription_of(row, self._tables.sealer) for row in self._tables.rows(query, values)]


def subscription_of(row: Row, sealer: Sealer) -> Subscription:
    """Return the subscription of a row of `get_subscription`."""
    (subscription_id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated,
     protected, raw, filter_policy, filter_scope, delivery_policy, redrive, sealed) = row  # fmt: skip
    login, secret = orjson.loads(sealer.open(sealed, _belongs_to(subscription_id))) if sealed else ("", "")
    return Subscription(
        id=subscription_id,
        account=account,
        topic=topic,
        owner=owner,
        protocol=Protocol(protocol),
        endpoint=endpoint,
        state=SubscriptionState(state),
        token_ms=token_ms,
        created_ms=created_ms,
        authenticated=bool(authenticated),
        protected=bool(protected),
        raw=bool(raw),
        filter_policy=filter_policy,
        filter_scope=FilterScope(filter_scope),
        delivery_policy=delivery_policy,
        redrive=redrive,
        login=login,
        secret=secret,
    )


def _belongs_to(subscription_id: str) -> str:
    return f"subscription {subscription_id}"


def _values(one: Subscription, sealer: Sealer) -> dict[str, object]:
    secrets = orjson.dumps([one.login, one.secret]) if one.login or one.secret else b""
    return {
        "id": one.id,
        "account": one.account,
        "topic": one.topic,
        "owner": one.owner,
        "protocol": str(one.protocol),
        "endpoint": one.endpoint,
        "raw": int(one.raw),
        "filter_policy": one.filter_policy,
        "filter_scope": str(one.filter_scope),
        "delivery_policy": one.delivery_policy,
        "redrive": one.redrive,
        "sealed": sealer.seal(secrets, _belongs_to(one.id)) if secrets else b"",
    }
