"""Look-ups with 100,000 identities and 1,000,000 suppressed addresses. `python -m bench.directory`."""

import random
import resource
import tempfile
import time
from collections.abc import Callable

from relay.signing.secrets import DEFAULT_REGIONS, new_master_key
from relay.store.authenticator import CatalogAuthenticator
from relay.store.catalog import open_catalog
from relay.store.directory import CatalogDirectory
from relay.store.suppression import Form

ACCOUNT = "000000000001"
IDENTITIES = 100_000
SUPPRESSED = 1_000_000


def measure(name: str, call: Callable[[int], object], rounds: int = 20_000) -> None:
    begin = time.process_time()
    for number in range(rounds):
        call(number)
    print(f"{name:42} {(time.process_time() - begin) / rounds * 1e6:8.2f} us")


def main() -> None:
    master = new_master_key()
    with tempfile.TemporaryDirectory() as directory, open_catalog(directory, master) as catalog:
        catalog.accounts.create(ACCOUNT)
        key = catalog.credentials.create_access_key(ACCOUNT)
        # Keys take 0.1 s each to make; the identities themselves are what is measured.
        rows = [(ACCOUNT, f"domain{number}.example", "DOMAIN", 1, 0) for number in range(IDENTITIES)]
        connection = catalog.accounts._tables.connection  # noqa: SLF001 a bench may look inside
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO identity (account, name, kind, verified, created_ms) VALUES (?, ?, ?, ?, ?)", rows
        )
        connection.execute("COMMIT")
        begin = time.process_time()
        lines = (f"user{number}@example{number % 5000}.com,BOUNCE\n" for number in range(SUPPRESSED))
        catalog.suppression.import_lines(ACCOUNT, lines, Form.CSV)
        print(f"import of {SUPPRESSED} addresses {time.process_time() - begin:15.1f} s CPU")
        reader = CatalogDirectory(directory, master)
        door = CatalogAuthenticator(reader, master, (*DEFAULT_REGIONS, "local-1"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pick = random.Random(1)
        names = [f"a@sub.domain{pick.randrange(IDENTITIES)}.example" for _ in range(20_000)]
        targets = [f"user{pick.randrange(2 * SUPPRESSED)}@example{n % 5000}.com" for n in range(20_000)]
        password = key.smtp_password("local-1")
        measure("refresh, nothing changed", lambda _: reader.refresh())
        measure("sending_identity, cached", lambda _: reader.sending_identity(ACCOUNT, names[0]))
        measure("sending_identity, any of all", lambda n: reader.sending_identity(ACCOUNT, names[n]))
        measure("suppressed, cached", lambda _: reader.suppressed(ACCOUNT, targets[0]))
        measure("suppressed, any", lambda n: reader.suppressed(ACCOUNT, targets[n]))
        measure("login", lambda _: door.check(key.credential.username, password))
        measure("login of nobody", lambda _: door.check("nobody", password))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"memory grown by {grown / 1024:.1f} MB")
        reader.close()


if __name__ == "__main__":
    main()
