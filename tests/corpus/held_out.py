"""The half of the corpus that rules are not written for: other products, variants, languages and wordings.

Written before the rules, and not looked at while they are made; whoever changes a rule because of a text in here moves
that text to `development.py`.
"""

from dataclasses import replace

from tests.corpus.parts import (
    ATTACHED,
    CONTENT,
    FULL,
    HARD,
    LARGE,
    NO_EMAIL,
    SOFT,
    Case,
    Form,
    Names,
    fill,
    free,
    message,
    original,
    standard,
)  # fmt: skip

# (reply, what it means, status)
REPLIES: list[tuple[str, tuple[str, str], str]] = [
    ("550 5.1.1 <{rcpt}>... User unknown", NO_EMAIL, "5.1.1"),
    ("550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's"
     " email address for typos or unnecessary spaces.", NO_EMAIL, "5.1.1"),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {rcpt} not found by SMTP address lookup", NO_EMAIL, "5.1.10"),
    ("554 delivery error: dd This user doesn't have a {domain} account ({rcpt}) [0] - mta1.{domain}", NO_EMAIL, "5.0.0"),
    ("550 Message was not accepted -- invalid mailbox.  Local mailbox {rcpt} is unavailable: user not found",
     NO_EMAIL, "5.0.0"),
    ("550 5.2.1 The email account that you tried to reach is inactive.", HARD, "5.2.1"),
    ("550 RCPT TO:<{rcpt}> User unknown", NO_EMAIL, "5.0.0"),
    ("550 #5.1.0 Address rejected.", HARD, "5.1.0"),
    ("550 sorry, no mailbox here by that name (#5.1.1)", NO_EMAIL, "5.1.1"),
    ("552 5.2.2 The recipient's inbox is out of storage space and inactive.", FULL, "5.2.2"),
    ("452 4.2.2 mailbox for {rcpt} is over its quota", FULL, "4.2.2"),
    ("552 sorry, that recipient's mailbox has exceeded its disk space limit", FULL, "5.0.0"),
    ("550 5.7.1 Unfortunately, messages from [192.0.2.5] weren't sent. Please contact your Internet service provider"
     " since part of their network is on our block list (S3140).", SOFT, "5.7.1"),
    ("554 5.7.1 Service unavailable; Client host [192.0.2.5] blocked using dnsbl.lists.example; listed for abuse",
     SOFT, "5.7.1"),
    ("421 4.7.0 [TSS04] Messages from 192.0.2.5 temporarily deferred due to user complaints", SOFT, "4.7.0"),
    ("550-5.7.26 Unauthenticated email from shop.example is not accepted due to the domain's DMARC policy.",
     SOFT, "5.7.26"),
    ("550 5.7.23 The message was rejected because of Sender Policy Framework violation", SOFT, "5.7.23"),
    ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check"
     " failed because the sender was not authenticated when sending to this group", SOFT, "5.7.133"),
    ("554 5.7.1 <{rcpt}>: Relay access denied", SOFT, "5.7.1"),
    ("552 5.3.4 Message size exceeds fixed limit", LARGE, "5.3.4"),
    ("550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", LARGE, "5.2.3"),
    ("550 5.7.1 Message rejected because it was classified as spam by our filter", CONTENT, "5.7.1"),
    ("554 5.7.1 The message was rejected: VIRUS found", CONTENT, "5.7.1"),
    ("552 5.7.0 attachments of this kind are not permitted here (.exe)", ATTACHED, "5.7.0"),
    ("450 4.2.0 <{rcpt}>: Recipient address rejected: Greylisted, see http://postgrey.example/", SOFT, "4.2.0"),
    ("550 5.4.300 Message expired -> 451 4.7.500 Server busy. Please try again later from [192.0.2.5].", SOFT, "5.4.300"),
    ("451 4.4.1 connection timed out", SOFT, "4.4.7"),
    ("550 5.1.6 <{rcpt}> recipient no longer on server", HARD, "5.1.6"),
    ("554 5.4.6 Too many hops", SOFT, "5.4.6"),
    ("550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_418 [418]", NO_EMAIL, "5.1.1"),
]  # fmt: skip

POSTFIX = Form(
    "postfix-lmtp",
    "Return-Path: <>\nFrom: MAILER-DAEMON@{host} (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender\n"
    "To: {path}\nAuto-Submitted: auto-replied\nDate: {date}\nMessage-Id: <20261123.{token}@{host}>",
    "This is the mail system at host {host}.\n\nI'm sorry to have to inform you that your message could not\n"
    "be delivered to one or more recipients. It's attached below.\n\nFor further assistance, please send mail to"
    " postmaster.\n\nIf you do so, please include this problem report. You can\ndelete your own text from the attached"
    " returned message.\n\n                   The mail system\n\n<{rcpt}>: host {host}[192.0.2.25] said: {reply} (in reply"
    " to RCPT TO command)\n",
    about="Reporting-MTA: dns; {host}\nX-Postfix-Queue-ID: {token}\nX-Postfix-Sender: rfc822; {path}\n"
    "Arrival-Date: {date}\n",
    recipient="Final-Recipient: rfc822; {rcpt}\nOriginal-Recipient: rfc822;{rcpt}\nAction: {action}\nStatus: {status}\n"
    "Remote-MTA: dns; {host}\nDiagnostic-Code: smtp; {reply}\n",
    text_type="text/plain; charset=us-ascii\nContent-Description: Notification",
)
EXIM = Form(
    "exim-dsn",
    "Return-path: <>\nX-Failed-Recipients: {rcpt}\nAuto-Submitted: auto-replied\nFrom: Mail Delivery System"
    " <Mailer-Daemon@{host}>\nTo: {path}\nSubject: Mail delivery failed: returning message to sender\n"
    "Message-Id: <E1t{token}@{host}>\nDate: {date}",
    "This message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered"
    " to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  {rcpt}\n"
    "    host {host} [192.0.2.25]\n    SMTP error from remote mail server after RCPT TO:<{rcpt}>:\n    {reply}\n",
    top="Content-Type: multipart/report; report-type=delivery-status; boundary={boundary}",
    recipient="Action: {action}\nFinal-Recipient: rfc822;{rcpt}\nStatus: {status}\nRemote-MTA: dns; {host}\n"
    "Diagnostic-Code: smtp; {reply}\n",
    preamble="",
)
EXIM = replace(EXIM, top='Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"')
SENDMAIL = Form(
    "sendmail-8.15",
    "Date: {date}\nFrom: Mail Delivery Subsystem <MAILER-DAEMON@{host}>\nMessage-Id: <2026112317.{token}@{host}>\n"
    "To: <{path}>\nSubject: Returned mail: see transcript for details\nAuto-Submitted: auto-generated (failure)",
    "The original message was received at {date}\nfrom localhost [127.0.0.1]\n\n   ----- The following addresses had"
    " permanent fatal errors -----\n<{rcpt}>\n    (reason: {reply})\n\n   ----- Transcript of session follows -----\n"
    "... while talking to {host}.:\n>>> DATA\n<<< {reply}\n",
    about="Reporting-MTA: dns; {host}\nReceived-From-MTA: DNS; localhost\nArrival-Date: {date}\n",
    recipient="Final-Recipient: RFC822; {rcpt}\nAction: {action}\nStatus: {status}\nRemote-MTA: DNS; {host}\n"
    "Diagnostic-Code: SMTP; {reply}\nLast-Attempt-Date: {date}\n",
    preamble="This is a MIME-encapsulated message\n",
    text_type="text/plain",
)
EXCHANGE_ONLINE = Form(
    "exchange-online",
    "From: <postmaster@{domain}>\nTo: <{path}>\nDate: {date}\nX-MS-Exchange-Message-Is-Ndr:\nContent-Language: en-GB\n"
    "Message-ID: <{token}@{host}>\nIn-Reply-To: <order.1@shop.example>\nReferences: <order.1@shop.example>\n"
    "Thread-Topic: Your order 4711\nSubject: Undeliverable: Your order 4711\nAuto-Submitted: auto-replied",
    '<html>\n<head><meta http-equiv="Content-Type" content="text/html; charset=us-ascii"></head><body>\n<p><b>Your'
    " message to {rcpt} couldn't be delivered.</b></p><p>Remote Server returned '{reply}'</p>\n</body></html>\n",
    text_type='text/html; charset="us-ascii"',
    about="Reporting-MTA: dns;{host}\nReceived-From-MTA: dns;relay.example\nArrival-Date: {date}\n",
    recipient="Final-Recipient: rfc822;{rcpt}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp;{reply}\n"
    "X-Display-Name: A person\n",
    preamble="",
)
GMAIL = Form(
    "gmail",
    "From: Mail Delivery Subsystem <mailer-daemon@googlemail.example>\nTo: {path}\nAuto-Submitted: auto-replied\n"
    "Subject: Delivery Status Notification (Failure)\nReferences: <order.1@shop.example>\n"
    "In-Reply-To: <order.1@shop.example>\nX-Failed-Recipients: {rcpt}\nMessage-ID: <{token}@mx.example>\nDate: {date}",
    "\n** Address not found **\n\nYour message wasn't delivered to {rcpt} because of this:\n\n{reply}\n",
    top='Content-Type: multipart/report; boundary="{boundary}"; report-type=delivery-status',
    about="Reporting-MTA: dns; googlemail.example\nReceived-From-MTA: dns; {path}\nArrival-Date: {date}\n"
    "X-Original-Message-ID: <order.1@shop.example>\n",
    recipient="Final-Recipient: rfc822; {rcpt}\nAction: {action}\nStatus: {status}\nRemote-MTA: dns; {host}. (192.0.2.26,"
    " the server for the domain {domain}.)\nDiagnostic-Code: smtp; {reply}\nLast-Attempt-Date: {date}\n",
    preamble="",
)
OPENSMTPD = Form(
    "opensmtpd",
    "Subject: Delivery status notification: error\nFrom: Mailer Daemon <MAILER-DAEMON@{host}>\nTo: {path}\nDate: {date}",
    "    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\n\n    An error has occurred while"
    " attempting to deliver a message for\n    the following list of recipients:\n\n{rcpt}: {reply}\n",
    about="Reporting-MTA: dns; {host}\n",
    recipient="Final-Recipient: rfc822; {rcpt}\nAction: {action}\nStatus: {status}\n",
    returned="text/rfc822-headers",
    preamble="This is a MIME-encapsulated message.\n",
)
DOMINO = Form(
    "domino-9",
    "From: Postmaster@{domain}\nTo: {path}\nDate: {date}\nMessage-ID: <OF{token}.ON{token}@{domain}>\nAuto-submitted:"
    " auto-generated\nSubject: DELIVERY FAILURE: {reply}\nX-MIMETrack: Serialize by Router on {host}",
    "Your message\n\n  Subject: Your order 4711\n\nwas not delivered to:\n\n  {rcpt}\n\nbecause:\n\n  {reply}\n",
    recipient="Final-Recipient: rfc822;{rcpt}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: X-Notes; {reply}\n",
    preamble="",
)
UTF8 = Form(
    "eai-mta",
    "From: MAILER-DAEMON@{host}\nTo: {path}\nSubject: Zustellung nicht möglich\nDate: {date}",
    "Ihre Nachricht an {rcpt} wurde nicht zugestellt.\n\n{reply}\n",
    recipient="Final-Recipient: utf-8; \\x{FC}ber.{rcpt}\nAction: {action}\nStatus: {status}\n"
    "Diagnostic-Code: smtp; {reply}\n",
    status_type="message/global-delivery-status",
    returned="message/global",
    text_type="text/plain; charset=utf-8",
)
ORACLE = Form(
    "oracle-messaging",
    "Date: {date}\nFrom: Internet Mail Delivery <postmaster@{host}>\nSubject: Delivery Notification: Delivery has"
    " failed\nTo: {path}\nMessage-id: <0{token}@{host}>",
    "This report relates to a message you sent with the following header fields:\n\n  Message-id: <order.1@shop.example>\n"
    "  To: {rcpt}\n  Subject: Your order 4711\n\nYour message cannot be delivered to the following recipients:\n\n"
    "  Recipient address: {rcpt}\n  Reason: {reply}\n",
    about="Reporting-MTA: dns;{host} (tcp-daemon)\n",
    recipient="Original-recipient: rfc822;{rcpt}\nFinal-recipient: rfc822;{rcpt}\nAction: {action}\nStatus: {status}"
    " (Remote SMTP server has rejected address)\nRemote-MTA: dns;{host} (TCP|192.0.2.9|25)\nDiagnostic-code: smtp;{reply}\n",
    returned="text/rfc822-headers",
    text_type="text/plain; charset=us-ascii\nContent-language: en",
    preamble="",
)
BASE64_STATUS = replace(
    SENDMAIL, product="gateway-base64", coded=True, preamble="",
    head='From: "Mail Gateway" <no-reply@{host}>\nTo: {path}\nSubject: Message could not be delivered\nDate: {date}',
    top='Content-Type: Multipart/Report; Report-Type="delivery-status"; Boundary="{boundary}"',
)  # fmt: skip
JAMES = Form(
    "james",
    "From: postmaster@{host}\nTo: {path}\nSubject: Your order 4711\nDate: {date}\nMessage-ID: <{token}.JavaMail@{host}>",
    "Hi. This is the James mail server at {host}.\nI'm afraid I wasn't able to deliver your message to the following"
    " addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.  Below\nI include the list of"
    " recipients and the reason why I was unable to deliver\nyour message.\n\nFailed recipient(s):\n{rcpt}\n\nError"
    " message:\n{reply}\n",
    recipient="Final-Recipient: rfc822; {rcpt}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: X-James; {reply}\n"
    "Last-Attempt-Date: {date}\n",
    preamble="",
)
NO_REPORT_TYPE = replace(
    EXIM, product="mixed-status", preamble="",
    top='Content-Type: multipart/mixed; boundary="{boundary}"',
    head="From: Mail Delivery System <MAILER-DAEMON@{host}>\nTo: {path}\nSubject: Delivery failure\nDate: {date}",
)  # fmt: skip
FORMS = [
    POSTFIX, EXIM, SENDMAIL, EXCHANGE_ONLINE, GMAIL, OPENSMTPD, DOMINO, ORACLE, BASE64_STATUS, JAMES, NO_REPORT_TYPE,
]  # fmt: skip


def standards() -> list[Case]:
    cases = []
    for place, form in enumerate(FORMS):
        for number, (reply, label, status) in enumerate(REPLIES):
            if (number + place) % 3 == 0:
                if form is OPENSMTPD and status.endswith(".0.0"):
                    continue  # it has no diagnostic: nothing there says more than the status
                if form is OPENSMTPD and label not in {NO_EMAIL, FULL, LARGE} and status not in {"4.2.0", "4.4.7"}:
                    label = None  # noqa: PLW2901 - the status alone does not tell
                made = standard(form, (reply, label), status, number, count=1 + (number % 7 == 0))
                cases.append(made)
    for number, (reply, label, status) in enumerate(REPLIES[:12:4]):
        made = standard(UTF8, (reply.replace("{rcpt}", "someone"), label), status, number)
        cases.append(replace(made, recipients=tuple("über." + each for each in made.recipients)))
    for form in (POSTFIX, SENDMAIL, EXCHANGE_ONLINE, ORACLE):
        cases.append(standard(form, ("421 4.3.2 not now", SOFT), "4.3.2", 100, action="delayed", kind="delay"))
    for form in (POSTFIX, GMAIL):
        cases.append(standard(form, ("250 2.1.5 ok", SOFT), "2.1.5", 101, action="delivered", kind="success"))
    cases.append(standard(SENDMAIL, ("250 2.1.5 ok", SOFT), "2.1.5", 102, action="relayed", kind="success"))
    return cases


# --- free forms ------------------------------------------------------------------------------------------------

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
QMAIL_TRANSLATED = """
Return-Path: <>
From: MAILER-DAEMON@{host}
To: {path}
Subject: =?iso-8859-1?Q?Aviso_de_error_en_la_entrega?=
Date: {date}
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: 8bit

Hola. Este es el programa qmail-send en {host}.
No he podido entregar su mensaje a las siguientes direcciones.
Este es un error permanente; no lo intentaré más. Siento que no haya funcionado.

<{rcpt}>:
{reply}

--- A partir de aquí hay una copia del mensaje.

{original}
"""
EXIM_OLD = """
From: Mail Delivery System <Mailer-Daemon@{host}>
To: {path}
Subject: Mail delivery failed: returning message to sender
Date: {date}
Message-Id: <E1C{token}@{host}>

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {rcpt}
    SMTP error from remote mail server after RCPT TO:<{rcpt}>:
    host {host} [192.0.2.4]: {reply}

------ This is a copy of the message, including all the headers. ------

{original}
"""
EXCHANGE_IMS = """
From: System Administrator <postmaster@{domain}>
To: {path}
Subject: Undeliverable: Your order 4711
Date: {date}
X-Mailer: Internet Mail Service (5.5.2657.72)

Your message

  To:      {rcpt}
  Subject: Your order 4711
  Sent:    Tue, 17 Nov 2026 10:17:05 +0100

did not reach the following recipient(s):

{rcpt} on Tue, 17 Nov 2026 10:18:01 +0100
    {reply}
"""
EXCHANGE_2003 = """
From: postmaster@{domain}
To: {path}
Subject: Delivery Status Notification (Failure)
Date: {date}

This is an automatically generated Delivery Status Notification.

Delivery to the following recipients failed.

       {rcpt}

{reply}
"""
SENDMAIL_OLD = """
From: Mail Delivery Subsystem <MAILER-DAEMON@{host}>
To: {path}
Subject: Returned mail: User unknown
Date: {date}

The original message was received at {date}
from relay.example [192.0.2.5]

   ----- The following addresses had delivery problems -----
<{rcpt}>  (unrecoverable error)

   ----- Transcript of session follows -----
... while talking to {host}.:
>>> RCPT To:<{rcpt}>
<<< {reply}

   ----- Original message follows -----

{original}
"""
GROUPWISE = """
From: Mailer-Daemon@{domain}
To: {path}
Subject: Message status - undeliverable
Date: {date}
X-Mailer: Novell GroupWise Internet Agent 8.0.2

The message that you sent was undeliverable to the following:
\t{rcpt} ({reply})

Possibly truncated original message follows:

{original}
"""
DOMINO_FREE = """
From: Postmaster@{domain}
To: {path}
Subject: DELIVERY FAILURE: {reply}
Date: {date}
X-Mailer: Lotus Domino Release 6.5

Your message

  Subject: Your order 4711

was not delivered to:

  {rcpt}

because:

  {reply}
"""
COURIER = """
From: "Courier mail server at {host}" <postmaster@{host}>
To: {path}
Subject: NOTICE: mail delivery status.
Date: {date}

This is a delivery status notification from {host},
running the Courier mail server, version 0.65.

The original message was received on {date}
from relay.example (relay.example [192.0.2.5])

---------------------------------------------------------------------------

                           UNDELIVERABLE MAIL

Your message to the following recipients cannot be delivered:

<{rcpt}>:
    {host} [192.0.2.25]:
>>> RCPT TO:<{rcpt}>
<<< {reply}

---------------------------------------------------------------------------

If your message was also sent to additional recipients, their delivery
status is not included in this report.
"""
GERMAN = """
From: "Mail Delivery System" <mailer-daemon@{domain}>
To: {path}
Subject: Unzustellbar: Ihre Nachricht
Date: {date}
Content-Type: text/plain; charset=utf-8

Diese Nachricht wurde automatisch erzeugt.

Ihre E-Mail an den folgenden Empfänger konnte nicht zugestellt werden:

{rcpt}

Grund: {reply}

--- Es folgt die ursprüngliche Nachricht ---
{head}
"""
FRENCH = """
From: Postmaster <postmaster@{domain}>
To: {path}
Subject: =?utf-8?q?=C3=89chec_de_la_remise_de_votre_message?=
Date: {date}
Content-Type: text/plain; charset=utf-8

Bonjour,

Votre message n'a pas pu être remis au destinataire suivant :

  <{rcpt}>

Motif : {reply}

Ceci est un message automatique, merci de ne pas y répondre.
"""
PORTUGUESE = """
From: Sistema de Correio <mailer-daemon@{domain}>
To: {path}
Subject: Falha na entrega da mensagem
Date: {date}
Content-Type: text/plain; charset=utf-8

Sua mensagem não pôde ser entregue ao destinatário abaixo:

{rcpt}

Motivo: {reply}

-- Mensagem original --
{head}
"""
ITALIAN = """
From: Mail Delivery System <MAILER-DAEMON@{domain}>
To: {path}
Subject: Mancata consegna del messaggio
Date: {date}
Content-Type: text/plain; charset=utf-8

Il messaggio inviato a {rcpt} non è stato consegnato.

Errore: {reply}
"""
JAPANESE = """
From: Mail Delivery System <MAILER-DAEMON@{domain}>
To: {path}
Subject: =?utf-8?B?44Oh44O844Or44KS6YWN5L+h44Gn44GN44G+44Gb44KT44Gn44GX44Gf?=
Date: {date}
Content-Type: text/plain; charset=utf-8

送信されたメールは、以下の宛先に配信できませんでした。

宛先: {rcpt}
理由: {reply}
"""
CHINESE = """
From: postmaster@{domain}
To: {path}
Subject: =?utf-8?B?6YCA5L+h6YCa55+l?=
Date: {date}
Content-Type: text/html; charset=utf-8

<html><body><p>抱歉，您的邮件被退回来了。</p><p>收件人：{rcpt}</p>
<p>退信原因：{reply}</p></body></html>
"""
RUSSIAN = """
From: Mail Delivery System <mailer-daemon@{domain}>
To: {path}
Subject: =?utf-8?B?0J3QtdC00L7RgdGC0LDQstC70LXQvdC90L7QtSDRgdC+0L7QsdGJ0LXQvdC40LU=?=
Date: {date}
Content-Type: text/plain; charset=utf-8

Это письмо создано автоматически сервером {host}.

К сожалению, ваше письмо не может быть доставлено адресату: {rcpt}

Ответ сервера: {reply}
"""
CARRIER_JP = """
From: Postmaster<mail-daemon@{domain}>
To: {path}
Subject: Mail System Error - Returned Mail
Date: {date}

Your message was not delivered to the following recipients:

<{rcpt}>: {reply}

{head}
"""
CARRIER_US = """
From: post_master@{domain}
To: {path}
Subject: Undeliverable message
Date: {date}

Message could not be delivered to mobile.
Error: {reply}

To: {rcpt}
"""
IMAIL = """
From: "Mail Delivery Subsystem" <postmaster@{domain}>
To: {path}
Subject: Undeliverable Mail
Date: {date}
X-Mailer: <SMTP32 v8.22>

{reply}: {rcpt}

Original message follows.

{original}
"""
MAILENABLE = """
From: "Postmaster" <POSTMASTER@{domain}>
To: {path}
Subject: Message Delivery Failure
Date: {date}
X-Mailer: MailEnable

MailEnable: Message could not be delivered to some recipients.
The following recipient(s) could not be reached:

    Recipient: [SMTP:{rcpt}]
    Reason: Remote SMTP Server Returned: {reply}

Message headers follow:

{head}
"""
MDAEMON = """
From: MDaemon at {domain} <MDaemon@{domain}>
To: {path}
Subject: Permanent Delivery Failure
Date: {date}
X-MDaemon-Deliver-To: {path}

The attached message had PERMANENT fatal delivery errors!

After one or more unsuccessful delivery attempts the attached message has
been removed from the mail queue on this server.

--- Session Transcript ---
 Tue 10:18:02: [1:1] --> RCPT To:<{rcpt}>
 Tue 10:18:02: [1:1] <-- {reply}
--- End Transcript ---

Failed address: {rcpt}
"""
SURGEMAIL = """
From: "SurgeMail" <postmaster@{domain}>
To: {path}
Subject: Returned mail
Date: {date}

Your message cannot be delivered to the following recipients:

  Recipient: <{rcpt}>
  Error: {reply}

Your mail message follows
{head}
"""
PLAIN_GATEWAY = """
Return-Path: <>
From: Mail Gateway <gateway@{domain}>
To: {path}
Subject: Delivery failure (Your order 4711)
Date: {date}
Auto-Submitted: auto-generated

We were unable to deliver your message to {rcpt}.
The server of the recipient answered:

    {reply}

This is an automated notice.
"""
YAHOO_OLD = """
Return-Path: <>
From: MAILER-DAEMON@mail.{domain}
To: {path}
Subject: Failure Notice
Date: {date}

Sorry, we were unable to deliver your message to the following address.

<{rcpt}>:
{reply}

--- Below this line is a copy of the message.

{original}
"""
CPANEL_DISCARD = """
From: Mail Delivery System <Mailer-Daemon@{host}>
To: {path}
Auto-Submitted: auto-replied
X-Failed-Recipients: {rcpt}
Subject: Mail delivery failed: returning message to sender
Date: {date}

This message was created automatically by mail delivery software.

A message sent by

  {path}

could not be delivered to one or more of its recipients. The following
address(es) failed:

  {rcpt}:
    {reply}

------ This is a copy of the message's headers. ------

{head}
"""
FREE = {
    "qmail": (QMAIL, [
        ("Sorry, no mailbox here by that name. (#5.1.1)", NO_EMAIL),
        ("192.0.2.77 does not like recipient.\nRemote host said: 550 5.1.1 <{rcpt}>: mailbox unknown\nGiving up on 192.0.2.77.",
         NO_EMAIL),
        ("192.0.2.77 failed after I sent the message.\nRemote host said: 554 Message refused: looks like spam", CONTENT),
        ("Sorry, I couldn't find any host named {domain}. (#5.1.2)", NO_EMAIL),
        ("Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\nI'm not going to try again; this message has"
         " been in the queue too long.", SOFT),
        ("user is over quota", FULL),
        ("This address no longer accepts mail.", HARD),
    ]),
    "qmail-es": (QMAIL_TRANSLATED, [
        ("Lo siento, no hay ningún buzón con ese nombre. (#5.1.1)", NO_EMAIL),
        ("El buzón del destinatario está lleno. (#5.2.2)", FULL),
    ]),
    "exim-3": (EXIM_OLD, [
        ("550 unknown user", NO_EMAIL),
        ("550 relay not permitted", SOFT),
        ("552 Mailbox full, try again in a week", FULL),
        ("550 Rejected because 192.0.2.5 is in a black list at rbl.lists.example", SOFT),
        ("550 message content rejected as unsolicited", CONTENT),
        ("550 Unrouteable address", NO_EMAIL),
    ]),
    "exchange-5.5": (EXCHANGE_IMS, [
        ("The recipient name is not recognized\n\tThe MTS-ID of the original message is: c=de;a= ;p=org;l=MX0261117", NO_EMAIL),
        ("The message is too big for the recipient's mailbox", LARGE),
        ("Mailbox is full", FULL),
        ("MSEXCH:IMS:Org:Site:MX 3550 (000B09B6) 550 User unknown", NO_EMAIL),
    ]),
    "exchange-2003": (EXCHANGE_2003, [("", HARD)]),
    "sendmail-8.7": (SENDMAIL_OLD, [
        ("550 <{rcpt}>... User unknown", NO_EMAIL),
        ("552 <{rcpt}>... Mailbox full", FULL),
        ("553 5.3.0 <{rcpt}>... Spam blocked see http://lists.example/lookup?192.0.2.5", SOFT),
        ("552 Message too large", LARGE),
    ]),
    "groupwise": (GROUPWISE, [
        ("550 No such recipient", NO_EMAIL),
        ("Mailbox disk quota exceeded", FULL),
        ("User not found", NO_EMAIL),
    ]),
    "domino-6": (DOMINO_FREE, [
        ("User anna (anna@birch.example) not listed in Domino Directory", NO_EMAIL),
        ("Error transferring to MX1; Maximum hop count exceeded.  Message probably in a routing loop.", SOFT),
        ("550 Mailbox unavailable or access denied - <{rcpt}>", NO_EMAIL),
    ]),
    "courier-0.65": (COURIER, [
        ("550 User unknown.", NO_EMAIL),
        ("552 Mail quota exceeded.", FULL),
        ("550 5.7.1 Mail from your address range is refused, bad reputation", SOFT),
    ]),
    "german": (GERMAN, [
        ("Das Postfach des Empfängers ist voll.", FULL),
        ("Der Empfänger ist auf diesem Server unbekannt.", NO_EMAIL),
        ("Die Nachricht ist zu groß für das Postfach.", LARGE),
        ("Die Nachricht wurde als Spam abgelehnt.", CONTENT),
    ]),
    "french": (FRENCH, [
        ("Boîte aux lettres pleine", FULL),
        ("L'adresse du destinataire n'existe pas", NO_EMAIL),
        ("550 5.1.1 Utilisateur inconnu", NO_EMAIL),
    ]),
    "portuguese": (PORTUGUESE, [
        ("Caixa postal cheia", FULL),
        ("Usuário inexistente", NO_EMAIL),
        ("550 destinatário desconhecido", NO_EMAIL),
    ]),
    "italian": (ITALIAN, [
        ("la casella di posta del destinatario è piena", FULL),
        ("utente sconosciuto", NO_EMAIL),
        ("550 5.1.1 indirizzo inesistente", NO_EMAIL),
    ]),
    "japanese": (JAPANESE, [
        ("宛先のメールボックスが一杯です", FULL),
        ("宛先のメールアドレスは存在しません", NO_EMAIL),
        ("550 Unknown user {rcpt}", NO_EMAIL),
    ]),
    "chinese": (CHINESE, [
        ("收件人邮箱已满", FULL),
        ("收件人邮件地址不存在，邮件无法送达", NO_EMAIL),
        ("550 Mailbox not found", NO_EMAIL),
    ]),
    "russian": (RUSSIAN, [
        ("Почтовый ящик получателя переполнен", FULL),
        ("Такого пользователя не существует", NO_EMAIL),
        ("550 5.7.1 No such user!", NO_EMAIL),
    ]),
    "carrier-jp": (CARRIER_JP, [("550 Unknown user", NO_EMAIL), ("The mailbox is over quota", FULL)]),
    "carrier-us": (CARRIER_US, [
        ("Invalid Destination Address", NO_EMAIL),
        ("the subscriber's inbox is full", FULL),
        ("Blocked by subscriber", HARD),
    ]),
    "imail": (IMAIL, [("User mailbox exceeds allowed size", FULL), ("Unknown user", NO_EMAIL)]),
    "mailenable": (MAILENABLE, [
        ("550 5.1.1 unknown or illegal alias: {rcpt}", NO_EMAIL),
        ("451 4.3.2 server busy", SOFT),
        ("550 This message contains a blocked attachment", ATTACHED),
    ]),
    "mdaemon": (MDAEMON, [
        ("550 <{rcpt}>, Recipient unknown", NO_EMAIL),
        ("552 Message exceeds maximum allowed message size", LARGE),
        ("554 5.7.1 DMARC check failed", SOFT),
    ]),
    "surgemail": (SURGEMAIL, [
        ("550 5.1.1 mailbox does not exist", NO_EMAIL),
        ("Disk quota of user exceeded", FULL),
    ]),
    "plain-gateway": (PLAIN_GATEWAY, [
        ("550 5.1.1 Address does not exist", NO_EMAIL),
        ("552 5.2.2 Mailbox quota reached", FULL),
        ("550 5.7.1 your IP address is listed on a blocklist", SOFT),
        ("no answer within four days", SOFT),
    ]),
    "yahoo-2009": (YAHOO_OLD, [
        ('Mail server for "{domain}" unreachable for too long', SOFT),
        ("Remote host said: 554 delivery error: dd Sorry your message to {rcpt} cannot be delivered. This account has"
         " been disabled or discontinued [#102]. [RCPT_TO]", HARD),
        ("Remote host said: 552 1 Requested mail action aborted, mailbox not found [RCPT_TO]", NO_EMAIL),
    ]),
    "exim-hosting": (CPANEL_DISCARD, [
        ("No Such User Here", NO_EMAIL),
        ("Domain shop.example has exceeded the max emails per hour (125/100 (125%)) allowed. Message discarded.", SOFT),
        ("mailbox is full (MTA-imposed quota exceeded while writing to file)", FULL),
        ("retry timeout exceeded", SOFT),
    ]),
}  # fmt: skip
EXIM_WARNING = """
From: Mail Delivery System <Mailer-Daemon@{host}>
To: {path}
Auto-Submitted: auto-replied
Subject: Warning: message 1tF{token} delayed 24 hours
Date: {date}

This message was created automatically by mail delivery software.
A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on {host}.

The message identifier is:     1tF{token}

The address to which the message has not yet been delivered is:

  {rcpt}
    {reply}

No action is required on your part. Delivery attempts will continue for
some time.
"""
POSTFIX_WARNING_DE = """
From: MAILER-DAEMON@{host}
To: {path}
Subject: Verzögerte Zustellung
Date: {date}
Content-Type: text/plain; charset=utf-8

Dies ist nur eine Warnung. Ihre Nachricht konnte noch nicht zugestellt werden, es wird weiter versucht:

{rcpt}
{reply}
"""


def frees() -> list[Case]:
    cases = [
        free(product, template, said, number)
        for product, (template, replies) in FREE.items()
        for number, said in enumerate(replies)
    ]
    warned = ("host {host} [192.0.2.4]: 451 4.3.0 come back later", SOFT)
    cases.append(free("exim-warning", EXIM_WARNING, warned, 0, kind="delay"))
    cases.append(free("german-warning", POSTFIX_WARNING_DE, warned, 0, kind="delay"))
    return cases


# --- complaints ------------------------------------------------------------------------------------------------

LOOP = """
From: <fbl@loops.example>
To: {path}
Subject: Spam report
Date: {date}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="loop{token}"

--loop{token}
Content-Type: text/plain

This is a spam report for a message received from 192.0.2.5.

--loop{token}
Content-Type: message/feedback-report

{fields}
--loop{token}
{kept}
--loop{token}--
"""
WHOLE = "Content-Type: message/rfc822\n\n{original}"
HEADS = "Content-Type: text/rfc822-headers\n\n{head}"
JMRP = """
From: <staff@hotmail.example>
To: {path}
Subject: complaint about message from 192.0.2.5
Date: {date}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="jmrp{token}"

--jmrp{token}
Content-Type: message/rfc822
Content-Disposition: attachment

X-HmXmrOriginalRecipient: {rcpt}
X-Reporter-IP: 192.0.2.200
{original}
--jmrp{token}--
"""


def complaints() -> list[Case]:
    cases = []

    def add(
        name: str, fields: str, kept: str, kind: str = "abuse", recipients: tuple[str, ...] | None = None
    ) -> None:
        names = Names(f"held/{name}")
        recipient = names.address()
        domain = recipient.partition("@")[2]
        values = {"rcpt": recipient, "domain": domain, "original": original(names, recipient)}
        values["head"] = original(names, recipient, body=False)
        inner = LOOP.lstrip("\n").replace("{kept}", kept).replace("{fields}", fields)
        head, _, body = fill(inner, names, **values).partition("\n\n")
        expected = (recipient,) if recipients is None else recipients
        cases.append(Case(name, "complaint", message(head, body), "complaint", expected, None, kind))

    plain = "Feedback-Type: abuse\nUser-Agent: SomeGenerator/1.0\nVersion: 1\n"
    add("loop-minimal", plain, WHOLE)
    add(
        "loop-full",
        "Feedback-Type: abuse\nUser-Agent: Big-Loop/2.1\nVersion: 1\nOriginal-Envelope-Id: QQ\n"
        "Original-Mail-From: <{path}>\nOriginal-Rcpt-To: <{rcpt}>\nArrival-Date: {date}\nReporting-MTA: dns; {host}\n"
        "Source-IP: 192.0.2.5\nIncidents: 2\nAuthentication-Results: {host}; spf=pass smtp.mailfrom=shop.example\n"
        "Reported-Domain: shop.example\nReported-Domain: img.shop.example\nReported-Uri: http://shop.example/a\n",
        HEADS,
    )
    add(
        "loop-v0.1",
        "Feedback-Type: abuse\nUser-Agent: Portal-Mail-Feedback/2.0\nVersion: 0.1\n"
        "Original-Mail-From: <{path}>\nOriginal-Rcpt-To: {rcpt}\nReceived-Date: {date}\nReported-Domain: shop.example\n",
        WHOLE,
    )
    add("loop-fraud", "Feedback-Type: fraud\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: {rcpt}\n", WHOLE, "fraud")
    add(
        "loop-opt-out",
        "Feedback-Type: opt-out\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: {rcpt}\n",
        HEADS,
        "other",
    )
    add(
        "loop-not-spam",
        "Feedback-Type: not-spam\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: {rcpt}\n",
        HEADS,
        "not-spam",
    )
    add("loop-redacted", plain + "Original-Rcpt-To: [redacted]\nReporting-MTA: dns; mx.{domain}\n", WHOLE)
    add("loop-auth-failure", "Feedback-Type: auth-failure\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: <{rcpt}>\n"
        "Auth-Failure: dmarc\nIdentity-Alignment: none\nDelivery-Result: reject\nReported-Domain: shop.example\n",
        HEADS, "auth-failure")  # fmt: skip
    names = Names("held/jmrp")
    recipient = names.address()
    inner = fill(JMRP.lstrip("\n"), names, rcpt=recipient, original=original(names, recipient))
    head, _, body = inner.partition("\n\n")
    cases.append(Case("jmrp", "complaint", message(head, body), "complaint", (recipient,), None, "abuse"))
    return cases


# --- automatic replies -----------------------------------------------------------------------------------------

AUTO = {
    "exchange-ooo": "From: Nils <{rcpt}>\nTo: {path}\nSubject: Automatic reply: Your order 4711\nDate: {date}\n"
    "X-Auto-Response-Suppress: All\nAuto-Submitted: auto-generated\nIn-Reply-To: <order.1@shop.example>\n\n"
    "I am away until Monday. Write to {rcpt2}.\n",
    "vacation": "From: {rcpt}\nTo: {path}\nSubject: away from my mail\nDate: {date}\nPrecedence: bulk\n"
    "Auto-Submitted: auto-replied\n\nI will not be reading my mail for a while.\nYour mail will be read later.\n",
    "german-ooo": "From: {rcpt}\nTo: {path}\nSubject: Abwesenheitsnotiz: Ihre Bestellung\nDate: {date}\n"
    "X-Autoreply: yes\nContent-Type: text/plain; charset=utf-8\n\nIch bin bis Montag nicht im Büro.\n",
    "french-ooo": "From: {rcpt}\nTo: {path}\nSubject: =?utf-8?q?R=C3=A9ponse_automatique_=3A_commande?=\nDate: {date}\n\n"
    "Je suis absente.\n",
    "left-company": "From: {rcpt}\nTo: {path}\nSubject: Auto-Reply: Your order\nDate: {date}\nPrecedence: auto_reply\n\n"
    "I no longer work here and this mailbox does not exist any more. User unknown, so to say.\n",
    "challenge": "From: {rcpt}\nTo: {path}\nSubject: Please confirm your message\nDate: {date}\n"
    "Auto-Submitted: auto-replied (challenge)\n\nClick to have your message delivered.\n",
    "japanese-ooo": "From: {rcpt}\nTo: {path}\nSubject: =?utf-8?B?6Ieq5YuV5b+c562U?=\nDate: {date}\n"
    "Content-Type: text/plain; charset=utf-8\n\n不在にしております。\n",
    "ticket": "From: Help <{rcpt}>\nTo: {path}\nSubject: [Ticket 8812] Your order 4711\nDate: {date}\n"
    "Auto-Submitted: auto-replied\nX-Autorespond: ticket\n\nWe have received your message.\n",
}


def autos() -> list[Case]:
    cases = []
    for number, (name, template) in enumerate(AUTO.items()):
        made = free(name, template, ("", SOFT), number, kind="auto-reply", group="auto")
        cases.append(replace(made, recipients=()))
    return cases


def cases() -> list[Case]:
    """Return the half that rules are not written for, without what servers wrote."""
    return [*standards(), *frees(), *complaints(), *autos()]
