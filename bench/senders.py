"""What the catalog costs a message: 100,000 identities, 1,000,000 suppressed addresses. `python -m bench.senders`.

A message asks the catalog: did anything change, who is this, which account, which configuration set, which identity
sends, which policies of the user, which keys sign, is the recipient suppressed (and in the sandbox: is it verified).
The parts that the caches answer are shown beside those that SQLite answers.
"""

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from bench.figures import Figure, arguments, at_most, finish, show_reference
from relay.mail.compose import Shaped, ShapeRules, shape
from relay.mail.scan import scan_body
from relay.model.configuration_set import ConfigurationSet
from relay.model.content import Content
from relay.model.import_job import ImportAction
from relay.model.message import Protocol, Submission
from relay.pipeline.senders import Caller, Sender, SenderCheck
from relay.signing.secrets import DEFAULT_REGIONS, new_master_key
from relay.store.authenticator import CatalogAuthenticator
from relay.store.catalog import Catalog, open_catalog
from relay.store.directory import CatalogDirectory
from relay.store.suppression import Form

ACCOUNT, OWNER = "000000000001", "000000000002"
REGION = "local-1"
ARN = f"arn:aws:ses:{REGION}:{OWNER}:identity/owned.example"
SET = "news"
LIMIT_US = 60.0
MEMORY_MIB_MAX = 32.0
ROUNDS = 20_000


def fill(catalog: Catalog, identities: int, suppressed: int) -> tuple[str, str]:
    """Fill a catalog in bulk; return the user name and the password of its SMTP credentials."""
    catalog.accounts.create(ACCOUNT)
    made = catalog.credentials.create_smtp_user(ACCOUNT, user="app")
    catalog.configuration_sets.create(ConfigurationSet(ACCOUNT, SET))
    connection = catalog.accounts._tables.connection  # noqa: SLF001 a bench may look inside
    # Keys take 0.1 s each to make; the identities themselves are what is measured.
    rows = [(ACCOUNT, f"domain{number}.example", "DOMAIN", 1, 0) for number in range(identities - 1)]
    rows.append((ACCOUNT, "a@address.example", "EMAIL_ADDRESS", 1, 0))
    insert = "INSERT INTO identity (account, name, kind, verified, created_ms) VALUES (?, ?, ?, ?, ?)"
    connection.execute("BEGIN")
    connection.executemany(insert, rows)
    connection.execute("COMMIT")
    catalog.accounts.create(OWNER)
    catalog.identities.create(OWNER, "owned.example")
    catalog.identities.set_verified(OWNER, "owned.example")
    allow = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "ses:Send*", "Resource": ARN}
    catalog.identity_policies.put(OWNER, "owned.example", "p", json.dumps({"Statement": allow}), REGION)
    lines = (b"user%d@example%d.com,BOUNCE\n" % (number, number % 5000) for number in range(suppressed))
    job = catalog.import_jobs.create(ACCOUNT, ImportAction.PUT, Form.CSV, "made here")
    catalog.import_jobs.run(job, lines)
    return made.credential.username, made.secret


def checks(reader: CatalogDirectory, user: str, sender: str, recipient: str, *, sandbox: bool) -> None:
    """Ask what a message asks."""
    reader.refresh()
    principal = reader.principal(user)
    assert principal is not None
    reader.account(principal.account)
    reader.configuration_set(ACCOUNT, SET)
    identity = reader.sending_identity(ACCOUNT, sender)
    assert identity is not None
    reader.user_policies(ACCOUNT, principal.user)
    if identity.dkim_domain:
        reader.signing_keys(ACCOUNT, identity.dkim_domain)
    if sandbox:
        reader.sending_identity(ACCOUNT, recipient)
    reader.suppressed(ACCOUNT, recipient)


def asking(
    reader: CatalogDirectory, account_id: str, user: str, author: str, headers: str = ""
) -> Callable[[int], object]:
    """Return the identity step of a message, from its header fields to who may send it."""
    content = Content(f"{headers}From: {author}\r\n\r\n".encode(), b"hi\r\n")
    facts, to = scan_body(b"hi\r\n"), ("user@remote.example",)
    submission = Submission(account_id, "app", author, to, content, facts, Protocol.ESMTPSA, False, "127.0.0.1", "x")
    shaped = shape(submission, ShapeRules("relay.example"), "m" * 60, 0)
    assert isinstance(shaped, Shaped)
    account = reader.account(account_id)
    assert account is not None
    check, caller = SenderCheck(reader), Caller(account, user)

    def ask(_: int) -> object:
        found = check.sender(caller, submission, shaped, to, 0, REGION)
        assert isinstance(found, Sender)
        return found

    return ask


def microseconds(call: Callable[[int], object], rounds: int) -> float:
    """Return the CPU time of a call: the best of three, each with numbers of its own."""
    best = float("inf")
    for turn in range(3):
        begin = time.process_time()
        for number in range(turn * rounds, (turn + 1) * rounds):
            call(number)
        best = min(best, (time.process_time() - begin) / rounds * 1e6)
    return best


def figures(
    reader: CatalogDirectory, door: CatalogAuthenticator, login: tuple[str, str], sizes: tuple[int, int], rounds: int
) -> Iterator[Figure]:
    """Measure."""
    identities, suppressed = sizes
    user, password = login
    pick = random.Random(1)
    count = 3 * rounds
    senders = [f"a@sub.domain{pick.randrange(identities - 1)}.example" for _ in range(count)]
    targets = [f"user{pick.randrange(2 * suppressed)}@example{pick.randrange(5000)}.com" for _ in range(count)]

    def measured(name: str, call: Callable[[int], object]) -> Figure:
        return at_most(name, microseconds(call, rounds), LIMIT_US, "us")

    def plain(name: str, call: Callable[[int], object]) -> Figure:
        return Figure(name, "", f"{microseconds(call, rounds):.1f} us")

    same, target = senders[0], targets[0]
    yield measured("checks: same sender and recipient", lambda _: checks(reader, user, same, target, sandbox=False))
    yield measured(
        "checks: same sender, any recipient", lambda n: checks(reader, user, same, targets[n], sandbox=False)
    )
    yield plain(
        "checks: any sender, any recipient", lambda n: checks(reader, user, senders[n], targets[n], sandbox=False)
    )
    yield plain(
        "checks: in the sandbox, any recipient", lambda n: checks(reader, user, same, targets[n], sandbox=True)
    )
    yield plain("  refresh, nothing changed", lambda _: reader.refresh())
    yield plain("  principal and account", lambda _: (reader.principal(user), reader.account(ACCOUNT)))
    yield plain("  configuration set", lambda _: reader.configuration_set(ACCOUNT, SET))
    yield plain("  policies of the user", lambda _: reader.user_policies(ACCOUNT, "app"))
    yield plain("  identity, cached", lambda _: reader.sending_identity(ACCOUNT, same))
    yield plain("  identity, any of all", lambda n: reader.sending_identity(ACCOUNT, senders[n]))
    yield plain("  suppressed, cached", lambda _: reader.suppressed(ACCOUNT, target))
    yield plain("  suppressed, any of all", lambda n: reader.suppressed(ACCOUNT, targets[n]))
    named = f"X-SES-SOURCE-ARN: {ARN}\r\n"
    yield measured("who may send: own identity, usual user", asking(reader, ACCOUNT, "app", same))
    yield measured("who may send: own identity with a policy", asking(reader, OWNER, "", "a@owned.example"))
    yield measured("who may send: delegate by ARN", asking(reader, ACCOUNT, "app", "a@owned.example", named))
    yield plain("login", lambda _: door.check(user, password))
    yield plain("login of nobody", lambda _: door.check("nobody", password))


def main() -> int:
    args = arguments(__doc__).parse_args()
    identities, suppressed = (10_000, 50_000) if args.quick else (100_000, 1_000_000)
    show_reference()
    master = new_master_key()
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
        with open_catalog(directory, master) as catalog:
            login = fill(catalog, identities, suppressed)
        reader = CatalogDirectory(directory, master)
        door = CatalogAuthenticator(reader, master, (*DEFAULT_REGIONS, "local-1"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rounds = ROUNDS // 10 if args.quick else ROUNDS
        found = list(figures(reader, door, login, (identities, suppressed), rounds))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        found.append(at_most("memory that the caches grew by", grown, MEMORY_MIB_MAX, "MiB"))
        reader.close()
    finish(found, args.json)
    return int(any(figure.passed is False for figure in found))


if __name__ == "__main__":
    sys.exit(main())
