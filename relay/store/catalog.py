"""The catalog: accounts, credentials, identities, DKIM keys and suppression lists, as commands write them.

`catalog.db` and `suppression.db` in the data directory. Every function is one transaction that is synced when it
returns, and is seen by running workers at their next request. Several commands may write at a time; they wait for
each other for ten seconds. Workers read through `relay.store.directory`.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.errors import ConfigurationError, CorruptionError, StorageError
from relay.signing.keys import KeyKind, generate
from relay.signing.secrets import MASTER_KEY_BYTES, Sealer
from relay.store.catalog_accounts import Accounts
from relay.store.catalog_addresses import SourceAddresses
from relay.store.catalog_alarms import Alarms
from relay.store.catalog_checks import Checks
from relay.store.catalog_configuration_sets import ConfigurationSets
from relay.store.catalog_credentials import Credentials
from relay.store.catalog_dkim import DkimKeys
from relay.store.catalog_dkim_setup import DkimSetup
from relay.store.catalog_enforcement import AccountEnforcement
from relay.store.catalog_event_destinations import EventDestinations
from relay.store.catalog_feedback import Feedback
from relay.store.catalog_files import Queries, load_queries, open_for_writing, translated
from relay.store.catalog_findings import Findings
from relay.store.catalog_identities import Identities
from relay.store.catalog_mail_from import MailFroms
from relay.store.catalog_notices import Notices
from relay.store.catalog_policies import IdentityPolicies
from relay.store.catalog_pools import Pools
from relay.store.catalog_reviews import Reviews
from relay.store.catalog_subscriptions import Subscriptions
from relay.store.catalog_tables import Tables
from relay.store.catalog_templates import VerificationTemplates
from relay.store.catalog_topics import Topics
from relay.store.catalog_users import Users
from relay.store.catalog_verification import Verifications
from relay.store.suppression import SuppressionLists
from relay.store.suppression_file import SuppressionFile
from relay.store.suppression_jobs import ImportJobs
from relay.store.suppression_relay_list import Digester, RelayList

CATALOG_FILE = "catalog.db"
SUPPRESSION_FILE = "suppression.db"
IMPORTS_DIRECTORY = "imports"

_KEY_CHECK = "key check"


class Catalog:
    """The catalog, open for writing. Close it, or use it as a context manager."""

    def __init__(self, tables: Tables, suppression: SuppressionFile, data_dir: Path, hostname: str) -> None:
        self._tables = tables
        self._suppression = suppression
        self.accounts = Accounts(tables)
        self.credentials = Credentials(tables)
        self.identities = Identities(tables)
        self.dkim = DkimKeys(tables)
        self.dkim_setup = DkimSetup(tables)
        self.identity_policies = IdentityPolicies(tables)
        self.mail_froms = MailFroms(tables)
        self.notices = Notices(tables)
        self.feedback = Feedback(tables, self.notices)
        self.users = Users(tables)
        self.configuration_sets = ConfigurationSets(tables)
        self.event_destinations = EventDestinations(tables)
        self.addresses = SourceAddresses(tables)
        self.pools = Pools(tables)
        self.reviews = Reviews(tables, self.accounts, self.notices)
        self.enforcement = AccountEnforcement(tables, self.accounts, self.notices)
        self.findings = Findings(tables, self.accounts, self.notices, self.enforcement)
        self.verifications = Verifications(tables, self.notices)
        self.verification_templates = VerificationTemplates(tables)
        self.checks = Checks(tables, self.notices)
        self.topics = Topics(tables)
        self.alarms = Alarms(tables, self.accounts, self.notices)
        self.subscriptions = Subscriptions(tables)
        self.suppression = SuppressionLists(suppression, hostname)
        self.relay_list = RelayList(suppression, Digester(tables.master_key))
        self.import_jobs = ImportJobs(suppression, data_dir / IMPORTS_DIRECTORY, hostname)

    def close(self) -> None:
        """Close both files."""
        self._tables.connection.close()
        self._suppression.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_catalog(
    data_dir: str | os.PathLike[str],
    master_key: bytes,
    *,
    now_ms: Callable[[], int] | None = None,
    dkim_zone: str = "",
    hostname: str = "",
    new_key: Callable[[KeyKind], bytes] = generate,
) -> Catalog:
    """Open the catalog of a data directory, made when it is not there yet.

    `dkim_zone` is the zone in which the relay publishes DKIM keys (DKIM-001), `hostname` names the relay, whose
    mailbox simulator is never suppressed; `new_key` makes private keys.

    Raise ConfigurationError when it cannot be opened or the master key is not the one it was written with,
    NewerVersionError when a newer release wrote it, TemporaryError when another command holds it for too long.
    """
    if len(master_key) != MASTER_KEY_BYTES:
        msg = f"The master key must have {MASTER_KEY_BYTES} bytes."
        raise ConfigurationError(msg)
    queries = load_queries("catalog.sql")
    path = Path(data_dir) / CATALOG_FILE
    sealer = Sealer(master_key)
    clock = now_ms or wall_clock_ms
    connection = open_for_writing(path, queries)
    try:
        with translated(path):
            check_key(connection, path, queries, sealer)
        lists = SuppressionFile(Path(data_dir) / SUPPRESSION_FILE, clock)
    except BaseException:
        connection.close()
        raise
    tables = Tables(connection, path, queries, sealer, master_key, clock, new_key, dkim_zone)
    return Catalog(tables, lists, Path(data_dir), hostname)


def open_existing_catalog(
    data_dir: str | os.PathLike[str],
    master_key: bytes,
    *,
    now_ms: Callable[[], int] | None = None,
    dkim_zone: str = "",
    hostname: str = "",
) -> Catalog:
    """Open the catalog of a relay that was set up. As `open_catalog`, and StorageError when the file is gone.

    An empty one in its place would refuse every client for good, and hide that the real one is to be restored.
    """
    path = Path(data_dir) / CATALOG_FILE
    if not path.exists():
        raise StorageError(f"{path} is missing; restore it from your backup.")
    return open_catalog(data_dir, master_key, now_ms=now_ms, dkim_zone=dkim_zone, hostname=hostname)


def check_key(connection: sqlite3.Connection, path: Path, queries: Queries, sealer: Sealer) -> None:
    """Raise ConfigurationError when the catalog was written with another master key; remember the first key."""
    row = connection.execute(queries["get_key_check"]).fetchone()
    if row is None:
        connection.execute(queries["put_key_check"], {"sealed": sealer.seal(b"relay", _KEY_CHECK)})
        row = connection.execute(queries["get_key_check"]).fetchone()
    try:
        sealer.open(row[0], _KEY_CHECK)
    except CorruptionError:
        msg = f"{path} was written with another master key; restore keys/master.key from the same backup as it."
        raise ConfigurationError(msg) from None


def wall_clock_ms() -> int:
    """Return the time in ms since 1970."""
    return time.time_ns() // 1_000_000
