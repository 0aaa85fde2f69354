"""The half of the corpus that rules may be written and tuned for."""

from dataclasses import replace

from tests.corpus.parts import (
    ATTACHED,
    CONTENT,
    FULL,
    HARD,
    LARGE,
    NO_EMAIL,
    SOFT,
    UNKNOWN,
    Case,
    Form,
    Names,
    fill,
    free,
    message,
    original,
    standard,
)  # fmt: skip

REPLIES: list[tuple[str, tuple[str, str], str]] = [
    ("550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown in local recipient table", NO_EMAIL, "5.1.1"),
    ("550 5.1.1 User does not exist - {token}", NO_EMAIL, "5.1.1"),
    ("550 Requested action not taken: mailbox unavailable", HARD, "5.5.0"),
    ("550 No such user {rcpt}", NO_EMAIL, "5.0.0"),
    ("554 5.4.14 Hop count exceeded - possible mail loop ATTR34 [{host}]", SOFT, "5.4.14"),
    ("550 5.2.1 {rcpt} account disabled", HARD, "5.2.1"),
    ("552-5.2.2 The email account that you tried to reach is over quota", FULL, "5.2.2"),
    ("550 5.2.2 <{rcpt}>: user is overquota", FULL, "5.2.2"),
    ("550 5.7.1 [192.0.2.5 12] Our system has detected that this message is likely unsolicited mail.", CONTENT, "5.7.1"),
    ("550 5.7.606 Access denied, banned sending IP [192.0.2.5]", SOFT, "5.7.606"),
    ("550 5.7.1 Service unavailable, Client host [192.0.2.5] blocked using bl.lists.example", SOFT, "5.7.1"),
    ("550 5.7.25 The IP address sending this message does not have a PTR record setup", SOFT, "5.7.25"),
    ("550 5.7.509 Access denied, sending domain shop.example does not pass DMARC verification", SOFT, "5.7.509"),
    ("552 5.7.0 Our system detected an illegal attachment on your message", ATTACHED, "5.7.0"),
    ("554 5.7.1 Message contains a virus (Eicar-Test)", CONTENT, "5.7.1"),
    ("552 5.3.4 Error: message file too big", LARGE, "5.3.4"),
    ("553 5.3.0 <{rcpt}>... No such user here", NO_EMAIL, "5.3.0"),
    ("550 5.7.1 Relaying denied. IP name lookup failed [192.0.2.5]", SOFT, "5.7.1"),
    ("451 4.7.1 Greylisting in action, please come back later", SOFT, "4.7.1"),
    ("450 4.1.1 <{rcpt}>: unverified address", SOFT, "4.4.7"),
    ("550 5.1.2 host unknown", NO_EMAIL, "5.1.2"),
    ("554 rejected", HARD, "5.0.0"),
    ("550 5.1.10 null mx", NO_EMAIL, "5.1.10"),
    ("550 5.7.1 Sender {path} not allowed to send to this list", SOFT, "5.7.1"),
    ("571 Message Refused", HARD, "5.0.0"),
]  # fmt: skip

POSTFIX = Form(
    "postfix-smtp",
    "From: MAILER-DAEMON@{host} (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender\nTo: {path}\n"
    "Auto-Submitted: auto-replied\nDate: {date}",
    "This is the mail system at host {host}.\n\n<{rcpt}>: host {host}[192.0.2.8] said: {reply} (in reply to end of DATA"
    " command)\n",
    recipient="Final-Recipient: rfc822; {rcpt}\nAction: {action}\nStatus: {status}\nRemote-MTA: dns; {host}\n"
    "Diagnostic-Code: smtp; {reply}\n",
)
EXCHANGE = Form(
    "exchange-2016",
    "From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@{domain}>\nTo: <{path}>\nDate: {date}\n"
    "Content-Language: en-US\nX-MS-Exchange-Message-Is-Ndr:\nSubject: Undeliverable: Your order 4711",
    "Delivery has failed to these recipients or groups:\n\n{rcpt}\n{reply}\n\nDiagnostic information for"
    " administrators:\n\nGenerating server: {host}\n",
    about="Reporting-MTA: dns;{host}\nArrival-Date: {date}\n",
    recipient="Original-Recipient: rfc822;{rcpt}\nFinal-Recipient: rfc822;{rcpt}\nAction: {action}\nStatus: {status}\n"
    "Diagnostic-Code: smtp;{reply}\n",
    preamble="",
)
HARAKA = Form(
    "haraka",
    "From: MAILER-DAEMON@{host}\nTo: {path}\nSubject: failed mail\nDate: {date}\nAuto-Submitted: auto-replied",
    "Intended Recipients: <{rcpt}>\nFailure Reason: {reply}\n",
    recipient="Original-Recipient: rfc822;{rcpt}\nFinal-Recipient: rfc822;<{rcpt}>\nAction: {action}\nStatus: {status}\n"
    "Diagnostic-Code: smtp; {reply}\n",
    returned="text/rfc822-headers",
    preamble="",
)
SES = Form(
    "hosted-sender",
    "From: MAILER-DAEMON@sender.example\nTo: {path}\nSubject: Delivery Status Notification (Failure)\nDate: {date}",
    "An error occurred while trying to deliver the mail to the following recipients:\n{rcpt}\n",
    recipient="Action: {action}\nFinal-Recipient: rfc822; {rcpt}\nDiagnostic-Code: smtp; {reply}\nStatus: {status}\n",
    preamble="",
)
X400 = Form(
    "x400-gateway",
    "From: postmaster@{domain}\nTo: {path}\nSubject: Delivery report (failure) for {rcpt}\nDate: {date}",
    "This report relates to your message: Your order 4711\n\nYour message was not delivered to {rcpt}\nfor the"
    " following reason:\n\t{reply}\n",
    recipient="Final-Recipient: rfc822;{rcpt}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: x400;{reply}\n",
    returned="",
    preamble="",
)
FORMS = [POSTFIX, EXCHANGE, HARAKA, SES, X400]


def standards() -> list[Case]:
    cases = []
    for place, form in enumerate(FORMS):
        for number, (reply, label, status) in enumerate(REPLIES):
            if (number + place) % 2 == 0:
                cases.append(standard(form, (reply, label), status, number, count=1 + (number % 5 == 0)))
    cases.append(standard(POSTFIX, ("421 4.4.2 timeout", SOFT), "4.4.2", 100, action="delayed", kind="delay"))
    cases.append(standard(EXCHANGE, ("250 2.1.5 ok", SOFT), "2.1.5", 101, action="delivered", kind="success"))
    cases.append(standard(POSTFIX, ("250 ok", SOFT), "2.0.0", 102, action="expanded", kind="success"))
    return cases


QMAIL = """
Return-Path: <>
From: MAILER-DAEMON@{host}
To: {path}
Subject: failure notice
Date: {date}

Hi. This is the qmail-send program at {host}.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{rcpt}>:
{reply}

--- Below this line is a copy of the message.

{original}
"""
EXIM = """
X-Failed-Recipients: {rcpt}
From: Mail Delivery System <Mailer-Daemon@{host}>
To: {path}
Auto-Submitted: auto-generated
Subject: Mail delivery failed: returning message to sender
Date: {date}

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {rcpt}
    {reply}

------ This is a copy of the message, including all the headers. ------

{original}
"""
EXCHANGE_2000 = """
From: System Administrator <postmaster@{domain}>
To: {path}
Subject: Undeliverable: Your order 4711
Date: {date}

Your message did not reach some or all of the intended recipients.

      Subject:\tYour order 4711
      Sent:\t11/17/2026 10:17 AM

The following recipient(s) could not be reached:

      {rcpt} on 11/17/2026 10:18 AM
            {reply}
"""
SENDMAIL_OLD = """
From: MAILER-DAEMON@{host} (Mail Delivery Subsystem)
To: {path}
Subject: Returned mail: Host unknown (Name server: {domain}: host not found)
Date: {date}

   ----- Transcript of session follows -----
{reply}

   ----- Unsent message follows -----
{original}
"""
COURIER = """
From: "Courier mail server at {host}" <MAILER-DAEMON@{host}>
To: {path}
Subject: NOTICE: mail delivery status.
Date: {date}

                           UNDELIVERABLE MAIL

Your message to the following recipients cannot be delivered:

<{rcpt}>:
{reply}
"""
LABELLED = """
From: Mail System <postmaster@{domain}>
To: {path}
Subject: Undeliverable: Your order 4711
Date: {date}

A message could not be delivered.

Recipient: {rcpt}
Reason: {reply}
"""
GERMAN = """
From: Postmaster <postmaster@{domain}>
To: {path}
Subject: Mail konnte nicht zugestellt werden
Date: {date}
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: 8bit

Die folgende Adresse konnte nicht erreicht werden:

  {rcpt}

{reply}
"""
SPANISH = """
From: Sistema <mailer-daemon@{domain}>
To: {path}
Subject: No se puede entregar el mensaje
Date: {date}
Content-Type: text/plain; charset=utf-8

No se pudo entregar su mensaje a {rcpt}

Motivo: {reply}
"""
KOREAN = """
From: postmaster@{domain}
To: {path}
Subject: =?utf-8?B?66mU7J287J20IOuwmOyGoeuQmOyXiOyKteuLiOuLpA==?=
Date: {date}
Content-Type: text/plain; charset=utf-8

메일을 전송하지 못했습니다.

받는 사람: {rcpt}
사유: {reply}
"""
JAPANESE = """
From: MAILER-DAEMON@{domain}
To: {path}
Subject: Undelivered Mail
Date: {date}
Content-Type: text/plain; charset=utf-8

メールを配送できませんでした。

<{rcpt}>: {reply}
"""
POLISH = """
From: MAILER-DAEMON@{domain}
To: {path}
Subject: Nie dostarczono wiadomosci
Date: {date}
Content-Type: text/plain; charset=utf-8

Nie można dostarczyć wiadomości do adresata {rcpt}.

Powód: {reply}
"""
WARNING = """
From: Mail Delivery Subsystem <MAILER-DAEMON@{host}>
To: {path}
Subject: Warning: could not send message for past 4 hours
Date: {date}

    **********************************************
    **      THIS IS A WARNING MESSAGE ONLY      **
    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **
    **********************************************

   ----- Transcript of session follows -----
<{rcpt}>... Deferred: {reply}
Warning: message still undelivered after 4 hours
Will keep trying until message is 5 days old
"""
FREE = {
    "qmail": (QMAIL, [
        ("192.0.2.9 does not like recipient.\nRemote host said: 550 5.1.1 unknown user\nGiving up on 192.0.2.9.", NO_EMAIL),
        ("Sorry, no mailbox here by that name. vpopmail (#5.1.1)", NO_EMAIL),
        ("The users mailfolder is over the allowed quota (size). (#5.2.2)", FULL),
        ("CNAME lookup failed temporarily. (#4.4.3)\nI'm not going to try again; this message has been in the queue too"
         " long.", SOFT),
        ("192.0.2.9 failed after I sent the message.\nRemote host said: 552 message too large", LARGE),
    ]),
    "exim": (EXIM, [
        ("SMTP error from remote mail server after RCPT TO:<{rcpt}>:\n    host {host} [192.0.2.3]: 550 5.1.1 not known here"
         " - user unknown", NO_EMAIL),
        ("Unrouteable address", NO_EMAIL),
        ("all relevant MX records point to non-existent hosts", HARD),
        ("retry time not reached for any host after a long failure period", SOFT),
        ("SMTP error from remote mail server after end of data:\n    550 High probability of spam", CONTENT),
        ("mailbox is full: retry timeout exceeded", FULL),
    ]),
    "exchange-2000": (EXCHANGE_2000, [
        ("The e-mail account does not exist at the organization this message was sent to.  Check the e-mail address, or"
         " contact the recipient directly to find out the correct address.\n            <{host} #5.1.1>", NO_EMAIL),
        ("The message reached the recipient's e-mail system, but delivery was refused.  <{host} #5.7.1 smtp;550 5.7.1"
         " Unable to relay>", SOFT),
        ("The recipient's mailbox is full. <{host} #5.2.2>", FULL),
    ]),
    "sendmail-5": (SENDMAIL_OLD, [
        ("550 {rcpt}... Host unknown (Name server: {domain}: host not found)", HARD),
        ("550 {rcpt}... User unknown", NO_EMAIL),
        ("554 {rcpt}... Service unavailable", HARD),
    ]),
    "courier": (COURIER, [("    550 User unknown", NO_EMAIL), ("    513 Relaying denied.", SOFT)]),
    "labelled": (LABELLED, [
        ("Mailbox unavailable: no such person at this address", NO_EMAIL),
        ("the mailbox is over its quota", FULL),
        ("refused", UNKNOWN),
        ("Your mail server is on our blacklist", SOFT),
    ]),
    "german": (GERMAN, [("Benutzer unbekannt", NO_EMAIL), ("Mailbox voll", FULL), ("Empfänger existiert nicht", NO_EMAIL)]),
    "spanish": (SPANISH, [("El usuario no existe", NO_EMAIL), ("Buzón lleno", FULL)]),
    "korean": (KOREAN, [("존재하지 않는 사용자입니다", NO_EMAIL), ("메일함 용량 초과", FULL)]),
    "japanese": (JAPANESE, [("550 ユーザーが存在しません", NO_EMAIL), ("受信者のメールボックスの容量を超えています", FULL)]),
    "polish": (POLISH, [("Skrzynka odbiorcy jest przepełniona", FULL), ("Adres nie istnieje", NO_EMAIL)]),
}  # fmt: skip


# Forms of one report each: head, text, kind, label.
OTHERS = {
    "intermail": ("From: Mail Administrator<Postmaster@{domain}>\nSubject: Mail System Error - Returned Mail",
        "This Message was undeliverable due to the following reason:\n\nThe user(s) account is temporarily over quota.\n\n"
        "<{rcpt}>\n\nPlease reply to Postmaster@{domain}\nif you feel this message to be in error.\n", "bounce", FULL),
    "google-2009": ("From: Mail Delivery Subsystem <mailer-daemon@{domain}>\nX-Failed-Recipients: {rcpt}\n"
        "Subject: Delivery Status Notification (Failure)",
        "Delivery to the following recipient failed permanently:\n\n     {rcpt}\n\nTechnical details of permanent failure:"
        "\nThe error that the other server returned was: 550 550 5.1.1 unknown user (state 14).\n", "bounce", NO_EMAIL),
    "google-delay": ("From: Mail Delivery Subsystem <mailer-daemon@{domain}>\nSubject: Delivery Status Notification (Delay)",
        "THIS IS A WARNING MESSAGE ONLY.\n\nDelivery to the following recipient has been delayed:\n\n     {rcpt}\n\n"
        "Message will be retried for 2 more day(s)\n", "delay", SOFT),
    "portal-cn": ("From: Postmaster@{domain}\nSubject: =?gbk?B?z7XNs83L0MU=?=\nContent-Type: text/plain; charset=utf-8",
        "很抱歉，您发送的邮件无法投递到收件人 {rcpt} 。\n原因：收件人的邮箱空间不足\n", "bounce", FULL),
    "exchange-de": ("From: Postmaster <postmaster@{domain}>\nSubject: Undeliverable: Order\n"
        "Content-Type: text/plain; charset=utf-8",
        "Ihre Nachricht hat einige oder alle Empfänger nicht erreicht.\n\n      Betreff: Order\n\nFolgende(r) Empfänger"
        " kann/können nicht erreicht werden:\n\n      '{rcpt}' am 17.11.2026 10:17\n            550 5.1.1 User unknown\n",
        "bounce", NO_EMAIL),
    "small-portal": ("From: mailer-daemon@{domain}\nSubject: Undelivered Mail Returned to Sender",
        "A message that you sent could not be delivered to one or more of its recipients. This is a permanent error.\n\n"
        "{rcpt} Invalid Recipients, ERROR_CODE :550\n", "bounce", NO_EMAIL),
    "notes-4": ("From: Postmaster@{domain}\nSubject: Nondeliverable mail",
        "------Transcript of session follows -------\n{rcpt}\nThe user's email name is not found.\n", "bounce", NO_EMAIL),
    "list-host": ("From: MAILER-DAEMON@{domain}\nSubject: FAILURE NOTICE :",
        "----- The following addresses had permanent fatal errors -----\n\n>>> {rcpt} <{rcpt}>\n\n----- Transcript of session"
        " follows -----\n550 sorry, no mailbox here by that name (#5.1.1 - chkuser)\n", "bounce", NO_EMAIL),
    "polite": ("From: Mail Delivery System <MAILER-DAEMON@{domain}>\nSubject: Delivery Failure",
        "We're sorry. There's a problem with the e-mail address(es) you're trying to send to.\n\n{rcpt}\n\nUser unknown\n",
        "bounce", NO_EMAIL),
}  # fmt: skip


def frees() -> list[Case]:
    cases = [
        free(f"dev-{product}", template, said, number, charset="iso-8859-1" if product == "german" else "utf-8")
        for product, (template, replies) in FREE.items()
        for number, said in enumerate(replies)
    ]
    for name, (head, text, kind, label) in OTHERS.items():
        template = f"{head}\nTo: {{path}}\nDate: {{date}}\n\n{text}"
        cases.append(free(f"dev-{name}", template, ("", label), 0, kind=kind))
    cases.append(free("dev-warning", WARNING, ("Connection refused by {host}", SOFT), 0, kind="delay"))
    return cases


LOOP = """
From: Complaints <arf@feedback.example>
To: {path}
Subject: FW: Your order 4711
Date: {date}
MIME-Version: 1.0
Content-Type: {top}; boundary="b{token}"

--b{token}
Content-Type: text/plain; charset="US-ASCII"
Content-Transfer-Encoding: 7bit

This is an email abuse report for an email message received from IP 192.0.2.5.

--b{token}
Content-Type: message/feedback-report{coding}

{fields}
--b{token}
Content-Type: message/rfc822
Content-Disposition: inline

{original}
--b{token}--
"""


def complaints() -> list[Case]:
    import base64

    cases = []
    plain = "Feedback-Type: abuse\nUser-Agent: Loop/0.1\nVersion: 1\n"
    report = "multipart/report; report-type=feedback-report"
    for name, top, fields, coding, kind in (
        ("plain", report, plain + "Original-Rcpt-To: {rcpt}\n", "", "abuse"),
        ("virus", report, plain.replace("abuse", "virus") + "Original-Rcpt-To: <{rcpt}>\n", "", "virus"),
        ("no-recipient", report, plain + "Source-IP: 192.0.2.5\n", "", "abuse"),
        ("mixed", "multipart/mixed", plain + "Original-Rcpt-To: rfc822; {rcpt}\n", "", "abuse"),
        ("base64", report, plain + "Original-Rcpt-To: {rcpt}\n", "\nContent-Transfer-Encoding: base64", "abuse"),
    ):
        names = Names(f"dev/{name}")
        recipient = names.address()
        written = fill(fields, names, rcpt=recipient)
        if coding:
            written = base64.encodebytes(written.replace("\n", "\r\n").encode()).decode()
        text = LOOP.lstrip("\n").replace("{top}", top).replace("{coding}", coding).replace("{fields}", written)
        head, _, body = fill(text, names, rcpt=recipient, original=original(names, recipient)).partition("\n\n")
        cases.append(
            Case(f"dev-loop-{name}", "complaint", message(head, body), "complaint", (recipient,), None, kind)
        )
    return cases


AUTO = {
    "dev-outlook": "From: {rcpt}\nTo: {path}\nSubject: Out of Office: Your order 4711\nDate: {date}\n\nBack on Monday.\n",
    "dev-rfc3834": "From: {rcpt}\nTo: {path}\nSubject: Auto: Your order\nAuto-Submitted: auto-replied\nDate: {date}\n\nAway.\n",
    "dev-cpanel": "From: {rcpt}\nTo: {path}\nSubject: I am away\nX-Autorespond: Your order\nPrecedence: auto_reply\n"
    "Date: {date}\n\nAway.\n",
    "dev-spanish-ooo": "From: {rcpt}\nTo: {path}\nSubject: Respuesta automatica: pedido\nDate: {date}\n\nFuera.\n",
}


def autos() -> list[Case]:
    made = [free(name, text, ("", SOFT), 0, kind="auto-reply", group="auto") for name, text in AUTO.items()]
    return [replace(each, recipients=()) for each in made]


def cases() -> list[Case]:
    """Return the half that rules are written for."""
    return [*standards(), *frees(), *complaints(), *autos()]
