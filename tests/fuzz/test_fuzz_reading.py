"""Whatever comes to a return path, it is read: a value, never an exception, and one that holds together."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.classify import classify
from relay.mail.replies import Fault, judge, judgement_of
from tests.corpus.measure import all_reports, ordinary_cases

SOURCES = [case.content for case in [*all_reports()[::9], *ordinary_cases()[::9]]]
KINDS = {"bounce", "delay", "complaint", "auto-reply", "success", "none"}
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b"\r\n", b"\n\n", b"--", b"\r\n--b\r\n", b"<a@b.example>:", b"550 5.1.1 ", b"\xff\xfe", b"\x00",
         b"Final-Recipient: rfc822; a@b.example", b"=?utf-8?b?A?=", b"@" * 50, b"<style>",
         b"Content-Type: multipart/report; boundary=b\r\n", b"Feedback-Type: abuse\r\n",
         "über@b.example".encode(), b"Content-Transfer-Encoding: base64\r\n"]
    ),
)  # fmt: skip


def check(found):
    assert found.kind in KINDS
    shown = found.explained()
    assert (shown["bounceType"] is not None) == (found.kind == "bounce")
    assert shown["suppress"] in (True, False)
    assert len(found.recipients) <= 1000
    for each in found.recipients:
        for value in (each.address, each.status, each.diagnostic):
            assert len(value) <= 4000
            assert not set("\r\n\0") & set(value)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_changed_reports(data):
    content = bytearray(data.draw(st.sampled_from(SOURCES)))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        content[at : at + data.draw(st.integers(0, 60))] = data.draw(PIECES)
    check(classify(bytes(content)))


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40))
def test_made_up_messages(pieces):
    check(classify(b"".join(pieces)))
    check(classify(b"From: MAILER-DAEMON@x.example\r\nSubject: failure notice\r\n\r\n" + b"".join(pieces)))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 999), st.text(max_size=12), st.text(max_size=200))
def test_judgements(code, enhanced, text):
    judged = judge(code, enhanced, text)
    assert judgement_of(judged.as_json()).bounce == judged.bounce
    if judged.suppresses:
        assert judged.bounce.bounce_type == "Permanent"
        assert judged.fault in {Fault.RECIPIENT, Fault.UNSTATED}
