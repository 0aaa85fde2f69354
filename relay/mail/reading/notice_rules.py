# ruff: noqa: RUF001 - words of other languages
"""How reports that follow no standard begin, in data: products and languages, each with where it is known from.

Phrases are looked for in lower case with single blanks. A product's opening is enough for what a mail system sent; a
general one needs more beside it (`relay.mail.reading.notice`).
"""

import re
from dataclasses import dataclass
from typing import Final

from relay.mail.reply_rules import EXIM, MICROSOFT, POSTFIX, QMAIL, SENDMAIL, WORDS


@dataclass(frozen=True, slots=True)
class NoticeRule:
    """One way to say that a message failed. `lasting`: the words say that it is for good."""

    name: str
    source: str
    phrases: tuple[str, ...]
    product: bool = True
    lasting: bool = True


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


NOTICES: Final = (
    NoticeRule("qmail", QMAIL, ("qmail-send program", "i'm afraid i wasn't able to deliver")),
    NoticeRule("exim", EXIM, (
        "this message was created automatically by mail delivery software",
        "a message that you sent could not be delivered to one or more of its",
    )),
    NoticeRule("postfix", POSTFIX, (
        "this is the mail system at host", "this is the postfix program at host",
        "could not be delivered to one or more recipients",
    )),
    NoticeRule("sendmail", SENDMAIL, (
        "transcript of session follows", "had permanent fatal errors", "had delivery problems",
        "----- the following addresses",
    )),
    NoticeRule("courier", "https://www.courier-mta.org/courier.html", (
        "running the courier mail server", "your message to the following recipients cannot be delivered",
    )),
    NoticeRule("exchange", MICROSOFT, (
        "did not reach the following recipient", "did not reach some or all of the intended recipients",
        "delivery to the following recipients failed", "delivery to the following recipient failed",
        "delivery has failed to these recipients", "the following recipient(s) could not be reached",
        "the following recipient(s) cannot be reached", "couldn't be delivered to the following recipient",
    )),
    NoticeRule("domino", "https://help.hcl-software.com/domino/", ("was not delivered to:",)),
    NoticeRule("groupwise", "https://www.microfocus.com/documentation/groupwise/", (
        "the message that you sent was undeliverable",
    )),
    NoticeRule("james", "https://james.apache.org/server/", ("this is the james mail server",)),
    NoticeRule("dragonfly", "https://man.dragonflybsd.org/?command=dma", ("this is the dragonfly mail agent",)),
    NoticeRule("nullmailer", "https://untroubled.org/nullmailer/", ("nullmailer",)),
    NoticeRule("opensmtpd", "https://man.openbsd.org/smtpd", ("this is the mailer-daemon, please do not reply",)),
    NoticeRule("mdaemon", "https://help.mdaemon.com/", ("permanent fatal delivery errors", "fatal delivery errors")),
    NoticeRule("mailenable", "https://www.mailenable.com/", ("mailenable: message could not be delivered",)),
    NoticeRule("carrier", WORDS, ("could not be delivered to mobile",)),
    NoticeRule("english", WORDS, _lines("""
        could not be delivered
        couldn't be delivered
        can not be delivered
        cannot be delivered
        can't be delivered
        was not delivered
        wasn't delivered
        not been delivered
        were unable to deliver
        was unable to deliver
        unable to deliver
        wasn't able to deliver
        was not able to deliver
        did not reach
        delivery failed
        delivery has failed
        failed to deliver
        delivery error
        undeliverable
        undelivered
        returned to sender
        returned mail
        failed recipient
        failed address
        delivery to the following
        error occurred while trying to deliver
        problem with the e-mail address
        problem delivering
    """), product=False, lasting=False),
    NoticeRule("german", WORDS, _lines("""
        nicht zugestellt
        nicht erreicht
        nicht erreicht werden
        nicht ausgeliefert
        unzustellbar
        konnte nicht erreicht werden
        konnte nicht zugestellt
        zustellung fehlgeschlagen
        zustellung nicht möglich
    """), product=False, lasting=False),
    NoticeRule("french", WORDS, _lines("""
        n'a pas pu être remis
        n'a pas pu être délivré
        n'a pas pu être distribué
        n'a pas pu etre
        n'a pu être
        non remis
        non distribué
        échec de la remise
        échec de livraison
        pas été délivré
        impossible de remettre
    """), product=False, lasting=False),
    NoticeRule("spanish", WORDS, _lines("""
        no se pudo entregar
        no se puede entregar
        no ha podido ser entregado
        no pudo ser entregado
        no fue entregado
        no he podido entregar
        error en la entrega
        no entregado
    """), product=False, lasting=False),
    NoticeRule("portuguese", WORDS, _lines("""
        não pôde ser entregue
        não pode ser entregue
        não foi entregue
        não foi possível entregar
        falha na entrega
        nao foi entregue
    """), product=False, lasting=False),
    NoticeRule("italian", WORDS, _lines("""
        non è stato consegnato
        non è stato possibile consegnare
        non può essere consegnato
        impossibile recapitare
        mancata consegna
        mancato recapito
        non consegnat
    """), product=False, lasting=False),
    NoticeRule("dutch", WORDS, _lines("""
        kon niet worden afgeleverd
        niet afgeleverd
        niet bezorgd
        kon niet worden bezorgd
        onbestelbaar
    """), product=False, lasting=False),
    NoticeRule("slavic", WORDS, _lines("""
        nie można dostarczyć
        nie dostarczono
        nie została dostarczona
        niedostarczon
        nelze doručit
        nebyla doručena
        не может быть доставлено
        не доставлено
        недоставленн
        не удалось доставить
        невозможно доставить
        не було доставлено
    """), product=False, lasting=False),
    NoticeRule("nordic", WORDS, _lines("""
        kunde inte levereras
        kunne ikke leveres
        ei voitu toimittaa
    """), product=False, lasting=False),
    NoticeRule("turkish", WORDS, ("teslim edilemedi", "iletilemedi"), product=False, lasting=False),
    NoticeRule("japanese", WORDS, _lines("""
        配信できませんでした
        配送できませんでした
        配信されませんでした
        配送されませんでした
        送信できませんでした
        届けることができませんでした
        お届けできません
        エラーメール
        配信不能
    """), product=False, lasting=False),
    NoticeRule("chinese", WORDS, _lines("""
        退信
        被退回
        无法送达
        无法投递
        未能送达
        投递失败
        发送失败
        無法投遞
        無法送達
    """), product=False, lasting=False),
    NoticeRule("korean", WORDS, _lines("""
        전송하지 못했습니다
        전송되지 못했습니다
        전달하지 못했습니다
        전달되지 못했습니다
        반송
        배달되지
        발송 실패
        전송 실패
    """), product=False, lasting=False),
)  # fmt: skip

# Subjects that say so too; what any language above says counts as well.
SUBJECTS: Final = _lines("""
    failure notice
    delivery failure
    delivery status notification
    delivery notification
    mail delivery status
    message delivery failure
    message status - undeliverable
    mail system error
    mail failure
    failed mail
    mail delivery failed
    nondeliverable
    non delivery
    non-delivery
    returned:
    bounce
""")

# What is tried further is no failure.
DELAYS: Final = _lines("""
    has not yet been delivered
    have not yet been delivered
    not yet been delivered
    not been delivered yet
    this is a warning message only
    you do not need to resend
    delivery attempts will continue
    will keep trying
    will continue trying
    will continue to try
    will be retried
    still being retried
    still undelivered
    temporarily delayed
    delivery is delayed
    has been delayed
    konnte noch nicht zugestellt
    wird weiter versucht
    weitere zustellversuche
    n'a pas encore été
    n'a pas encore pu
    aún no se ha podido entregar
    ainda não foi entregue
    non è ancora stato consegnato
    jeszcze nie została dostarczona
    пока не доставлено
    будут продолжены
""")
DELAY_SUBJECTS: Final = ("warning: ", "delayed", "delay)", "verzögert", "retard", "retras", "atras", "ritard")
# Unless these say that it has ended.
ENDED: Final = ("giving up", "given up", "permanent error", "not going to try again", "will not be retried")

# Where the message that came back begins, when it stands in the text itself.
SEPARATORS: Final = re.compile(
    r"^[ \t]*(?:"
    r"-+ ?(?:below this line is a copy|this is a copy of|original message|unsent message|returned message|the header)"
    r"|-+ ?(?:a partir de aqu|es folgt|ursprüngliche nachricht|mensagem original|mensaje original|message d'origine"
    r"|message original|messaggio originale)"
    r"|(?:possibly truncated )?original message follows|message headers? follows?|your mail message follows"
    r"|included is a copy of|original message headers:?"
    r"|received:[ \t]|return-path:[ \t]|delivered-to:[ \t]|dkim-signature:[ \t]|mime-version:[ \t]"
    r")",
    re.IGNORECASE | re.MULTILINE,
)

# Words before the address that failed.
LABELS: Final = re.compile(
    r"^[ \t>*-]*(?:(?:(?:final |original |failed |intended )?recipients?(?:'s)?(?: address)?(?:\(s\))?|to|rcpt to"
    r"|failed address(?:es)?|address|user|mailbox|empfänger|adresse|destinataire|destinatario|destinatário|dirección"
    r"|ontvanger|adresat|odbiorca|příjemce|получатель|адрес|адресат|宛先|宛先アドレス|受信者|收件人|收件者|收信人"
    r"|받는 ?사람|수신자|alıcı|mottagare))[ \t]*[:\uff1a][ \t]*",
    re.IGNORECASE,
)
