"""How much of what comes back is read right, and what reading costs: `python -m bench.classify`.

Accuracy is that on the corpus (`tests/corpus`), for the half that rules are written for, the half that they are
not, and the part of the latter that real mail servers wrote. flufl.bounce reads the same reports as a yardstick,
where it can say the same: which addresses failed. Speed is CPU time: of a report, of ordinary mail, of a reply, and
of 10 MB of each hostile shape. `--wrong` names what is not read right, of the half that may be looked at.
"""

import email
import time
from collections.abc import Callable

from flufl.bounce import all_failures

from bench.figures import Figure, arguments, at_least, at_most, finish, show_reference
from relay.mail.classify import classify
from relay.mail.replies import judge
from tests.corpus import captured, development, held_out
from tests.corpus.measure import Score, measure, ordinary_cases
from tests.corpus.parts import Case

HOSTILE_MAX_BYTES = 10_000_000
TARGETS = {"standard": (97, 92), "free": (80, 70)}
HEAD = b"From: MAILER-DAEMON@x.example\r\nSubject: failure notice\r\nMIME-Version: 1.0\r\n"
NOTICE = HEAD + b"\r\nI'm afraid I wasn't able to deliver\r\n"
STATUS = b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
FEEDBACK = b"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n"
HTML = HEAD + b"Content-Type: text/html\r\n\r\n"


def multipart(boundary: bytes, kind: bytes = b"multipart/report; report-type=delivery-status") -> bytes:
    return HEAD + b"Content-Type: %b; boundary=%b\r\n\r\n" % (kind, boundary)


LOOP = multipart(b"b", b"multipart/report; report-type=feedback-report")
# (what a message begins with, what it goes on with for ever)
SHAPES: dict[str, tuple[bytes, bytes]] = {
    "a boundary of dashes": (multipart(b'"-"'), b"-"),
    "empty parts": (multipart(b"b"), b"--b\r\n"),
    "lines like delimiters": (multipart(b"b"), b"--bx\r\n"),
    "parts in parts": (b"", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"),
    "fields": (b"", b"A: b\r\n"),
    "a folded field": (b"A: b\r\n", b" x\r\n"),
    "at signs": (NOTICE, b"@"),
    "addresses": (NOTICE, b"a@b.cd "),
    "recipients": (NOTICE, b"<a@b.cd>:\r\n550 no\r\n"),
    "status blocks": (multipart(b"b") + STATUS, b"Final-Recipient: rfc822; a@b.cd\r\nAction: failed\r\n\r\n"),
    "status fields": (multipart(b"b") + STATUS, b"Final-Recipient: rfc822; a@b.cd\r\n"),
    "empty lines": (multipart(b"b") + STATUS, b"\r\n"),
    "blank lines": (multipart(b"b") + STATUS, b"\r\n \t"),
    "open tags": (HTML, b"<"),
    "open styles": (HTML, b"<style>"),
    "entities": (HTML, b"&amp"),
    "broken base64": (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n", b"A= "),
    "quoted-printable": (HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"=41=\r\n"),
    "replies": (NOTICE, b"550 5.1.1 "),
    "words of rules": (NOTICE, b"user exceeds quota "),
    "complained recipients": (LOOP + FEEDBACK, b"Original-Rcpt-To: <a@b.cd>\r\n"),
    "encoded words": (b"Subject: ", b"=?utf-8?q?=41?= "),
    "vague diagnostics": (
        multipart(b"b") + STATUS,
        b"Final-Recipient: rfc822; a@b.cd\r\nAction: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 550 "
        + b"user mailbox un known <a@b.cd> http://x.y " * 20
        + b"\r\n\r\n",
    ),
    "fields of parts": (multipart(b"b") + b"\r\n", b"--b\r\n" + b"Subject: =?utf-8?q?=41?=\r\n" * 800 + b"\r\n\r\n"),
    "escape sequences": (HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n", b"\x1b$B"),
    "carriage returns": (b"", b"\r"),
    "parameters": (HEAD + b"Content-Type: multipart/report", b"; a=b"),
}  # fmt: skip


def hostile(size_bytes: int) -> dict[str, bytes]:
    return {name: start + more * ((size_bytes - len(start)) // len(more)) for name, (start, more) in SHAPES.items()}


def cpu_us(call: Callable[[], object], rounds: int) -> float:
    begin = time.process_time()
    for _ in range(rounds):
        call()
    return 1_000_000 * (time.process_time() - begin) / rounds


def accuracy(name: str, cases: list[Case], *, targets: bool) -> tuple[list[Figure], dict[str, Score]]:
    scores = measure(cases)
    figures = []
    for group, score in scores.items():
        wanted = TARGETS.get(group) if targets else None
        figures.append(share(f"{name}, {group}: kind and recipients", score.named, score.cases, wanted and wanted[0]))
        if score.typed:
            figures.append(share(f"{name}, {group}: type", score.types, score.typed, wanted and wanted[1]))
            figures.append(share(f"{name}, {group}: type and subtype", score.sub_types, score.typed, None))
    hardened = sum(score.hardened for score in scores.values())
    figures.append(at_most(f"{name}: transient ones called permanent", hardened, 0, ""))
    return figures, scores


def share(name: str, right: int, of: int, wanted: float | None) -> Figure:
    percent, note = 100 * right / of, f"({right} of {of})"
    if wanted is None:
        return Figure(name, "", f"{percent:.1f} % {note}")
    return at_least(name, percent, wanted, "%", note)


def yardstick(name: str, cases: list[Case]) -> list[Figure]:
    """Ask both readers only which addresses failed, of bounces."""
    bounces = [case for case in cases if case.kind == "bounce"]
    ours = theirs = 0
    for case in bounces:
        expected = {each.lower() for each in case.recipients}
        _, permanent = all_failures(email.message_from_bytes(case.content))
        temporary, _ = all_failures(email.message_from_bytes(case.content))
        theirs += {each.decode("utf-8", "replace").lower() for each in permanent | temporary} == expected
        found = classify(case.content)
        ours += found.kind == "bounce" and {each.address.lower() for each in found.recipients} == expected
    return [
        share(f"{name}, bounces: failed addresses", ours, len(bounces), None),
        share(f"{name}, bounces: failed addresses by flufl.bounce", theirs, len(bounces), None),
    ]


def main() -> None:
    """Measure."""
    parser = arguments(__doc__)
    parser.add_argument("--wrong", action="store_true", help="name what is not read right of the half for rules")
    options = parser.parse_args()
    show_reference()
    seen, unseen, written = development.cases(), held_out.cases(), captured.cases()
    figures, scores = accuracy("for rules", seen, targets=False)
    if options.wrong:
        print(*(wrong for score in scores.values() for wrong in score.wrong), sep="\n")
    figures += accuracy("held out", [*unseen, *written], targets=True)[0]
    figures += accuracy("of real servers", written, targets=False)[0]
    everyday = ordinary_cases()
    alarms = sum(score.cases - score.named for score in measure(everyday).values())
    figures.append(at_most(f"false alarms in {len(everyday)} ordinary messages", alarms, 0, ""))
    figures += yardstick("held out", [*unseen, *written])
    rounds = 1 if options.quick else 5
    for name, cases in (("report", [*seen, *unseen, *written]), ("ordinary message", everyday)):
        each = cpu_us(lambda cases=cases: [classify(case.content) for case in cases], rounds) / len(cases)
        figures.append(Figure(f"CPU of a {name}", "", f"{each:.0f} us"))
    texts = [f"550 5.7.1 refused for reason number {number}" for number in range(2000)]
    each = cpu_us(lambda: [judge(550, "5.7.1", text) for text in texts], 1) / len(texts)
    figures.append(Figure("CPU of a reply that no rule fits", "", f"{each:.0f} us"))
    costs = {
        name: cpu_us(lambda data=data: classify(data), 1) / 1000 for name, data in hostile(HOSTILE_MAX_BYTES).items()
    }
    worst = max(costs, key=lambda name: costs[name])
    figures.append(
        at_most(f"CPU of 10 MB of the worst of {len(costs)} hostile shapes", costs[worst], 1000, "ms", f"({worst})")
    )
    finish(figures, options.json)


if __name__ == "__main__":
    main()
