"""Section C and D10 where one account sends for another: no trick makes more of a permission than was given.

The owner lets the delegate send as `news@open.example` and as all of `whole.example`; the delegate owns
`mine.example`. Every case must end in a refusal, with nothing queued, unless it says otherwise.
"""

import json
import time

import pytest

from tests.adversarial.wire import settled
from tests.delegates import DELEGATE, OWNER, STRANGER, Delegates, arn, denied, say, source
from tests.product import Receiver

TO = "To: user@remote.example\r\nSubject: x\r\n\r\nhi\r\n"


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Delegates(receiver.port) as made:
        for name in ("open.example", "news@open.example", "whole.example", "closed.example", "xn--bcher-kva.example"):
            made.own(name)
        for name in ("news@open.example", "whole.example", "xn--bcher-kva.example"):
            made.allow(name)
        made.own("strangers.example", STRANGER)
        yield made


def raw(product, head, mail_from="a@whole.example", account=DELEGATE, options=()):
    """Submit a header section as it stands and return "code text"."""
    with product.session(account) as client:
        client.ehlo_or_helo_if_needed()
        code, text = client.mail(mail_from, options)
        assert code == 250, text
        client.rcpt("user@remote.example")
        code, text = client.data((head + TO).encode())
        return f"{code} {text.decode()}"


WHOLE = source("whole.example")

FROM_TRICKS = [
    "From: someone@closed.example\r\n",
    "From: a@whole.example, x@closed.example\r\nSender: x@closed.example\r\n",
    "From: a@whole.example, x@closed.example\r\nSender: a@whole.example\r\n",
    "From: a@whole.example\r\nFrom: x@closed.example\r\n",
    "From: x@closed.example\r\nFrom: a@whole.example\r\n",
    "From: x@closed.example (a@whole.example)\r\n",
    'From: "a@whole.example" <x@closed.example>\r\n',
    "From: a@whole.example <x@closed.example>\r\n",
    "From: group: a@whole.example, x@closed.example;\r\n",
    "From: a@whole.example.closed.example\r\n",
    "From: a@notwhole.example\r\n",
    "From: a@whole.example.\r\n",
    "From: a@wh\u043ele.example\r\n",
    "From: a@xn--whle-emd.example\r\n",
    "From: =?utf-8?q?a=40whole=2Eexample?= <x@closed.example>\r\n",
    "From: a@whole.example\r\nSender: x@closed.example\r\n",
    "From: a@whole.example\r\nSender: x@mine.example\r\n",
    "From: a@whole.example\r\nReturn-Path: x@closed.example\r\n",
    "From: a@whole.example\r\nReturn-Path: x@mine.example\r\n",
    "From: a@example\r\n",
    'From: "a@whole.example\\"@closed.example\r\n',
    "From: @whole.example:x@closed.example\r\n",
    "From: a%whole.example@closed.example\r\n",
]


@pytest.mark.req("AUTHZ-017", "HDR-011", "AUTHZ-016")
@pytest.mark.parametrize("head", FROM_TRICKS)
def test_a_source_arn_opens_no_other_from(product, receiver, head):
    before = len(receiver.messages)
    assert raw(product, WHOLE + head).startswith("554")
    settled(product)
    assert len(receiver.messages) == before


@pytest.mark.req("AUTHZ-017")
@pytest.mark.parametrize(
    "mail_from",
    ["x@closed.example", "x@mine.example", "x@strangers.example", "x@whole.example.closed.example", "x@open.example"],
)
def test_a_source_arn_opens_no_other_envelope(product, mail_from):
    assert raw(product, f"{WHOLE}From: a@whole.example\r\n", mail_from) == denied(arn("whole.example"))


@pytest.mark.req("AUTHZ-012", "IDENT-005", "IDENT-006")
@pytest.mark.parametrize("named", ["news@open.example", "open.example"])
def test_a_permission_for_an_address_is_for_that_address(product, named):
    """C33: its labels are covered, as everywhere; another case of the local part is another address."""
    headers = source(named)
    for good in ("news@open.example", "news+label@open.example", "news@OPEN.example"):
        assert product.submit(good, headers, mail_from=good).startswith("250"), good
    for bad in (
        "News@open.example",
        "new@open.example",
        "news@sub.open.example",
        "news-x@open.example",
        "+x@open.example",
    ):
        assert product.submit(bad, headers, mail_from=bad) == denied(arn(named)), bad


@pytest.mark.req("IDENT-005", "IDENT-002")
def test_cases_and_labels_of_the_domain(product):
    """C31, C32: case is equal, subdomains are covered, A-labels and U-labels are one; a final dot is refused."""
    for good in ("a@WHOLE.Example", "a@sub.whole.example", "a@deep.sub.whole.example"):
        assert product.submit(good, WHOLE).startswith("250"), good
    unicode = source("xn--bcher-kva.example") + "From: a@b\u00fccher.example\r\n"
    assert raw(product, unicode, "a@xn--bcher-kva.example", options=["SMTPUTF8"]).startswith("250")
    named = "X-SES-SOURCE-ARN: arn:aws:ses:local-1:000000000001:identity/b\u00fccher.example\r\n"
    assert raw(product, f"{named}From: a@xn--bcher-kva.example\r\n", "a@xn--bcher-kva.example").startswith("554")
    assert raw(product, f"{WHOLE}From: a@whole.example.\r\n").startswith("554")


@pytest.mark.req("DKIM-012", "AUTHZ-019", "HDR-011")
def test_sender_and_resent_from_choose_no_signature(product, receiver):
    """C30: they must be covered too, and the author's domain signs."""
    before = len(receiver.messages)
    product.own("second.example")
    product.allow("second.example")
    head = f"{WHOLE}From: a@whole.example\r\nSender: b@sub.whole.example\r\nResent-From: c@second.example\r\n"
    assert raw(product, head).startswith("250")
    *_, (_, _, data) = receiver.wait(before + 1)
    assert b"d=whole.example;" in data
    assert b"d=second.example;" not in data


@pytest.mark.req("SMTP-017", "AUTHZ-017")
def test_the_null_sender_still_needs_a_from_that_is_allowed(product):
    """D10."""
    assert raw(product, f"{WHOLE}From: a@whole.example\r\n", "").startswith("250")
    assert raw(product, f"{WHOLE}From: a@closed.example\r\n", "") == denied(arn("whole.example"))
    assert raw(product, "From: a@whole.example\r\n", "").startswith("554")
    head = f"{WHOLE}From: a@whole.example\r\nReturn-Path: a@closed.example\r\n"
    assert raw(product, head, "") == denied(arn("whole.example"))


ARN_TRICKS = [
    arn("whole.example").upper(),
    arn("whole.example") + ":x",
    arn("whole.example") + "/x",
    arn("whole.example").replace("identity/", "identity//"),
    arn("whole.example").replace("000000000001", "1"),
    arn("whole.example").replace("000000000001", "\u0660" * 12),
    arn("whole.example").replace("whole", "wh%6fle"),
    arn("*.example"),
    arn("whole.exampl?"),
    arn("whole.example\u200b"),
    arn("example"),
    arn(""),
    "arn:aws:iam::000000000001:root",
    "*",
    "x" * 900,
]


@pytest.mark.req("AUTHZ-016")
@pytest.mark.parametrize("text", ARN_TRICKS)
def test_an_arn_has_one_form(product, text):
    reply = raw(product, f"X-SES-SOURCE-ARN: {text}\r\nFrom: a@whole.example\r\n")
    assert reply.startswith("554"), reply
    assert len(reply) <= 510


@pytest.mark.req("AUTHZ-016", "ERR-003")
def test_nobody_names_probes_or_shadows(product):
    """A subdomain that a stranger verified for itself neither opens nor closes the owner's."""
    product.own("sub.whole.example", STRANGER)
    product.own("sub.closed.example", DELEGATE)
    assert product.submit("a@sub.whole.example", source("sub.whole.example", STRANGER)) == denied(
        arn("sub.whole.example", STRANGER)
    )
    assert product.submit("a@sub.whole.example", WHOLE).startswith("250")
    assert product.submit("a@sub.closed.example", source("closed.example")) == denied(arn("closed.example"))
    assert product.submit("a@closed.example", source("sub.closed.example", DELEGATE)).startswith("554")
    stolen = product.submit("a@whole.example", WHOLE, account=STRANGER)
    assert stolen == denied(arn("whole.example"), f"arn:aws:iam::{STRANGER}:root")


def largest(name):
    """Return the text of a policy of the maximum size whose patterns are as slow as they come."""
    statement = {"Effect": "Allow", "Principal": {"AWS": DELEGATE}, "Action": "ses:Send*", "Resource": arn(name)}
    values: list[str] = []
    while (
        len(
            text := json.dumps(
                {"Statement": statement | {"Condition": {"StringLike": {"ses:FromDisplayName": values}}}}
            )
        )
        < 3900
    ):
        values.append("*a?" * 20 + f"*b{len(values)}*")
    return text


@pytest.mark.req("AUTHZ-001", "AUTHZ-009")
def test_a_long_name_and_the_largest_policies_do_not_stall_the_loop(product):
    """C-section bombs: ten thousand characters of From, fifty authors, a thousand recipients, twenty policies."""
    product.own("slow.example")
    for number in range(20):
        product.allow("slow.example", f"p{number}", text=largest("slow.example"))
    fold = "\r\n ".join(["a" * 900] * 10)
    authors = ",\r\n ".join(f"{'a' * 150} <u{n}@slow.example>" for n in range(50))
    many = f"From: {authors}\r\nSender: u0@slow.example\r\n"
    cases = {
        "one": ("From: a <a@slow.example>\r\n", 1),
        "long name": (f"From: {fold} <a@slow.example>\r\n", 1),
        "many authors": (many, 1),
        "many recipients": ("From: a <a@slow.example>\r\n", 900),
    }
    with product.session() as client:
        for name, (head, recipients) in cases.items():
            assert client.mail("a@slow.example")[0] == 250
            for number in range(recipients):
                client.rcpt(f"r{number}@remote.example")
            client.putcmd("data")
            client.getreply()
            client.send((source("slow.example") + head + TO + ".\r\n").encode())
            begin = time.monotonic()
            code, text = client.getreply()
            spent = time.monotonic() - begin
            assert f"{code} {text.decode()}" == denied(arn("slow.example")), name
            assert spent < 1, (name, spent)  # measured: 5 to 60 ms
            print(f"{name}: {spent * 1000:.0f} ms")
    for number in range(20):
        product.revoke("slow.example", f"p{number}")
    product.allow("slow.example")
    with product.session() as client:
        assert say(client, "a@slow.example", source("slow.example")).startswith("250")
    assert product.submit("a@slow.example", account=OWNER).startswith("250")
