"""Section P: a run that uses every kind of secret, and a search for them in everything that the product wrote."""

import base64
import json
import secrets
import subprocess

import pytest

from tests.product import Product, Receiver, eventually, free_ports
from tests.webhook import Webhook

STORES = {"catalog.db", "keys", "master.key"}  # where secrets belong; in the catalog they are encrypted


def forms(secret):
    """Return how a secret may show: as it is, quoted in JSON, in base64 and in hexadecimal digits."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    found = {raw, base64.b64encode(raw).rstrip(b"="), raw.hex().encode()}
    if isinstance(secret, str):
        found.add(json.dumps(secret)[1:-1].encode())
    return found


class Used:
    """A relay that used every secret, what commands said meanwhile, and the secrets by name."""

    def __init__(self, product, bus_url, hook):
        self.product, self.hook, self.said, self.secrets = product, hook, [], {}
        word = {name: f"{name}-{secrets.token_hex(12)}" for name in ("bus", "hook", "login", "scanner")}
        self.secrets |= {f"{name} secret": text for name, text in word.items()}
        product.values["buses"] = [
            {"name": "default", "url": bus_url, "allow_private": True, "secret": word["bus"]},
        ]
        product.values["streams"] = [
            {
                "name": "away", "type": "bucket", "bucket": "nowhere", "endpoint": f"http://127.0.0.1:{free_ports(1)[0]}",
                "access_key_id": "AKIDNOWHERE", "secret_access_key": f"s3-{word['scanner']}",
            }
        ]  # fmt: skip
        self.secrets["bucket secret"] = f"s3-{word['scanner']}"
        del self.secrets["scanner secret"]
        product.save()

    def use(self):
        """Send, deliver, bounce, log in wrongly, publish, subscribe, confirm, fail."""
        product, word = self.product, self.secrets
        word["SMTP password"] = product.password
        word["access key secret"] = product.access_key["secret"]
        word["master key"] = (product.data_dir / "keys" / "master.key").read_bytes().strip()
        made = json.loads(product.run("credentials", "create", "--access-key", "--json").stdout)
        word["second access key"] = made["secret"] if "secret" in made else made["access_key"]["secret"]
        file = product.directory / "hook.secret"
        file.write_text(word["hook secret"] + "\n")
        file.chmod(0o600)
        self.say("topic", "create", "news")
        url = self.hook.url.replace("http://", f"http://consumer:{word['login secret']}@")
        self.say("topic", "subscribe", "news", "http", url, "--raw", "--secret-file", str(file))
        self.say("configuration-set", "create", "all")
        for name, kind, target in (("bus", "--bus", "default"), ("s", "--stream", "away"), ("t", "--topic", "news")):
            self.say("event-destination", "create", "all", name, "--types", "all", kind, target)
        confirmation = eventually(lambda: [b for b in self.hook.bodies() if b"SubscriptionConfirmation" in b])
        word["topic token"] = json.loads(confirmation[0])["Token"]
        self.say("topic", "confirm", json.loads(confirmation[0])["TopicArn"], word["topic token"])
        for recipient in ("user@remote.example", "gone@remote.example"):
            product.send(recipient, headers="X-SES-CONFIGURATION-SET: all\r\n")
        product.wait_event("Delivery")
        product.wait_event("Bounce")

    def say(self, *arguments):
        """Run a command, with --json and without, and keep what it said."""
        for more in ((), ("--json",)):
            done = self.product.run(*arguments, *more, check=False)
            self.said.append((" ".join(arguments), (done.stdout + done.stderr).encode()))

    def written(self):
        """Yield name and content of everything the product wrote, but for the stores of secrets."""
        yield from self.said
        yield "metrics", self.product.metrics().encode()
        for path in self.product.directory.rglob("*"):
            kept = STORES & set(path.relative_to(self.product.directory).parts)
            if path.is_file() and not kept and path.suffix != ".secret" and path.name != "relay.yaml":
                yield str(path.relative_to(self.product.directory)), path.read_bytes()


def refuse(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" and "gone" in line else None


@pytest.fixture(scope="module")
def used():
    with Receiver(answer=refuse) as receiver, Webhook() as bus, Webhook() as hook:
        product = Product(
            receiver.port, suppression=True, topics={"private_networks": ["127.0.0.0/8"]}, delivery={"trace": "all"}
        )
        found = Used(product, bus.url, hook)
        with product:
            found.use()
            for command in READING:
                found.say(*command)
            yield found


READING = [
    ("doctor",),
    ("check",),
    ("account", "show", "000000000001"),
    ("topic", "dead-letters"),
    ("credentials", "list"),
    ("identity", "list"),
    ("identity", "show", "example.com"),
    ("dkim", "show", "example.com"),
    ("configuration-set", "show", "all"),
    ("event-destination", "list", "all"),
    ("event-destination", "backlog"),
    ("topic", "list"),
    ("topic", "show", "news"),
    ("topic", "subscriptions", "news"),
    ("events", "search"),
    ("messages", "search"),
    ("suppression", "list"),
    ("statistics",),
    ("queue", "list"),
]


def test_no_secret_is_in_anything_that_was_written(used):
    found = [
        (name, where)
        for where, content in used.written()
        for name, secret in used.secrets.items()
        for form in forms(secret)
        if form in content
    ]
    assert not found


def test_the_search_would_find_them(used):
    """The same search over the files where secrets belong finds those that are not encrypted."""
    config = (used.product.directory / "relay.yaml").read_bytes()
    assert all(any(form in config for form in forms(used.secrets[name])) for name in ("bus secret", "bucket secret"))
    names = {where for where, _ in used.written()}
    assert {"relay.log", "metrics", "doctor", "topic show news", "data/events.jsonl"} <= names


@pytest.mark.req("PRIV-002")
def test_the_catalog_holds_no_secret_in_clear(used):
    content = b"".join(path.read_bytes() for path in used.product.data_dir.glob("catalog.db*"))
    clear = [
        name for name, secret in used.secrets.items() if secret and any(form in content for form in forms(secret))
    ]
    assert clear == []


@pytest.mark.req("PRIV-002")
def test_private_keys_of_dkim_are_nowhere_in_clear(used):
    marks = (b"PRIVATE KEY", b"MIIEv", b"MIIEo")
    content = b"".join(path.read_bytes() for path in used.product.data_dir.glob("catalog.db*"))
    for where, text in [*used.written(), ("catalog.db", content)]:
        if not where.startswith("tls/"):
            assert not any(mark in text for mark in marks), where


def test_a_command_line_of_the_relay_shows_no_secret(used):
    shown = subprocess.run(["ps", "-eo", "args", "--width", "5000"], capture_output=True, check=True).stdout
    assert not [name for name, secret in used.secrets.items() if any(form in shown for form in forms(secret))]
