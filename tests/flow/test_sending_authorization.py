"""One account sends for another: every way the guide shows, over SMTP, and what it costs whom."""

import json
import smtplib

import dkim
import pytest

from tests.adversarial.wire import zone
from tests.delegates import (
    DELEGATE,
    NOT_VERIFIED,
    OWNER,
    STRANGER,
    Delegates,
    allowing,
    arn,
    denied,
    root,
    say,
    source,
    user_arn,
)
from tests.product import Receiver, eventually


def no_such_user(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" and "nobody@" in line else None


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=no_such_user) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Delegates(receiver.port) as made:
        yield made


@pytest.fixture
def allowed(product):
    """The delegate may send for example.com, as long as the test goes."""
    product.allow("example.com")
    yield product
    product.revoke("example.com")


def event_of(product, reply, kind="Send"):
    assert reply.startswith("250 Ok "), reply
    message_id = reply.split()[-1]
    return eventually(
        lambda: next((one for one in product.events(kind) if one["mail"]["messageId"] == message_id), None)
    )


# --- the flows of the guide ---------------------------------------------------------------------------------------


@pytest.mark.req("AUTHZ-015", "AUTHZ-014", "HDR-015", "HDR-016", "EVT-006", "AUTHZ-019")
def test_the_source_arn_alone_serves_for_all(allowed, receiver):
    before = len(receiver.messages)
    headers = f"{source('example.com')}Return-Path: feedback@example.com\r\n"
    reply = allowed.submit("sender@example.com", headers)
    mail = event_of(allowed, reply)["mail"]
    assert (mail["sendingAccountId"], mail["sourceArn"]) == (DELEGATE, arn("example.com"))
    assert mail["source"] == "sender@example.com"
    assert mail["tags"]["ses:caller-identity"] == [allowed.logins[DELEGATE, ""][0]]
    *_, (_, _, data) = receiver.wait(before + 1)
    assert b"x-ses" not in data.lower()
    assert b"return-path" not in data.lower()
    # The owner's key signs, whoever sends.
    assert b"d=example.com;" in data
    assert dkim.verify(data, dnsfunc=zone(allowed))


@pytest.mark.req("AUTHZ-014", "HDR-015")
def test_the_three_headers_of_the_guide(allowed):
    fields = ("SOURCE", "FROM", "RETURN-PATH")
    headers = "".join(f"X-SES-{field}-ARN: {arn('example.com')}\r\n" for field in fields)
    assert allowed.submit("sender@example.com", headers + "Return-Path: feedback@example.com\r\n").startswith("250")
    for field in fields:  # each is checked on its own
        other = headers.replace(
            f"X-SES-{field}-ARN: {arn('example.com')}", f"X-SES-{field}-ARN: {arn('other.example')}"
        )
        reply = allowed.submit("sender@example.com", other + "Return-Path: feedback@example.com\r\n")
        assert reply == denied(arn("other.example"))


@pytest.mark.req("AUTHZ-017", "AUTHZ-014")
def test_from_of_the_owner_and_feedback_of_the_delegate(allowed):
    own = f"X-SES-RETURN-PATH-ARN: {arn('mine.example', DELEGATE)}\r\nReturn-Path: bounces@mine.example\r\n"
    assert allowed.submit("sender@example.com", source("example.com") + own).startswith("250")
    headers = f"X-SES-FROM-ARN: {arn('example.com')}\r\n"
    assert allowed.submit("sender@example.com", headers, mail_from="bounces@mine.example").startswith("250")
    # Both must be authorized: the source ARN does not cover the delegate's address, nor nobody's.
    for mail_from in ("bounces@mine.example", "x@unknown.example"):
        reply = allowed.submit("sender@example.com", source("example.com"), mail_from=mail_from)
        assert reply == denied(arn("example.com"))


@pytest.mark.req("HDR-016", "HDR-019")
def test_of_a_repeated_header_the_first_counts(allowed):
    good, bad = source("example.com"), source("other.example")
    assert allowed.submit("sender@example.com", good + bad).startswith("250")
    assert allowed.submit("sender@example.com", bad + good) == denied(arn("other.example"))
    lower = good.replace("X-SES-SOURCE-ARN", "x-ses-source-arn")
    assert allowed.submit("sender@example.com", lower).startswith("250")


@pytest.mark.req("AUTHZ-016")
def test_without_an_arn_only_own_identities_count(allowed):
    assert allowed.submit("sender@example.com") == NOT_VERIFIED + "sender@example.com"
    assert allowed.submit("me@mine.example").startswith("250")
    assert allowed.submit("me@mine.example", source("mine.example", DELEGATE)).startswith("250")


@pytest.mark.req("AUTHZ-022")
def test_revocation_holds_from_the_next_request_of_an_open_session(product):
    product.run("identity", "policy", "put", "example.com", "mine", "-", input_text=allowing("example.com"))
    with product.session() as client:
        assert say(client, "sender@example.com", source("example.com")).startswith("250")
        product.run("identity", "policy", "delete", "example.com", "mine")
        assert say(client, "sender@example.com", source("example.com")) == denied(arn("example.com"))
        product.run("identity", "policy", "put", "example.com", "mine", "-", input_text=allowing("example.com"))
        assert say(client, "sender@example.com", source("example.com")).startswith("250")
        edited = allowing("example.com", Principal={"AWS": STRANGER})
        product.run("identity", "policy", "put", "example.com", "mine", "-", input_text=edited)
        assert say(client, "sender@example.com", source("example.com")) == denied(arn("example.com"))
    product.revoke("example.com", "mine")


# --- who pays, who is told -----------------------------------------------------------------------------------------


@pytest.mark.req("AUTHZ-018")
def test_use_bounces_and_suppression_are_the_delegates(allowed):
    sent = {account: allowed.json("account", "show", account)["sentLast24Hours"] for account in (OWNER, DELEGATE)}
    headers = f"{source('example.com')}Return-Path: feedback@example.com\r\n"
    reply = allowed.submit("sender@example.com", headers, recipients=("nobody@remote.example",))
    bounce = event_of(allowed, reply, "Bounce")
    assert bounce["mail"]["sendingAccountId"] == DELEGATE
    now = {account: allowed.json("account", "show", account)["sentLast24Hours"] for account in (OWNER, DELEGATE)}
    assert (now[OWNER] - sent[OWNER], now[DELEGATE] - sent[DELEGATE]) == (0, 1)
    allowed.run("suppression", "add", "listed@remote.example", "--account", OWNER)
    to = {"recipients": ("listed@remote.example",)}
    event_of(allowed, allowed.submit("sender@example.com", headers, **to), "Delivery")
    allowed.run("suppression", "add", "listed@remote.example", "--account", DELEGATE)
    bounce = event_of(allowed, allowed.submit("sender@example.com", headers, **to), "Bounce")
    assert bounce["bounce"]["bounceSubType"] == "OnAccountSuppressionList"


@pytest.mark.req("AUTHZ-021", "FLOW-016")
def test_reports_go_to_the_return_path_of_delegated_mail(allowed, receiver):
    def report_to(address):
        return lambda: next((m for m in receiver.messages if m[0] == "" and m[1] == [address]), None)

    headers = f"{source('example.com')}Return-Path: reports@example.com\r\n"
    allowed.submit(
        "sender@example.com", headers, recipients=("nobody@first.example",), mail_from="envelope@example.com"
    )
    eventually(report_to("reports@example.com"))
    reply = allowed.submit("sender2@example.com", source("example.com"), recipients=("nobody@second.example",))
    event_of(allowed, reply, "Bounce")
    eventually(report_to("sender2@example.com"))
    # An account's own mail has them at the envelope sender.
    own = "Return-Path: other@mine.example\r\n"
    allowed.submit("me@mine.example", own, recipients=("nobody@third.example",), mail_from="envelope@mine.example")
    eventually(report_to("envelope@mine.example"))
    assert not report_to("envelope@example.com")()
    assert not report_to("other@mine.example")()


@pytest.mark.req("AUTHZ-018")
def test_the_delegates_quota_ends_it(allowed):
    assert allowed.submit("sender@example.com", source("example.com")).startswith("250")
    with allowed.catalog() as catalog:
        catalog.accounts.set_quota(DELEGATE, daily_quota=1, send_rate=-1)
    try:
        reply = allowed.submit("sender@example.com", source("example.com"))
        assert reply == "454 Throttling failure: Daily message quota exceeded"
        assert allowed.submit("sender@example.com", account=OWNER).startswith("250")
    finally:
        with allowed.catalog() as catalog:
            catalog.accounts.set_quota(DELEGATE, daily_quota=-1, send_rate=-1)


@pytest.mark.req("AUTHZ-020")
def test_the_configuration_set_is_the_delegates(allowed):
    allowed.run("configuration-set", "create", "owners")
    allowed.run("configuration-set", "create", "delegates", "--account", DELEGATE)
    allowed.run("configuration-set", "default", "example.com", "owners")
    try:
        default = event_of(allowed, allowed.submit("sender@example.com", source("example.com")))
        assert "ses:configuration-set" not in default["mail"]["tags"]
        own = event_of(allowed, allowed.submit("sender@example.com", account=OWNER))
        assert own["mail"]["tags"]["ses:configuration-set"] == ["owners"]
        named = source("example.com") + "X-SES-CONFIGURATION-SET: delegates\r\n"
        chosen = event_of(allowed, allowed.submit("sender@example.com", named))
        assert chosen["mail"]["tags"]["ses:configuration-set"] == ["delegates"]
        reply = allowed.submit("sender@example.com", named.replace("delegates", "owners"))
        assert reply == "554 Message rejected: Configuration set does not exist"
    finally:
        allowed.run("configuration-set", "default", "example.com")


@pytest.mark.req("AUTHZ-019")
def test_the_delegates_own_subdomain_and_keys_do_not_sign_for_the_owner(allowed, receiver):
    allowed.own("sub.example.com", DELEGATE)
    before = len(receiver.messages)
    event = event_of(allowed, allowed.submit("x@sub.example.com", source("example.com")))
    assert event["mail"]["sourceArn"] == arn("example.com")
    *_, (_, _, data) = receiver.wait(before + 1)
    assert b"d=sub.example.com;" not in data
    own = event_of(allowed, allowed.submit("x@sub.example.com"))
    assert own["mail"]["sourceArn"] == arn("sub.example.com", DELEGATE)


@pytest.mark.req("AUTHZ-019", "MIME-008")
def test_converted_for_an_old_receiver_the_owner_signs_again():
    """L08: the receiver has no 8BITMIME; the delegate's account has no key of the domain."""
    text = f"{source('example.com')}From: x@example.com\r\nSubject: x\r\n\r\n".encode() + "Grüße\r\n".encode()

    def old(verb, line):
        return "250-receiver\r\n250 PIPELINING" if verb == "EHLO" else None

    with Receiver(answer=old) as receiver, Delegates(receiver.port) as product:
        product.allow("example.com")
        with product.session() as client:
            client.mail("x@example.com", ["BODY=8BITMIME"])
            client.rcpt("user@remote.example")
            assert client.data(text)[0] == 250
        receiver.wait(1)
        data = receiver.messages[0][2]
        assert data.isascii()
        assert dkim.verify(data, dnsfunc=zone(product))


@pytest.mark.req("AUTHZ-017", "SBX-002")
@pytest.mark.parametrize("sandboxed", [OWNER, DELEGATE])
def test_both_accounts_must_be_out_of_the_sandbox(allowed, sandboxed):
    with allowed.catalog() as catalog:
        catalog.accounts.set_sandbox(sandboxed, sandbox=True)
    try:
        headers = source("example.com")
        reply = allowed.submit("sender@example.com", headers, recipients=("user@remote.example", "a@example.com"))
        assert reply == NOT_VERIFIED + "user@remote.example"
        known = ("someone@example.com", "someone@mine.example")
        assert allowed.submit("sender@example.com", headers, recipients=known).startswith("250")
        free = DELEGATE if sandboxed == OWNER else OWNER
        sender = "me@mine.example" if free == DELEGATE else "me@example.com"
        assert allowed.submit(sender, account=free).startswith("250")
    finally:
        with allowed.catalog() as catalog:
            catalog.accounts.set_sandbox(sandboxed, sandbox=False)


@pytest.mark.req("NOTIF-017", "NOTIF-010")
def test_a_delegate_alone_is_told_by_its_topic_and_has_the_bounces_in_its_rates(product):
    product.own("rated.example")
    product.allow("rated.example")
    name = arn("rated.example")
    for account, identity in ((OWNER, "rated.example"), (DELEGATE, name)):
        product.run("topic", "create", "told", "--account", account)
        product.run("topic", "subscribe", "told", "sqs", "told", "--raw", "--account", account)
        product.run("identity", "notifications", "set", identity, "--bounce-topic", "told", "--account", account)

    def lines(account):
        path = product.data_dir / "queues" / account / "told.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def bounced(account):
        rows = product.rows("statistics", "--account", account, "--by", "identity")
        return sum(row["hardBounces"] for row in rows if row["identity"] in {"rated.example", name})

    to = ("nobody@rated-by.example",)  # whom no other test got suppressed
    reply = product.submit("sender@rated.example", source("rated.example"), recipients=to)
    (told,) = eventually(lambda: lines(DELEGATE))
    assert told["mail"]["messageId"] == reply.split()[-1]
    assert (told["mail"]["sendingAccountId"], told["mail"]["sourceArn"]) == (DELEGATE, name)
    eventually(lambda: bounced(DELEGATE) == 1)
    assert bounced(OWNER) == 0

    own = product.submit("me@rated.example", recipients=to, account=OWNER)
    (of_owner,) = eventually(lambda: lines(OWNER))
    assert of_owner["mail"]["messageId"] == own.split()[-1]
    eventually(lambda: bounced(OWNER) == 1)
    assert len(lines(DELEGATE)) == 1
    assert bounced(DELEGATE) == 1


# --- refusals tell nothing ------------------------------------------------------------------------------------------


@pytest.mark.req("AUTHZ-016", "ERR-003", "SMTP-020")
def test_unknown_unverified_and_not_allowed_are_one_answer(product):
    product.own("pending.example", verified=False)
    product.own("other.example")
    product.own("denies.example")
    product.allow("denies.example", Effect="Deny")
    product.own("strangers.example")
    product.allow("strangers.example", Principal={"AWS": STRANGER})
    product.own("simple.example")
    product.allow("simple.example", Action="ses:SendEmail")
    refused = ("pending.example", "other.example", "denies.example", "strangers.example", "simple.example")
    names = ("nothere.example", *refused)
    for name in names:
        with product.session() as client:  # nothing before the end of the data tells either
            assert say(client, f"a@{name}", source(name)) == denied(arn(name))
        unknown = "999999999999"
        assert product.submit(f"a@{name}", source(name, unknown)) == denied(arn(name, unknown))
    sources = {event["mail"]["source"] for event in product.events("Send")}
    assert not sources & {f"a@{name}" for name in names}


@pytest.mark.req("AUTHZ-005")
def test_smtp_needs_the_raw_action(product):
    product.own("action.example")
    for action in ("SendRawEmail", "Send*", "SendEmail", "SendTemplatedEmail", "SendBulkTemplatedEmail"):
        product.allow("action.example", Action=f"ses:{action}")
        reply = product.submit("a@action.example", source("action.example"))
        if action in {"SendRawEmail", "Send*"}:
            assert reply.startswith("250"), action
        else:
            assert reply == denied(arn("action.example")), action


@pytest.mark.req("AUTHZ-016")
def test_another_region_is_refused(allowed):
    for region in ("us-east-1", "local-2"):
        other = arn("example.com", region=region)
        assert allowed.submit("sender@example.com", f"X-SES-SOURCE-ARN: {other}\r\n") == denied(other)


@pytest.mark.req("AUTHZ-016")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("example.com", "six parts"),
        (arn("example.com").replace("identity/", "topic/"), '"identity/"'),
        (arn("example.com").replace("aws:ses", "aws:sns"), '"ses"'),
        (arn("*"), "neither a domain nor"),
        (arn("sender%40example.com"), "neither a domain nor"),
        (arn("example.com", account="1"), "12 digits"),
        (arn("example.com") + "x" * 400, "longer than"),
    ],
)
def test_what_is_no_arn_of_an_identity_is_told(allowed, text, why):
    reply = allowed.submit("sender@example.com", f"X-SES-SOURCE-ARN: {text}\r\n")
    assert reply.startswith("554 Transaction failed: The source ARN is not the ARN of an identity. ")
    assert why in reply
    assert text not in reply


@pytest.mark.req("ERR-003")
def test_the_log_tells_which_policy_decided_and_the_client_never_learns(product):
    product.own("log.example")
    product.allow("log.example", "secret-name", Sid="SecretSid", Effect="Deny")
    reply = product.submit("a@log.example", source("log.example"))
    assert reply == denied(arn("log.example"))
    line = eventually(lambda: next((one for one in product.log_text().splitlines() if "SecretSid" in one), None))
    assert json.loads(line)["why"] == "explicit deny of policy secret-name, statement SecretSid"
    product.allow("log.example", "secret-name", Sid="OpenSid")
    product.submit("a@log.example", source("log.example"))
    line = eventually(lambda: next((one for one in product.log_text().splitlines() if "OpenSid" in one), None))
    assert json.loads(line)["identity"] == arn("log.example")


# --- which policies stand ------------------------------------------------------------------------------------------


@pytest.mark.req("AUTHZ-012")
def test_a_domain_that_denies_and_an_address_that_allows(product):
    product.own("deny.example")
    product.own("sender@deny.example")
    product.allow("deny.example", Effect="Deny")
    product.allow("sender@deny.example")
    for named in ("deny.example", "sender@deny.example"):
        assert product.submit("sender@deny.example", source(named)).startswith("250")
    assert product.submit("other@deny.example", source("deny.example")) == denied(arn("deny.example"))


@pytest.mark.req("AUTHZ-012")
def test_a_domain_that_allows_and_an_address_that_denies(product):
    product.own("allow.example")
    product.own("sender@allow.example")
    product.allow("allow.example")
    product.allow("sender@allow.example", Effect="Deny")
    for named in ("allow.example", "sender@allow.example"):
        assert product.submit("sender@allow.example", source(named)) == denied(arn(named))
        assert product.submit("sender+x@allow.example", source(named)) == denied(arn(named))
    assert product.submit("other@allow.example", source("allow.example")).startswith("250")


@pytest.mark.req("AUTHZ-011")
def test_a_deny_binds_the_owner_too(product):
    product.own("quiet.example")
    product.allow("quiet.example", Effect="Deny", Principal="*")
    for trusted in (False, True):
        if trusted:
            with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
                client.ehlo()
                reply = say(client, "a@quiet.example")
        else:
            reply = product.submit("a@quiet.example", account=OWNER)
        assert reply == denied(arn("quiet.example"), root(OWNER))
    product.allow("quiet.example", Effect="Deny", Principal={"AWS": DELEGATE})
    assert product.submit("a@quiet.example", account=OWNER).startswith("250")


def test_a_stored_text_that_cannot_be_read_any_more_refuses(product):
    """It was written when the relay had another region, and may hold a Deny."""
    product.own("moved.example")
    with product.catalog() as catalog:
        old = allowing("moved.example").replace("local-1", "old-1")
        catalog.identity_policies.put(OWNER, "moved.example", "old", old, "old-1")
    product.allow("moved.example", "new")
    assert product.submit("a@moved.example", source("moved.example")) == denied(arn("moved.example"))
    assert product.submit("a@moved.example", account=OWNER) == denied(arn("moved.example"), root(OWNER))
    listed = {one["policy"]: one["readable"] for one in product.rows("identity", "policy", "list", "moved.example")}
    assert listed == {"old": False, "new": True}
    shown = product.run("identity", "policy", "show", "moved.example", "old")
    assert "denies everything" in shown.stderr
    product.run("identity", "policy", "delete", "moved.example", "old")
    assert product.submit("a@moved.example", source("moved.example")).startswith("250")


@pytest.mark.req("IDENT-022", "AUTHZ-022")
def test_policies_go_with_their_identity(product):
    product.own("gone.example")
    product.allow("gone.example")
    product.run("identity", "delete", "gone.example", "--yes")
    assert product.submit("a@gone.example", source("gone.example")) == denied(arn("gone.example"))
    product.own("gone.example")
    assert product.submit("a@gone.example", source("gone.example")) == denied(arn("gone.example"))


@pytest.mark.req("AUTHZ-016", "IDENT-012")
def test_an_owner_that_is_closed_or_loses_its_identity_lets_nobody_send(product):
    product.own("lost.example", STRANGER)
    product.allow("lost.example", account=STRANGER)
    headers = source("lost.example", STRANGER)
    assert product.submit("a@lost.example", headers).startswith("250")
    with product.catalog() as catalog:
        catalog.identities.set_verified(STRANGER, "lost.example", verified=False)
    assert product.submit("a@lost.example", headers) == denied(arn("lost.example", STRANGER))
    with product.catalog() as catalog:
        catalog.identities.set_verified(STRANGER, "lost.example")
    assert product.submit("a@lost.example", headers).startswith("250")
    product.run("account", "close", STRANGER, "--yes")
    assert product.submit("a@lost.example", headers) == denied(arn("lost.example", STRANGER))


# --- users ---------------------------------------------------------------------------------------------------------


def user_policy(**elements):
    statement = {"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*"} | elements
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.req("AUTHZ-013", "AUTHZ-011", "ERR-003")
def test_users_of_the_owner(product):
    product.run("user", "create", "billing")
    product.login(OWNER, "billing")
    john = {"account": OWNER, "user": "billing"}
    refused = denied(arn("example.com"), user_arn(OWNER, "billing"))
    assert product.submit("a@example.com", **john) == refused  # no policy, no right
    put = ("user", "policy", "put", "billing", "p", "-")
    product.run(*put, input_text=user_policy())
    assert product.submit("a@example.com", **john).startswith("250")
    for other in ({"Action": "ses:SendEmail"}, {"Effect": "Deny"}, {"Resource": arn("other.example")}):
        product.run(*put, input_text=user_policy(**other))
        assert product.submit("a@example.com", **john) == refused
    product.run(*put, input_text=user_policy(Condition={"StringLike": {"ses:FromAddress": "billing*@example.com"}}))
    assert product.submit("a@example.com", **john) == refused
    assert product.submit("billing+x@example.com", **john).startswith("250")
    # An Allow of the identity is enough as well, and other keys of the account are not bound.
    assert product.submit("a@example.com", account=OWNER).startswith("250")
    product.allow("example.com", Principal={"AWS": user_arn(OWNER, "billing")})
    assert product.submit("a@example.com", **john).startswith("250")
    product.revoke("example.com")
    assert product.submit("a@example.com", **john) == refused


@pytest.mark.req("AUTHZ-004", "AUTHZ-011", "AUTHZ-013", "TAG-004")
def test_users_of_the_delegate(product):
    for name in ("john", "jane"):
        product.run("user", "create", name, "--account", DELEGATE)
        product.login(DELEGATE, name)
    product.run("user", "policy", "put", "john", "p", "-", "--account", DELEGATE, input_text=user_policy())
    product.allow("example.com", Principal={"AWS": user_arn(DELEGATE, "john")})
    headers = source("example.com")
    event = event_of(product, product.submit("a@example.com", headers, user="john"))
    assert event["mail"]["tags"]["ses:caller-identity"] == ["john"]
    jane = denied(arn("example.com"), user_arn(DELEGATE, "jane"))
    assert product.submit("a@example.com", headers, user="jane") == jane  # neither side allows
    assert product.submit("a@example.com", headers) == denied(arn("example.com"))  # the account is not the user
    product.allow("example.com")
    assert product.submit("a@example.com", headers, user="jane") == jane  # her own account does not
    product.run("user", "policy", "put", "jane", "p", "-", "--account", DELEGATE, input_text=user_policy())
    assert product.submit("a@example.com", headers, user="jane").startswith("250")
    product.revoke("example.com")
    assert product.submit("a@example.com", headers, user="jane") == jane


# --- conditions -----------------------------------------------------------------------------------------------------

FEEDBACK = {"StringEquals": {"ses:FeedbackAddress": "feedback@cond.example"}}
MARKETING = {"StringLike": {"ses:FromDisplayName": "Marketing"}}
LABELLED = {"StringLike": {"ses:FromAddress": "marketing+.*@cond.example"}}
BUECHER = {"StringEquals": {"ses:FromDisplayName": "B\u00fccher"}}
TO_REMOTE = {"StringLike": {"ses:Recipients": "*@remote.example"}}
SOME_TO_REMOTE = {f"ForAnyValue:{name}": key for name, key in TO_REMOTE.items()}
TWO, MIXED = ("a@remote.example", "b@remote.example"), ("a@remote.example", "b@else.example")
SINCE, UNTIL = {"aws:CurrentTime": "2021-08-31T12:00Z"}, {"aws:CurrentTime": "2121-12-31T12:00Z"}

# Condition, message, and whether it holds; two answers where an Allow and a Deny take several values differently.
CONDITIONS = [
    ({"StringEquals": {"ses:FromAddress": "marketing@cond.example"}}, {"sender": "marketing@cond.example"}, True),
    ({"StringEquals": {"ses:FromAddress": "marketing@cond.example"}}, {"sender": "Marketing@cond.example"}, False),
    (LABELLED, {"sender": "marketing+.a@cond.example"}, True),
    (LABELLED, {"sender": "marketing+a@cond.example"}, False),
    (MARKETING, {"sender": "Marketing <a@cond.example>"}, True),
    (MARKETING, {"sender": "Marketing Team <a@cond.example>"}, False),
    (MARKETING, {"sender": "a@cond.example"}, False),
    (BUECHER, {"sender": "=?utf-8?q?B=C3=BCcher?= <a@cond.example>"}, True),
    (FEEDBACK, {"headers": "Return-Path: feedback@cond.example\r\n"}, True),
    (FEEDBACK, {"mail_from": "feedback@cond.example"}, True),
    (FEEDBACK, {}, False),
    (TO_REMOTE, {"recipients": TWO}, True),
    (TO_REMOTE, {"recipients": MIXED}, (False, True)),
    (SOME_TO_REMOTE, {"recipients": MIXED}, True),
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {}, True),
    ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {}, False),
    ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {}, False),
    ({"Bool": {"aws:SecureTransport": "true"}}, {}, True),
    ({"Bool": {"aws:SecureTransport": "false"}}, {}, False),
    ({"DateGreaterThan": SINCE, "DateLessThan": UNTIL}, {}, True),
    ({"DateLessThan": SINCE}, {}, False),
    ({"NumericGreaterThan": {"aws:EpochTime": "1630411200"}}, {}, True),
    ({"StringEquals": {"ses:ApiVersion": "2"}}, {}, True),
    ({"StringEquals": {"ses:ApiVersion": "1"}}, {}, False),
    ({"Null": {"aws:UserAgent": "true"}}, {}, True),
]


@pytest.mark.req("AUTHZ-007", "AUTHZ-008", "AUTHZ-009", "AUTHZ-010")
def test_conditions(product):
    product.own("cond.example")
    with product.session() as client:
        for effect in ("Allow", "Deny"):
            product.allow("cond.example", "always", Effect="Allow")
            for condition, message, holds in CONDITIONS:
                if effect == "Allow":
                    product.allow("cond.example", "always", Condition=condition)
                else:
                    product.allow("cond.example", Effect="Deny", Condition=condition)
                reply = say(client, **message_with(message))
                allow, deny = holds if isinstance(holds, tuple) else (holds, holds)
                wanted = allow if effect == "Allow" else not deny
                assert reply.startswith("250") is wanted, (effect, condition, message, reply)
                assert wanted or reply == denied(arn("cond.example"))


def message_with(values):
    sender = values.get("sender", "a@cond.example")
    address = sender.rpartition("<")[2].rstrip(">")
    given = {"sender": sender, "mail_from": address} | values
    return given | {"headers": source("cond.example") + values.get("headers", "")}


@pytest.mark.req("AUTHZ-007")
def test_secure_transport_is_false_where_nothing_is_encrypted(product):
    product.own("clear.example")
    product.allow("clear.example", Effect="Deny", Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
        client.ehlo()
        assert say(client, "a@clear.example") == denied(arn("clear.example"), root(OWNER))
    assert product.submit("a@clear.example", account=OWNER).startswith("250")
    product.revoke("clear.example")
