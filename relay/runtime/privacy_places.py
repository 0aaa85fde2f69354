"""Where personal data is in the data directory, and what erasing an address makes of it (PRIV-004).

`docs/reference/privacy.md` says the same for people; a test compares both with the tables and files that there are.
"""

from typing import Final

from relay.store.scrub import Fate

ERASE_IN_SHARD: Final = "privacy.shard"
FORGET_ACCOUNT: Final = "privacy.forget_account"
ERASE_IN_FILES: Final = "privacy.event_files"
ERASE_IN_QUEUES: Final = "privacy.queues"
ERASE_IN_ITEMS: Final = "privacy.items"
REMOVE_ITEMS: Final = "privacy.items_of"

EVENT_FILES: Final = "event files"
LOCAL_QUEUES: Final = "local queues"
EVENT_ITEMS: Final = "events/queue.db item"

# Tables of the catalog that say how the relay is set up: what is in them works, so it is told and stays, unless
# somebody says otherwise; with the commands that change it.
CONFIGURED: Final = {
    "account": "relay account contact",
    "account_details": "relay account details",
    "alarm": "relay alarm delete",
    "credential": "relay credentials revoke",
    "identity": "relay identity delete",
    "identity_check": "relay identity delete",
    "identity_feedback": "relay identity delete",
    "identity_policy": "relay identity policy delete",
    "identity_tag": "relay identity delete",
    "dkim_key": "relay identity delete",
    "user": "relay user delete",
    "user_policy": "relay user",
    "configuration_set": "relay configuration-set delete",
    "configuration_set_tag": "relay configuration-set delete",
    "event_destination": "relay event-destination delete",
    "verification_template": "relay verification-template delete",
    "topic": "relay topic delete",
    "topic_subscription": "relay topic unsubscribe",
    "pool": "relay pool delete",
    "pool_tag": "relay pool delete",
    "pool_rule": "relay pool rule",
}

# By file; a table that is not named loses the address in place.
FATES: Final[dict[str, dict[str, Fate]]] = {
    "catalog.db": {
        **dict.fromkeys(CONFIGURED, Fate.KEEP),
        "notice": Fate.REMOVE,
        "verification_link": Fate.REMOVE,
    },
    "suppression.db": {"suppression": Fate.REMOVE, "import_job": Fate.REDACT},
    "statistics.db": {"point": Fate.REMOVE},
    "tls.db": {"report": Fate.REMOVE},
}
NOTING: Final[dict[str, tuple[str, ...]]] = {
    "catalog.db": ("INSERT INTO change (account) SELECT id FROM account",),
    "suppression.db": ("INSERT INTO change (account) SELECT DISTINCT account FROM suppression",),
}
