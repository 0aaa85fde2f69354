"""The dialogue without I/O: scripts of what the host says and what we answer."""

import pytest

from relay.model.content import BodyFile, Content
from relay.model.outcome import Stage, Verdict
from relay.smtp.client.answer import Fault
from relay.smtp.client.envelope import Transaction
from relay.smtp.client.options import ClientOptions, Timeouts, TlsUse
from relay.smtp.client.session import Client
from relay.smtp.client.steps import STEPS, Step

CONTENT = Content(b"Subject: x\r\n\r\n", b".y\r\n")
WIRE = b"Subject: x\r\n\r\n..y\r\n.\r\n"
ONE = Transaction("s@a.example", ("r@b.example",), CONTENT)
THREE = Transaction("s@a.example", ("1@b.example", "2@b.example", "3@b.example"), CONTENT)
LARGE = Transaction("s@a.example", ("r@b.example",), Content(b"Subject: x\r\n\r\n", BodyFile("/nowhere", 0, 10)))
PIPELINED = b"220 mx.example hi\r\n", b"250-mx.example\r\n250 PIPELINING\r\n"
SERIAL = b"220 mx.example hi\r\n", b"250 mx.example\r\n"


class Play:
    """A wire and a user that remember everything."""

    def __init__(self, *greeting, now=0.0, **options):
        self.out = []
        self.events = []
        self.plan = []
        self.client = Client(self, self, ClientOptions("relay.example", **options), now)
        for data in greeting:
            self.hear(data)
        if greeting:
            self.out.clear()

    def hear(self, data, now=1.0):
        self.client.receive(data, now)

    def taken(self):
        out, self.out = self.out, []
        return out

    # wire
    def write(self, data):
        self.out.append(data)

    def write_content(self, content):
        self.out.append("stream")

    def start_tls(self):
        self.out.append("tls")

    def close(self):
        self.out.append("close")

    def abort(self):
        self.out.append("abort")

    left = False

    def unsent(self):
        return self.left

    # user
    def session_ready(self):
        self.events.append("ready")

    def session_failed(self, answer):
        self.events.append(answer)

    def transaction_done(self, transaction, answers):
        self.events.append(answers)
        if self.plan and self.client.idle:
            self.client.send(self.plan.pop(), 1.0)

    def session_over(self):
        self.events.append("over")

    @property
    def answers(self):
        return [event for event in self.events if isinstance(event, list)]


def test_pipelined_transactions_follow_in_the_same_turn():
    play = Play(*PIPELINED)
    assert play.events == ["ready"]
    play.plan = [ONE]
    assert play.client.send(ONE, 1.0) is None
    envelope = b"MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b.example>\r\nDATA\r\n"
    assert play.taken() == [envelope]
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert play.taken() == [WIRE]
    play.hear(b"250 2.0.0 id\r\n")
    assert play.taken() == [envelope]
    assert play.answers[0][0].verdict is Verdict.DELIVERED
    assert not play.client.idle


def test_without_pipelining_one_command_at_a_time():
    play = Play(*SERIAL)
    play.client.send(ONE, 1.0)
    sent = []
    for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 id\r\n"):
        sent += play.taken()
        play.hear(reply)
    assert sent == [b"MAIL FROM:<s@a.example>\r\n", b"RCPT TO:<r@b.example>\r\n", b"DATA\r\n", WIRE]
    assert play.client.idle


def test_refused_recipient_resets_before_the_next_transaction():
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.hear(b"250 ok\r\n550 5.1.1 no\r\n503 5.5.1 no recipients\r\n")
    assert play.answers[0][0].stage is Stage.RCPT
    play.taken()
    play.client.send(ONE, 1.0)
    assert play.taken()[0].startswith(b"RSET\r\nMAIL FROM")
    play.hear(b"250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n250 id\r\n"[:-8])
    assert play.taken() == [WIRE]


def test_354_after_all_recipients_were_refused_gets_a_lone_dot():
    """RFC 2920 section 3.1."""
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.taken()
    play.hear(b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
    assert play.taken() == [b".\r\n"]
    play.hear(b"250 took nothing\r\n")
    assert [answer.verdict for answer in play.answers[0]] == [Verdict.PERMANENT]


def test_too_many_recipients_by_552_is_temporary_behind_accepted_ones():
    """RFC 5321 section 4.5.3.1.10."""
    play = Play(*PIPELINED)
    play.client.send(THREE, 1.0)
    play.hear(b"250 ok\r\n552 5.2.2 full\r\n250 ok\r\n552 5.5.3 too many\r\n354 go\r\n")
    play.hear(b"250 id\r\n")
    assert [(answer.verdict, answer.fault) for answer in play.answers[0]] == [
        (Verdict.PERMANENT, Fault.NONE),
        (Verdict.DELIVERED, Fault.NONE),
        (Verdict.TEMPORARY, Fault.CROWDED),
    ]


def test_the_gate_keeps_the_next_final_dot_until_every_release():
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.client.hold()
    play.client.hold()
    play.taken()
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert play.taken() == []
    play.client.release(1.0)
    assert play.taken() == []
    play.client.release(1.0)
    assert play.taken() == [WIRE]


def test_a_gate_that_stays_shut_leaves_the_message_untouched():
    play = Play(*PIPELINED, timeouts=Timeouts(gate=7.0))
    play.client.hold()
    play.client.send(ONE, 1.0)
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n", now=10.0)
    assert play.client.deadline == 17.0
    play.client.expire(17.0)
    answer = play.answers[0][0]
    assert (answer.verdict, answer.stage, answer.fault) == (Verdict.TEMPORARY, Stage.DATA, Fault.LINK)


def test_an_answer_before_the_message_never_counts():
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n250 thanks\r\n")
    assert play.answers[0][0].verdict is Verdict.TEMPORARY
    assert WIRE not in play.out
    parked = Play(*PIPELINED)
    parked.client.hold()
    parked.client.send(ONE, 1.0)
    parked.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    parked.hear(b"250 thanks\r\n")
    assert parked.answers[0][0].verdict is Verdict.TEMPORARY


@pytest.mark.parametrize(
    ("reply", "verdict", "stage"),
    [
        (b"250 early\r\n", Verdict.UNKNOWN, Stage.FINAL_DOT),
        (b"451 no\r\n", Verdict.TEMPORARY, Stage.DATA),
        (b"552 big\r\n", Verdict.PERMANENT, Stage.DATA),
    ],
)
def test_an_answer_before_the_final_dot_can_have_arrived_is_never_a_delivery(reply, verdict, stage):
    """The dot is on its way, so that nobody can know."""
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    play.left = True
    play.hear(reply)
    assert (play.answers[0][0].verdict, play.answers[0][0].stage) == (verdict, stage)
    assert "abort" in play.out


def test_what_is_no_answer_to_a_whole_message_leaves_it_in_doubt():
    """The host may have it: nothing is sent again on another connection at once."""
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    play.hear(b"354 go on\r\n")
    answer = play.answers[0][0]
    assert (answer.verdict, answer.stage, answer.fault) == (Verdict.UNKNOWN, Stage.FINAL_DOT, Fault.NONE)


def test_more_than_was_asked_for_ends_the_session_before_the_next_command():
    play = Play(b"220 a.example\r\n", b"250-a.example\r\n250 PIPELINING\r\n250 again\r\n")
    assert [(event.stage, event.fault) for event in play.events] == [(Stage.EHLO, Fault.LINK)]
    behind = Play(*PIPELINED)
    behind.plan = [ONE]
    behind.client.send(ONE, 1.0)
    behind.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    behind.hear(b"250 id\r\n250 id\r\n")
    assert [answers[0].verdict for answers in behind.answers] == [Verdict.DELIVERED]
    assert behind.events[-1] == "over"
    assert behind.plan == [ONE]


@pytest.mark.parametrize(
    "heard",
    [
        b"250 stray\r\n250 mail\r\n550 first\r\n250 second\r\n250 third\r\n354 go\r\n",
        b"250 stray\r\n250 mail\r\n250 first\r\n250 second\r\n550 third\r\n354 go\r\n",
    ],
)
def test_replies_that_slipped_by_one_refuse_nobody(heard):
    """A stray reply gives every recipient the reply of the one before: none of them counts then."""
    play = Play(*PIPELINED)
    play.client.send(THREE, 1.0)
    play.hear(heard)
    assert [answer.verdict for answer in play.answers[0]] == [Verdict.TEMPORARY] * 3
    assert not play.client.open


@pytest.mark.parametrize(
    ("heard", "verdict", "stage", "fault"),
    [
        (b"", Verdict.TEMPORARY, Stage.MAIL, Fault.LINK),
        (b"250 ok\r\n", Verdict.TEMPORARY, Stage.RCPT, Fault.PIPELINE),
        (b"250 ok\r\n250 ok\r\n", Verdict.TEMPORARY, Stage.DATA, Fault.PIPELINE),
        (b"250 ok\r\n550 no\r\n", Verdict.PERMANENT, Stage.RCPT, Fault.NONE),
        (b"250 ok\r\n250 ok\r\n354 go\r\n", Verdict.UNKNOWN, Stage.FINAL_DOT, Fault.NONE),
    ],
)
@pytest.mark.parametrize("how", ["lost", "expire"])
def test_a_lost_link(heard, verdict, stage, fault, how):
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.hear(heard)
    if how == "lost":
        play.client.lost("reset by peer")
    else:
        play.client.expire(play.client.deadline)
    answer = play.answers[0][0]
    assert (answer.verdict, answer.stage, answer.fault) == (verdict, stage, fault)
    assert play.events[-1] == "over"
    assert not play.client.open


def test_a_streamed_message():
    play = Play(*PIPELINED, timeouts=Timeouts(block=5.0, final_dot=50.0))
    play.client.send(LARGE, 1.0)
    play.taken()
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n", now=1.0)
    assert play.taken() == ["stream"]
    assert play.client.deadline == 6.0
    play.client.content_progress(4.0)
    assert play.client.deadline == 9.0
    play.client.content_written(8.0)
    assert play.client.deadline == 58.0
    play.hear(b"250 id\r\n")
    assert play.answers[0][0].verdict is Verdict.DELIVERED


@pytest.mark.parametrize(
    ("event", "verdict", "stage"),
    [
        (lambda client: client.lost("gone"), Verdict.TEMPORARY, Stage.FINAL_DOT),
        (lambda client: client.content_failed("unreadable"), Verdict.TEMPORARY, Stage.LOCAL),
        (lambda client: client.receive(b"250 early\r\n", 1.0), Verdict.TEMPORARY, Stage.DATA),
        (lambda client: client.receive(b"552 5.3.4 too big\r\n", 1.0), Verdict.PERMANENT, Stage.DATA),
        (lambda client: client.receive(b"421 bye\r\n", 1.0), Verdict.TEMPORARY, Stage.FINAL_DOT),
    ],
)
def test_a_stream_that_breaks_is_never_unknown(event, verdict, stage):
    play = Play(*PIPELINED)
    play.client.send(LARGE, 1.0)
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    event(play.client)
    answer = play.answers[0][0]
    assert (answer.verdict, answer.stage) == (verdict, stage)
    assert {"abort", "close"} & set(play.out) or not play.client.open


@pytest.mark.req("TLS-003")
def test_starttls_forgets_everything_that_came_in_clear():
    """RFC 3207 section 4.2; what is glued behind the 220 was injected."""
    play = Play()
    play.hear(b"220 mx.example\r\n")
    play.hear(b"250-mx.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
    play.taken()
    play.hear(b"220 go\r\n250-evil.example\r\n250 AUTH PLAIN\r\n")
    play.hear(b"250 more injected\r\n")
    assert play.taken() == ["tls"]
    assert play.events == []
    play.client.tls_started(1.0)
    assert play.taken() == [b"EHLO relay.example\r\n"]
    play.hear(b"250 mx.example\r\n")
    assert play.events == ["ready"]
    assert not play.client.extensions.pipelining


@pytest.mark.parametrize(
    ("use", "ehlo", "fault"),
    [
        (TlsUse.REQUIRED, b"250 mx.example\r\n", Fault.LINK),
        (TlsUse.REQUIRED, b"502 no\r\n250 mx.example\r\n", Fault.LINK),
    ],
)
def test_required_tls_that_is_not_offered(use, ehlo, fault):
    play = Play(tls=use)
    play.hear(b"220 mx.example\r\n")
    for reply in ehlo.splitlines(keepends=True):
        play.hear(reply)
    answer = play.events[0]
    assert (answer.verdict, answer.stage, answer.enhanced, answer.fault) == (
        Verdict.TEMPORARY,
        Stage.TLS,
        "4.7.4",
        fault,
    )


def test_credentials_never_go_out_in_clear_unless_told():
    heard = b"220 mx.example\r\n", b"250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n"
    play = Play(username="u", password="p")
    for data in heard:
        play.hear(data)
    assert play.events[0].stage is Stage.AUTH
    assert not any(b"AUTH" in line for line in play.out if isinstance(line, bytes))
    told = Play(username="u", password="p", clear_auth=True, tls=TlsUse.NEVER)
    for data in heard:
        told.hear(data)
    assert told.taken()[-1] == b"AUTH PLAIN AHUAcA==\r\n"
    told.hear(b"235 welcome\r\n")
    assert told.events == ["ready"]


def test_misunderstood_pipelining_is_no_refusal():
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.hear(b"250 ok\r\n503 5.5.1 MAIL first\r\n")
    assert (play.answers[0][0].fault, play.client.open) == (Fault.PIPELINE, False)
    assert play.answers[0][0].verdict is Verdict.TEMPORARY  # also when it is not tried again at once
    serial = Play(*SERIAL)
    serial.client.send(ONE, 1.0)
    serial.hear(b"250 ok\r\n")
    serial.hear(b"503 5.5.1 no\r\n")
    assert (serial.answers[0][0].verdict, serial.answers[0][0].fault) == (Verdict.PERMANENT, Fault.NONE)


@pytest.mark.parametrize("transaction", [ONE, LARGE])
def test_421_in_the_middle_of_the_message_keeps_the_final_dot_from_leaving(transaction):
    """It is tried again at once elsewhere: what still waits here must not make a second copy."""
    play = Play(*PIPELINED)
    play.client.send(transaction, 1.0)
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    play.taken()
    play.left = True
    play.hear(b"421 4.3.2 going down\r\n")
    answer = play.answers[0][0]
    assert (answer.verdict, answer.fault, answer.code) == (Verdict.TEMPORARY, Fault.LINK, 421)
    assert play.taken() == ["abort"]
    assert play.events[-1] == "over"


def test_421_to_a_whole_message_is_no_delivery_and_the_link_is_closed():
    play = Play(*PIPELINED)
    play.client.send(ONE, 1.0)
    play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    play.taken()
    play.hear(b"421 4.3.2 going down\r\n")
    answer = play.answers[0][0]
    assert (answer.verdict, answer.fault, answer.stage) == (Verdict.TEMPORARY, Fault.LINK, Stage.FINAL_DOT)
    assert play.taken() == ["close"]


def test_half_a_reply_to_an_idle_session_ends_it():
    """Its other half would be taken for the reply to the next MAIL, and refuse that message."""
    play = Play(*PIPELINED)
    play.hear(b"550 5.3.0 idle ")
    assert play.events == ["ready", "over"]
    assert play.taken() == ["close"]
    assert not play.client.idle


@pytest.mark.parametrize(
    ("extended", "verdict", "enhanced"), [(False, "temporary", "4.6"), (True, "permanent", "5.6")]
)
def test_who_was_not_asked_for_extensions_refuses_nothing_for_good(extended, verdict, enhanced):
    play = Play(b"220 x\r\n", b"250 x\r\n", extended=extended)
    eight = Transaction(
        "s@a.example", ("r@b.example",), Content(b"Subject: x\r\n\r\n", b"\xc3\xbc\r\n"), eight_bit=True
    )
    wide = Transaction("s@a.example", ("\u00fc@b.example",), CONTENT, smtputf8=True)
    for transaction in (eight, wide):
        answer = play.client.send(transaction, 1.0)
        assert (answer.verdict.value, answer.enhanced[:3], answer.fault) == (verdict, enhanced, Fault.NONE)
    never = play.client.send(Transaction("s@a.example", ("r>@b.example",), CONTENT), 1.0)
    assert (never.verdict, never.enhanced) == (Verdict.PERMANENT, "5.1.3")


def test_421_to_an_idle_session_ends_it_in_silence():
    play = Play(*PIPELINED)
    play.hear(b"421 idle too long\r\n")
    assert play.events == ["ready", "over"]
    assert play.taken() == ["close"]


def test_loop():
    for heard in ([b"220 Relay.Example. ESMTP\r\n"], [b"220 x\r\n", b"250-relay.example hi\r\n250 SIZE\r\n"]):
        play = Play(own_names=frozenset({"relay.example"}))
        for data in heard:
            play.hear(data)
        assert (play.events[0].enhanced, play.events[0].fault) == ("5.4.6", Fault.LOOP)


def test_every_state_has_its_row_and_somebody_who_takes_its_reply():
    assert [step.value for step in Step] == list(range(len(STEPS)))
    assert len(Play().client._handlers) == len(STEPS)


@pytest.mark.parametrize(
    ("stage", "heard"),
    [
        ("greeting", []),
        ("ehlo", [b"220 x\r\n"]),
        ("mail", [*PIPELINED, None]),
        ("rcpt", [*PIPELINED, None, b"250 ok\r\n"]),
        ("data", [*PIPELINED, None, b"250 ok\r\n250 ok\r\n"]),
        ("final_dot", [*PIPELINED, None, b"250 ok\r\n250 ok\r\n354 go\r\n"]),
    ],
)
def test_every_stage_has_its_own_deadline(stage, heard):
    times = {name: 10.0 + number for number, name in enumerate(Timeouts.__slots__)}
    play = Play(timeouts=Timeouts(**times), now=1.0)
    for data in heard:
        if data is None:
            play.client.send(ONE, 1.0)
        else:
            play.hear(data, 1.0)
    assert play.client.deadline == 1.0 + times[stage]
    play.client.expire(play.client.deadline - 0.01)
    assert play.client.open
    play.client.expire(play.client.deadline)
    assert not play.client.open


def test_implicit_tls_comes_before_the_greeting():
    """RFC 8314 section 3: nothing is said in clear, and STARTTLS is not used inside."""
    play = Play(tls=TlsUse.IMPLICIT, username="u", password="p", timeouts=Timeouts(tls=7, greeting=11))
    assert play.taken() == ["tls"]
    assert play.client.deadline == 7
    play.hear(b"220 mx.example in clear\r\n250 AUTH PLAIN\r\n")
    assert play.taken() == []
    play.client.tls_started(2.0)
    assert play.taken() == []
    assert play.client.deadline == 13
    play.hear(b"220 mx.example hi\r\n", 3.0)
    assert play.taken() == [b"EHLO relay.example\r\n"]
    play.hear(b"250-mx.example\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", 3.0)
    assert play.taken() == [b"AUTH PLAIN AHUAcA==\r\n"]
    play.hear(b"235 welcome\r\n", 3.0)
    assert play.events == ["ready"]


@pytest.mark.parametrize("how", ["failed", "expired", "lost"])
def test_without_implicit_tls_nothing_is_said(how):
    play = Play(tls=TlsUse.IMPLICIT, username="u", password="p")
    play.taken()
    if how == "failed":
        play.client.tls_failed("wrong version number")
    elif how == "expired":
        play.client.expire(1000.0)
    else:
        play.client.lost("closed by the remote")
    (answer,) = play.events
    assert (answer.verdict, answer.stage, answer.fault) == (Verdict.TEMPORARY, Stage.TLS, Fault.TLS)
    assert not any(isinstance(out, bytes) for out in play.out)


def test_a_refusal_in_place_of_the_greeting_inside_tls():
    play = Play(tls=TlsUse.IMPLICIT)
    play.client.tls_started(1.0)
    play.hear(b"554 5.3.2 no service\r\n")
    (answer,) = play.events
    assert (answer.stage, answer.code) == (Stage.GREETING, 554)
