"""Links of addresses in the catalog: written whole, used once, voided, ended."""

import pytest

from relay.errors import LimitExceededError, TemporaryError, UsageError
from relay.model.account import AccountState
from relay.model.check import CheckState
from relay.model.verification import LINK_VALID_MS, VerificationTemplate, mailbox_of
from relay.store import catalog_notices, catalog_templates, catalog_verification
from relay.store.catalog import open_catalog
from relay.store.catalog_verification import LINKS_KEPT_MS

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"
TEMPLATE = VerificationTemplate("t", "app@x.example", "Hi", "<p>hi</p>", "https://s.example/", "https://f.example/")


class Clock:
    now_ms = 1_790_000_000_000

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def catalog(tmp_path, clock):
    with open_catalog(tmp_path / "data", KEY, now_ms=clock) as opened:
        opened.accounts.create(A, contact="owner@c.example")
        opened.accounts.create(B)
        yield opened


class Mailbox:
    """Writes mails, and remembers the tokens in them."""

    def __init__(self):
        self.tokens = []
        self.told = []

    def request(self, address, token, expires_ms):
        self.tokens.append(token)
        return b"Subject: confirm\r\n\r\n", token.encode()

    def tell(self, contact, change):
        self.told.append((contact, change.identity, change.state))
        return b"Subject: news\r\n\r\n", b"news\r\n"


@pytest.fixture
def mail():
    return Mailbox()


def recipients(catalog):
    return [catalog.notices.get(one).recipient for one in catalog.notices.waiting()]


def test_identity_check_link_and_mail_are_written_together(catalog, mail, monkeypatch):
    assert catalog.verifications.create(A, "Joe@X.example", mail.request) == "Joe@X.example"
    assert catalog.verifications.state(A, "Joe@X.example").state is CheckState.PENDING
    assert recipients(catalog) == ["Joe@X.example"]
    monkeypatch.setattr(catalog_notices, "WAITING_MAX", 1)
    with pytest.raises(TemporaryError):
        catalog.verifications.create(A, "ann@x.example", mail.request)
    assert catalog.identities.get(A, "ann@x.example") is None
    assert catalog.verifications.look(mail.tokens[-1]) is None
    for wrong in ("x.example", "no address@", "Joe@X.example", "*@x.example"):
        with pytest.raises(UsageError):
            catalog.verifications.create(A, wrong, mail.request)
    with pytest.raises(UsageError):
        catalog.verifications.create("000000000009", "joe@x.example", mail.request)


@pytest.mark.req("IDENT-017")
def test_a_link_works_once_and_for_a_day(catalog, mail, clock):
    catalog.verifications.create(A, "joe@x.example", mail.request)
    [token] = mail.tokens
    assert catalog.verifications.look(token).usable
    assert catalog.verifications.look(token).usable
    assert catalog.verifications.look(token + "x") is None
    clock.now_ms += LINK_VALID_MS - 1
    assert catalog.verifications.confirm(token, mail.tell).usable
    assert catalog.identities.require(A, "joe@x.example").identity.verified
    assert mail.told == [("owner@c.example", "joe@x.example", CheckState.SUCCESS)]
    assert not catalog.verifications.confirm(token, mail.tell).usable
    catalog.verifications.create(A, "ann@x.example", mail.request)
    clock.now_ms += LINK_VALID_MS
    assert not catalog.verifications.confirm(mail.tokens[-1], mail.tell).usable
    assert not catalog.identities.require(A, "ann@x.example").identity.verified


@pytest.mark.req("IDENT-017")
def test_what_nobody_confirmed_fails_once(catalog, mail, clock):
    catalog.verifications.create(A, "joe@x.example", mail.request)
    catalog.verifications.create(B, "joe@x.example", mail.request)
    assert catalog.verifications.expire(mail.tell) == 0
    clock.now_ms += LINK_VALID_MS
    assert catalog.verifications.expire(mail.tell) == 2
    assert catalog.verifications.expire(mail.tell) == 0
    assert catalog.verifications.state(A, "joe@x.example").state is CheckState.FAILED
    assert mail.told == [("owner@c.example", "joe@x.example", CheckState.FAILED)]  # B has no contact
    assert catalog.verifications.look(mail.tokens[0]) is not None
    clock.now_ms += LINKS_KEPT_MS + 1
    catalog.verifications.expire(mail.tell)
    assert catalog.verifications.look(mail.tokens[0]) is None


@pytest.mark.req("IDENT-018")
def test_a_new_link_voids_the_old_one_and_the_mail_that_still_waits_with_it(catalog, mail, clock):
    catalog.verifications.create(A, "joe@x.example", mail.request)
    clock.now_ms += 5
    catalog.verifications.resend(A, "joe@x.example", mail.request)
    first, second = mail.tokens
    assert not catalog.verifications.confirm(first, mail.tell).usable
    assert recipients(catalog) == ["joe@x.example"]
    assert catalog.notices.get(catalog.notices.waiting()[0]).content.body == second.encode()
    assert catalog.verifications.confirm(second, mail.tell).usable
    for wrong in ("joe@x.example", "other@x.example"):
        with pytest.raises(UsageError):
            catalog.verifications.resend(A, wrong, mail.request)


def test_links_are_limited_by_mailbox_over_all_accounts_and_by_account(catalog, mail, monkeypatch, clock):
    monkeypatch.setattr(catalog_verification, "MAILBOX_LINKS_OF_ALL_MAX", 2)
    catalog.verifications.create(A, "joe@x.example", mail.request)
    catalog.verifications.create(B, "Joe+b@x.example", mail.request)
    with pytest.raises(LimitExceededError, match="to JOE@x"):
        catalog.verifications.create(B, "JOE@x.example", mail.request)
    monkeypatch.setattr(catalog_verification, "ACCOUNT_LINKS_MAX", 1)
    with pytest.raises(LimitExceededError, match=f"by account {A}"):
        catalog.verifications.send_custom(A, "ann@x.example", TEMPLATE, mail.request)
    assert len(mail.tokens) == 2
    clock.now_ms += LINK_VALID_MS
    catalog.verifications.send_custom(A, "joe@x.example", TEMPLATE, mail.request)


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("joe@x.example", "joe@x.example"),
        ("Joe+a+b@x.example", "joe@x.example"),
        ('"a@b"@x.example', '"a@b"@x.example'),
    ],
)
def test_addresses_of_one_mailbox(address, mailbox):
    assert mailbox_of(address) == mailbox


def test_a_link_of_an_identity_that_is_gone_verifies_nothing(catalog, mail):
    catalog.verifications.create(A, "joe@x.example", mail.request)
    catalog.identities.delete(A, "joe@x.example")
    assert not catalog.verifications.confirm(mail.tokens[0], mail.tell).usable
    assert catalog.identities.get(A, "joe@x.example") is None
    catalog.verifications.create(A, "joe@x.example", mail.request)
    assert not catalog.identities.require(A, "joe@x.example").identity.verified


@pytest.mark.req("IDENT-027")
def test_who_may_not_send_may_not_send_custom_mails_either(catalog, mail):
    for state in (AccountState.PAUSED, AccountState.CLOSED):
        catalog.accounts.set_state(A, state)
        with pytest.raises(UsageError, match="SendingPausedException"):
            catalog.verifications.send_custom(A, "joe@x.example", TEMPLATE, mail.request)
    catalog.accounts.set_state(A, AccountState.ENABLED)
    catalog.accounts.set_sandbox(A, sandbox=True)
    with pytest.raises(UsageError, match="ProductionAccessNotGranted"):
        catalog.verifications.send_custom(A, "joe@x.example", TEMPLATE, mail.request)
    assert recipients(catalog) == []
    catalog.accounts.set_sandbox(A, sandbox=False)
    catalog.verifications.send_custom(A, "joe@x.example", TEMPLATE, mail.request)
    assert catalog.notices.get(catalog.notices.waiting()[0]).signed_by == "app@x.example"
    assert catalog.identities.get(A, "joe@x.example") is None
    link = catalog.verifications.confirm(mail.tokens[0], mail.tell)
    assert (link.success_url, link.failure_url) == ("https://s.example/", "https://f.example/")
    assert catalog.identities.require(A, "joe@x.example").identity.verified
    assert mail.told == []  # whose customers verify is the application's business


def test_accounts_verify_the_same_address_each_for_itself(catalog, mail):
    catalog.verifications.create(A, "joe@x.example", mail.request)
    catalog.verifications.create(B, "joe@x.example", mail.request)
    assert catalog.verifications.confirm(mail.tokens[1], mail.tell).account == B
    assert not catalog.identities.require(A, "joe@x.example").identity.verified


@pytest.mark.req("IDENT-024")
def test_at_most_fifty_templates_an_account(catalog, monkeypatch):
    monkeypatch.setattr(catalog_templates, "check_content", lambda _content: None)
    catalog.identities.create(A, "x.example")
    catalog.identities.set_verified(A, "x.example")
    for number in range(50):
        catalog.verification_templates.create(
            A,
            VerificationTemplate(
                f"t{number}", "app@x.example", "Hi", "<p>", "https://s.example", "https://f.example"
            ),
        )
    with pytest.raises(UsageError, match="LimitExceededException"):
        catalog.verification_templates.create(A, TEMPLATE)
    with pytest.raises(UsageError, match="AlreadyExistsException"):
        catalog.verification_templates.create(
            A, VerificationTemplate("t1", "app@x.example", "Hi", "<p>", "https://s.example", "https://f.example")
        )
    assert len(catalog.verification_templates.list(A)) == 50


@pytest.mark.req("IDENT-024")
@pytest.mark.parametrize(
    ("name", "verified", "author", "allowed"),
    [
        ("x.example", True, "app@x.example", True),
        ("x.example", True, "app@sub.x.example", True),
        ("x.example", False, "app@x.example", False),
        ("app@x.example", True, "app@x.example", True),
        ("app@x.example", True, "app+label@x.example", True),
        ("app@x.example", True, "other@x.example", False),
    ],
)
def test_whose_name_a_template_may_carry(catalog, name, verified, author, allowed):
    catalog.identities.create(A, name)
    catalog.identities.set_verified(A, name, verified=verified)
    template = VerificationTemplate("t", author, "Hi", "<p>hi</p>", "https://s.example/", "https://f.example/")
    if allowed:
        assert catalog.verification_templates.create(A, template).from_address == author
        return
    with pytest.raises(UsageError, match="FromEmailAddressNotVerified"):
        catalog.verification_templates.create(A, template)
    with pytest.raises(UsageError, match="FromEmailAddressNotVerified"):
        catalog.verification_templates.require_sender(B, author)
