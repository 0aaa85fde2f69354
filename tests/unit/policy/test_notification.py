"""What a sender is told: RFC 3461 sections 4.1 and 5.2, RFC 2852 section 4, as tables."""

from dataclasses import replace

import pytest

from relay.mail.feedback import Cause
from relay.model.message import Delivery, SendOptions
from relay.model.outcome import Outcome, Stage, Verdict
from relay.policy.notification import delay_due_ms, failure_told, next_hop_told, report_forwarded, success_told
from relay.smtp.client.envelope import Parameters, Transaction, mail_command, rcpt_commands
from relay.smtp.client.extensions import Extensions, parse
from relay.smtp.client.reply import Reply
from tests.unit.mail.messages import message

TAKEN = Outcome(Verdict.DELIVERED, Stage.FINAL_DOT, 250, "2.0.0", "ok")
ACCEPTED_MS = message("s@a.example").accepted_ms


def delivery(wishes="", recipient="r@b.example", *, told=False, **options):
    sent = replace(message("s@a.example"), options=SendOptions(**options))
    return Delivery(sent, 0, recipient, wishes=wishes, delay_told=told)


@pytest.mark.parametrize(
    ("wishes", "mode", "reports", "cause"),
    [
        ("", "", False, None),
        ("NOTIFY=FAILURE", "", False, None),
        ("NOTIFY=SUCCESS", "", False, Cause.RELAYED),
        ("NOTIFY=SUCCESS", "", True, None),
        ("", "RT", True, Cause.RELAYED),
        ("NOTIFY=NEVER", "RT", False, None),
        ("", "R", False, None),
    ],
)
def test_success(wishes, mode, reports, cause):
    assert success_told(delivery(wishes, deliver_by_mode=mode), replace(TAKEN, reports=reports)) is cause


def test_failure():
    assert [failure_told(delivery(each)) for each in ("", "NOTIFY=NEVER", "NOTIFY=DELAY", "NOTIFY=FAILURE")] == [
        True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wishes", "options", "due_ms"),
    [
        ("", {}, 0),
        ("NOTIFY=SUCCESS", {"deliver_by_ms": 5, "deliver_by_mode": "N"}, 0),
        ("NOTIFY=NEVER", {"deliver_by_ms": 5, "deliver_by_mode": "N"}, 0),
        ("NOTIFY=DELAY", {}, ACCEPTED_MS + 1000),
        ("NOTIFY=DELAY", {"release_ms": ACCEPTED_MS + 10}, ACCEPTED_MS + 1010),
        ("", {"deliver_by_ms": 5, "deliver_by_mode": "N"}, 5),
        ("", {"deliver_by_ms": 5, "deliver_by_mode": "R"}, 0),
        ("NOTIFY=DELAY", {"deliver_by_ms": 5, "deliver_by_mode": "NT"}, 5),
        ("NOTIFY=DELAY", {"deliver_by_ms": ACCEPTED_MS * 2, "deliver_by_mode": "N"}, ACCEPTED_MS + 1000),
    ],
)
def test_delay(wishes, options, due_ms):
    assert delay_due_ms(delivery(wishes, **options), 1000) == due_ms
    assert delay_due_ms(delivery(wishes, told=True, **options), 1000) == 0


def test_reports_of_others_go_on_to_those_who_asked():
    assert [report_forwarded(delivery("NOTIFY=DELAY"), kind) for kind in ("delay", "success", "auto-reply")] == [
        True, False, True,
    ]  # fmt: skip
    assert not report_forwarded(delivery(), "success")
    assert not report_forwarded(delivery("NOTIFY=NEVER"), "delay")


def told(*deliveries, ours=True, host):
    given = next_hop_told(deliveries, ACCEPTED_MS, return_path_is_ours=ours)
    recipients = tuple(one.recipient for one in deliveries)
    transaction = Transaction("p@own.example", recipients, None, parameters=given)
    return [line.decode().rstrip() for line in (mail_command(transaction, host), *rcpt_commands(transaction, host))]


def test_a_next_hop_hears_what_it_understands():
    able = Extensions(dsn=True, deliver_by_min=30)
    one = delivery(
        "NOTIFY=NEVER", ret="FULL", envelope_id="i+2B", deliver_by_ms=ACCEPTED_MS + 60_000, deliver_by_mode="R"
    )
    assert told(one, ours=False, host=able) == [
        "MAIL FROM:<p@own.example> RET=FULL ENVID=i+2B BY=60;R",
        "RCPT TO:<r@b.example> NOTIFY=NEVER",
    ]
    assert told(one, host=able)[1] == "RCPT TO:<r@b.example> NOTIFY=FAILURE"
    assert told(one, host=Extensions()) == ["MAIL FROM:<p@own.example>", "RCPT TO:<r@b.example>"]
    assert told(one, host=Extensions(dsn=True, deliver_by_min=61))[0].endswith("ENVID=i+2B")
    late = delivery(deliver_by_ms=ACCEPTED_MS - 5000, deliver_by_mode="N")
    assert told(late, host=able)[0] == "MAIL FROM:<p@own.example> BY=-5;N"
    several = (delivery("NOTIFY=DELAY"), delivery("", "q@b.example"))
    assert told(*several, host=able)[1:] == ["RCPT TO:<r@b.example> NOTIFY=DELAY,FAILURE", "RCPT TO:<q@b.example>"]
    assert next_hop_told([delivery()], ACCEPTED_MS, return_path_is_ours=True) is None
    assert next_hop_told([delivery(pool="x")], ACCEPTED_MS, return_path_is_ours=True) is None
    assert isinstance(next_hop_told([delivery(ret="FULL")], ACCEPTED_MS, return_path_is_ours=True), Parameters)


@pytest.mark.parametrize(
    ("line", "limits"),
    [
        (b"LIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1", (5, 20, 1)),
        (b"limits rcptmax=20", (0, 20, 0)),
        (b"LIMITS", (0, 0, 0)),
        (b"LIMITS RCPTMAX=0 MAILMAX= RCPTDOMAINMAX=1000000", (0, 0, 0)),
        (b"LIMITS RCPTMAX=-1 MAILMAX=x OTHER=3 RCPTMAX=7 RCPTMAX=9", (0, 7, 0)),
    ],
)
def test_limits_of_a_host(line, limits):
    """RFC 9422 section 3: what is malformed is ignored."""
    found = parse(Reply(250, (b"host", line, b"DSN", b"DELIVERBY 240", b"AUTH=LOGIN")))
    assert (found.messages_max, found.recipients_max, found.recipient_domains_max) == limits
    assert (found.dsn, found.deliver_by_min, found.auth) == (True, 240, frozenset({"LOGIN"}))
