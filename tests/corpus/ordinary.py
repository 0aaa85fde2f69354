"""Ordinary mail that looks a little like a report: none of it may be taken for one."""

from tests.corpus.parts import PATH, Case, Names, fill, message

EXIM_TEXT = (
    "This message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered"
    " to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  {rcpt}\n"
    "    550 5.1.1 User unknown\n"
)
QMAIL_TEXT = (
    "Hi. This is the qmail-send program at {host}.\nI'm afraid I wasn't able to deliver your message to the following"
    " addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n<{rcpt}>:\n550 no such user\n"
)
STATUS_TEXT = (
    "Reporting-MTA: dns; {host}\n\nFinal-Recipient: rfc822; {rcpt}\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 user unknown\n"
)
ARF_TEXT = "Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: {rcpt}\n"
QUOTES = {"exim": EXIM_TEXT, "qmail": QMAIL_TEXT, "status": STATUS_TEXT, "arf": ARF_TEXT}
PERSON = "From: Lea Kim <lea@person.example>\nTo: {path}\nDate: {date}\nMessage-ID: <{token}@person.example>\n"


def _quoted(text: str) -> str:
    return "".join(f"> {line}\n" for line in text.splitlines())


def _multipart(head: str, kind: str, *parts: str) -> str:
    joined = "".join(f"--cut\n{part}\n" for part in parts)
    return f'{head}MIME-Version: 1.0\nContent-Type: {kind}; boundary="cut"\n\n{joined}--cut--\n'


def _report(kind: str, part: str, text: str) -> str:
    inner = "From: MAILER-DAEMON@{host}\nTo: someone@person.example\nSubject: Undelivered Mail\nMIME-Version: 1.0\n"
    inner += f'Content-Type: multipart/report; report-type={kind}; boundary="in"\n\n'
    return inner + f"--in\nContent-Type: text/plain\n\nFailed.\n--in\nContent-Type: {part}\n\n{text}\n--in--\n"


def _texts() -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, quote in QUOTES.items():
        texts[f"reply-{name}"] = (
            f"{PERSON}Subject: Re: Undelivered Mail Returned to Sender\nIn-Reply-To: <1@host.example>\n\n"
            f"What does this mean?\n\n{_quoted(quote)}"
        )
        texts[f"postmaster-quotes-{name}"] = (
            f"From: Ines <postmaster@person.example>\nTo: {{path}}\nDate: {{date}}\nReturn-Path: <ines@person.example>\n"
            f"Subject: A question about your mail\n\nHello,\n\nyour system wrote to us:\n\n{quote}\nInes\n"
        )
        texts[f"pasted-{name}"] = (
            f"{PERSON}Subject: help please\n\nHello, I got this today:\n\n{quote}\nThanks, Lea\n"
        )
        texts[f"pasted-only-{name}"] = (
            f"{PERSON}Subject: Fwd: Mail delivery failed: returning message to sender\n\n{quote}"
        )
        texts[f"forwarded-inline-{name}"] = (
            f"{PERSON}Subject: Fw: failure notice\n\n-----Original Message-----\nFrom: MAILER-DAEMON@{{host}}\n"
            f"Subject: failure notice\n\n{quote}"
        )
        texts[f"list-{name}"] = (
            f"From: Erik via users <users@lists.example>\nTo: users@lists.example\nSubject: [users] failure notice?\n"
            f"List-Id: <users.lists.example>\nList-Post: <mailto:users@lists.example>\nPrecedence: list\nDate: {{date}}\n\n"
            f"My server says:\n\n{quote}"
        )
        texts[f"digest-{name}"] = (
            f"From: users-request@lists.example\nTo: users@lists.example\nSubject: users Digest, Vol 12, Issue 3\n"
            f"List-Id: <users.lists.example>\nPrecedence: list\nDate: {{date}}\n\nToday's Topics:\n\n   1. Undelivered Mail"
            f" Returned to Sender\n\n---\n\n{quote}"
        )
        texts[f"cron-{name}"] = (
            f"From: root@host.example (Cron Daemon)\nTo: {{path}}\nSubject: Cron <root@host> /usr/bin/mailq-report\n"
            f"Auto-Submitted: auto-generated\nDate: {{date}}\nX-Cron-Env: <SHELL=/bin/sh>\n\n{quote}"
        )
        texts[f"ticket-{name}"] = (
            f"From: Support <support@help.example>\nTo: {{path}}\nSubject: [#812] Undeliverable: what to do\nDate: {{date}}\n"
            f"Auto-Submitted: auto-generated\nX-RT-Ticket: 812\n\nErik wrote:\n\n{quote}"
        )
        texts[f"newsletter-{name}"] = (
            f"From: Mail Weekly <news@weekly.example>\nTo: {{path}}\nSubject: What bounces mean\nPrecedence: bulk\n"
            f"List-Unsubscribe: <https://weekly.example/u>\nDate: {{date}}\n\nThis week: how to read a bounce.\n\n{quote}"
        )
        texts[f"docs-html-{name}"] = (
            f"{PERSON}Subject: article\nContent-Type: text/html\n\n<html><body><h1>Delivery failed</h1><pre>{quote}</pre>"
        )
    for kind, part, text in (
        ("delivery-status", "message/delivery-status", STATUS_TEXT),
        ("feedback-report", "message/feedback-report", ARF_TEXT),
    ):
        inner = _report(kind, part, text)
        texts[f"attached-{kind}"] = _multipart(
            f"{PERSON}Subject: Fwd: a report\n", "multipart/mixed",
            "Content-Type: text/plain\n\nPlease look at this.", f"Content-Type: message/rfc822\n\n{inner}",
        )  # fmt: skip
        texts[f"digest-mime-{kind}"] = _multipart(
            "From: users-request@lists.example\nTo: {path}\nSubject: Digest\nList-Id: <u.lists.example>\nDate: {date}\n",
            "multipart/digest", f"\n{inner}",
        )  # fmt: skip
        texts[f"part-{kind}"] = _multipart(
            f"{PERSON}Subject: Fwd: a part of a report\n", "multipart/mixed",
            "Content-Type: text/plain\n\nOnly this part was there.", f"Content-Type: {part}\n\n{text}",
        )  # fmt: skip
        texts[f"nested-{kind}"] = _multipart(
            f"{PERSON}Subject: all I have\n", "multipart/mixed",
            f'Content-Type: multipart/report; report-type={kind}; boundary="in"\n\n--in\nContent-Type: {part}\n\n{text}'
            "\n--in--\n",
        )  # fmt: skip
    plain = {
        "postmaster-writes": "From: Ines <postmaster@person.example>\nTo: {path}\nSubject: Your mailing to our users\n"
        "Date: {date}\nMessage-ID: <{token}@person.example>\n\nHello,\n\nyour mail to {rcpt} could not be delivered last week,"
        " 550 5.1.1. Could you remove it?\n\nInes\n",
        "invoice-failed": "From: billing@pay.example\nTo: {path}\nSubject: Payment failed\nDate: {date}\n\nYour payment failed"
        " permanently. Contact {rcpt}.\n",
        "parcel": "From: Parcel <info@parcel.example>\nTo: {path}\nSubject: Delivery failed - we missed you\nDate: {date}\n"
        "Auto-Submitted: auto-generated\n\nYour parcel could not be delivered to the recipient. Write to {rcpt}.\n",
        "parcel-notification": "From: Parcel <noreply@parcel.example>\nTo: {path}\nSubject: Delivery Status Notification\n"
        "Date: {date}\n\nYour parcel is delayed. The recipient was not at home.\n",
        "quota-warning": "From: Postmaster <postmaster@host.example>\nTo: {path}\nSubject: Your mailbox is almost full\n"
        "Date: {date}\n\nYour mailbox {rcpt} is at 95% of its quota. Mail may be rejected when the mailbox is full.\n",
        "phish": "From: Mail Admin <admin@bad.example>\nTo: {path}\nSubject: Undelivered messages (8)\nDate: {date}\n\n8 messages"
        " could not be delivered to your mailbox. Click here to release them.\n",
        "monitoring": "From: nagios@host.example\nTo: {path}\nSubject: ** PROBLEM: mx1/SMTP is CRITICAL **\nDate: {date}\n\n"
        "421 4.3.2 Service not available\nCRITICAL - connection refused\n",
        "logwatch": "From: logwatch@host.example\nTo: {path}\nSubject: Logwatch for host\nAuto-Submitted: auto-generated\n"
        "Precedence: bulk\nDate: {date}\n\n 12 5xx reject unknown user 12\n 550 5.1.1 <{rcpt}>: User unknown\n",
        "dmarc-report": "From: noreply-dmarc@big.example\nTo: {path}\nSubject: Report domain: shop.example Submitter: big.example\n"
        "Date: {date}\n\nThis is a DMARC aggregate report.\n",
        "bounce-of-cheque": "From: bank@bank.example\nTo: {path}\nSubject: Returned: your cheque\nDate: {date}\n\nYour cheque was"
        " returned undelivered.\n",
        "signup": "From: App <app@app.example>\nTo: {path}\nSubject: Confirm your address\nDate: {date}\n\nIf {rcpt} does not"
        " exist, ignore this. User unknown? Write to us.\n",
        "read-receipt-person": f"{PERSON}Subject: Read: order\n\nI read it, but my mailbox is full.\n",
        "vacation-talk": f"{PERSON}Subject: Holiday plans\n\nI am out of the office next week, and my auto-reply says so.\n",
        "github": "From: dev <notifications@code.example>\nTo: {path}\nSubject: [mta] MAILER-DAEMON bounces: 550 5.1.1 (#12)\n"
        "List-Id: mta <mta.code.example>\nPrecedence: list\nX-Auto-Response-Suppress: All\nDate: {date}\n\nBounces say `<{rcpt}>:"
        " User unknown`.\n",
        "russian-news": "From: news@paper.example\nTo: {path}\nSubject: Доставка\nContent-Type: text/plain; charset=utf-8\n"
        "Date: {date}\n\nПосылка не может быть доставлена адресату {rcpt}.\n",
        "german-shop": "From: shop@laden.example\nTo: {path}\nSubject: Ihre Sendung konnte nicht zugestellt werden\n"
        "Content-Type: text/plain; charset=utf-8\nDate: {date}\n\nDer Empfänger wurde nicht angetroffen. Fragen: {rcpt}\n",
        "empty": "From: a@b.example\nTo: {path}\nSubject:\nDate: {date}\n\n",
        "no-body": "From: a@b.example\nTo: {path}\nSubject: 550 5.1.1 user unknown\nDate: {date}\n\n\n",
    }
    return texts | plain


def cases() -> list[Case]:
    """Return ordinary messages; each is of the kind `none`."""
    made = []
    for name, text in _texts().items():
        names = Names(f"ordinary/{name}")
        head, _, body = fill(text, names, rcpt=names.address(), path=PATH).partition("\n\n")
        made.append(Case(f"ordinary-{name}", "ordinary", message(head, body), "none"))
    return made
