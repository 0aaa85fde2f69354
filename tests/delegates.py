"""Two accounts of one relay: one owns identities, the other sends for it. Helpers for tests from outside."""

import contextlib
import json
import smtplib

from relay.signing.secrets import decode_master_key
from relay.store.catalog import open_catalog
from tests.product import Product

OWNER, DELEGATE, STRANGER = "000000000001", "000000000002", "000000000003"
REGION = "local-1"
ACCESS_DENIED = "554 Access denied: User `{}' is not authorized to perform `ses:SendRawEmail' on resource `{}'"
NOT_VERIFIED = (
    "554 Message rejected: Email address is not verified. The following identities failed the check in region "
    f"{REGION.upper()}: "
)


def arn(name, account=OWNER, region=REGION):
    """Return the ARN of an identity."""
    return f"arn:aws:ses:{region}:{account}:identity/{name}"


def root(account):
    """Return the ARN of an account as a whole."""
    return f"arn:aws:iam::{account}:root"


def user_arn(account, name):
    """Return the ARN of a user."""
    return f"arn:aws:iam::{account}:user/{name}"


def denied(resource, caller=None):
    """Return the one answer to a sender that a policy does not allow (ERR-003)."""
    return ACCESS_DENIED.format(caller or root(DELEGATE), resource)


def source(name, account=OWNER):
    """Return the header field that names an identity for everything."""
    return f"X-SES-SOURCE-ARN: {arn(name, account)}\r\n"


def allowing(name, account=OWNER, **elements):
    """Return the text of a policy of one statement, which lets the delegate send unless `elements` say otherwise."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": DELEGATE},
        "Action": "ses:Send*",
        "Resource": arn(name, account),
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | elements]})


class Delegates(Product):
    """A relay where the first account owns `example.com`, the second sends for it, the third has no part in it."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        with self.catalog() as catalog:
            for account in (DELEGATE, STRANGER):
                catalog.accounts.create(account)
        self.logins = {}
        for account in (OWNER, DELEGATE, STRANGER):
            self.login(account)
        self.own("mine.example", DELEGATE)

    @contextlib.contextmanager
    def catalog(self):
        """Open the catalog beside the running relay, as its commands do."""
        key = decode_master_key((self.data_dir / "keys" / "master.key").read_bytes())
        with open_catalog(self.data_dir, key) as catalog:
            yield catalog

    def login(self, account, user=""):
        """Make credentials of an account, or of a user of it."""
        with self.catalog() as catalog:
            made = catalog.credentials.create_smtp_user(account, user=user)
        self.logins[account, user] = (made.credential.username, made.secret)

    def own(self, name, account=OWNER, *, verified=True):
        """Give an account an identity."""
        with self.catalog() as catalog:
            catalog.identities.create(account, name)
            catalog.identities.set_verified(account, name, verified=verified)

    def allow(self, identity, policy="p", account=OWNER, text=None, **elements):
        """Attach a policy to an identity, or replace it."""
        with self.catalog() as catalog:
            document = text or allowing(identity, account, **elements)
            catalog.identity_policies.put(account, identity, policy, document, REGION)

    def revoke(self, identity, policy="p", account=OWNER):
        """Remove a policy."""
        with self.catalog() as catalog:
            catalog.identity_policies.delete(account, identity, policy)

    @contextlib.contextmanager
    def session(self, account=DELEGATE, user=""):
        """Give a session of an account, or of one of its users."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            client.starttls()
            client.login(*self.logins[account, user])
            yield client

    def submit(self, sender, headers="", recipients=("user@remote.example",), mail_from=None, **who):
        """Submit one message and return "code text" of the reply to the data."""
        with self.session(**who) as client:
            return say(client, sender, headers, recipients, mail_from)


def say(client, sender, headers="", recipients=("user@remote.example",), mail_from=None):
    """Submit one message in a session; `sender` is the From field, and the envelope sender without `mail_from`."""
    code, text = client.mail(sender if mail_from is None else mail_from)
    assert code == 250, text
    for recipient in recipients:
        assert client.rcpt(recipient)[0] == 250
    code, text = client.data(
        f"{headers}From: {sender}\r\nTo: user@remote.example\r\nSubject: x\r\n\r\nhi\r\n".encode()
    )
    return f"{code} {text.decode()}"
