# ruff: noqa: RUF001 - words of other languages
"""What the replies of receivers say, as data: texts and status codes, each with the public page it is known from.

A rule names a reason. `phrases` are looked for in the reply after `normal`, any of them will do; `pattern` is a
regular expression beside them, bounded in what it spans. `anywhere` rules hold whatever the status code is, because
receivers send the same code for everything; the others are asked only where the code says little. The first rule that
fits decides. Phrases are short and general: they are to fit texts nobody has seen yet. `relay.mail.replies` judges.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

RFC3463: Final = "RFC 3463 section 3"
IANA: Final = "https://www.iana.org/assignments/smtp-enhanced-status-codes"
RFC5321: Final = "RFC 5321 section 4.2.3"
MICROSOFT: Final = (
    "https://learn.microsoft.com/exchange/troubleshoot/email-delivery/ndr/non-delivery-reports-in-exchange-online"
)
GOOGLE: Final = "https://support.google.com/a/answer/3726730"
YAHOO: Final = "https://senders.yahooinc.com/smtp-error-codes/"
POSTFIX: Final = "https://www.postfix.org/postconf.5.html"
EXIM: Final = "https://www.exim.org/exim-html-current/doc/html/spec_html/"
QMAIL: Final = "https://cr.yp.to/proto/qsbmf.txt"
SENDMAIL: Final = "https://www.sendmail.org/~ca/email/doc8.12/op.html"
CODES: Final = "https://smtp.codes/"
WORDS: Final = "the plain words for it in several languages"


class Reason(Enum):
    """Why mail was refused; the value is the name that rules are shown under."""

    NO_MAILBOX = "no-such-mailbox"
    BAD_DOMAIN = "bad-domain"
    NO_HOST = "host-unknown"
    DISABLED = "mailbox-disabled"
    MOVED = "mailbox-moved"
    FULL = "mailbox-full"
    LARGE = "message-too-large"
    CONTENT = "content"
    ATTACHMENT = "attachment"
    MALFORMED = "message-form"
    BLOCKED = "sender-blocked"
    RATE = "too-much"
    AUTHENTICATION = "authentication"
    RELAYING = "relaying"
    RESTRICTED = "restricted"
    SENDER = "sender-refused"
    POLICY = "policy"
    GREYLISTED = "greylisted"
    SYSTEM = "system"
    NETWORK = "network"
    EXPIRED = "expired"
    LOOP = "loop"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """One rule; with `details` it holds for those status codes only (without their class: "2.2")."""

    reason: Reason
    source: str
    details: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    anywhere: bool = False


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives))


_GAP = r"(?:[^\s]+ ){0,5}"  # a few words between two

# --- texts ----------------------------------------------------------------------------------------------------------
# In this order: what is said of a mailbox or of the sender's standing is seldom wrong, whatever code comes with it.

TEXTS: Final = (
    ReplyRule(  # directory-based blocking at the edge: no such recipient, whatever the words say
        Reason.NO_MAILBOX, MICROSOFT, details=("4.1",), phrases=("recipient address rejected: access denied",),
        anywhere=True,
    ),
    ReplyRule(
        Reason.FULL, WORDS,
        phrases=_lines("""
            mailbox full
            mailbox is full
            mailbox has exceeded
            mailbox exceeds
            mailbox too full
            inbox is full
            inbox full
            mailfolder is full
            over quota
            overquota
            over its quota
            over the allowed quota
            over disk quota
            quota exceeded
            quota reached
            quota violation
            quota full
            exceeded quota
            exceeded its quota
            exceeds quota
            exceeded the quota
            exceeded its disk
            exceeded storage
            storage allocation
            out of storage
            storage full
            not enough space
            no space left
            no room in mailbox
            insufficient disk space
            insufficient mailbox
            mailbox size limit
            mailbox limit
            account is full
            account full
            mailbox allocation
            postfach voll
            postfach ist voll
            postfach des empfängers ist voll
            mailbox voll
            mailbox ist voll
            speicherplatz
            boîte pleine
            boite pleine
            boîte aux lettres pleine
            boite aux lettres pleine
            boîte aux lettres est pleine
            quota dépassé
            quota depasse
            buzón lleno
            buzon lleno
            está lleno
            esta lleno
            cuota excedida
            caixa cheia
            caixa postal cheia
            caixa de correio cheia
            caixa está cheia
            quota excedida
            casella piena
            è piena
            e' piena
            casella di posta piena
            postvak vol
            postbus vol
            mailbox zit vol
            skrzynka pełna
            skrzynka jest pełna
            przepełnion
            przekroczono limit
            schránka je plná
            schranka je plna
            ящик переполнен
            ящик получателя переполнен
            превышена квота
            переполнен
            容量を超え
            容量がいっぱい
            容量オーバー
            一杯です
            いっぱいです
            邮箱已满
            邮箱空间不足
            邮箱容量
            信箱已滿
            空间已满
            容量 초과
            용량 초과
            용량이 초과
            용량을 초과
            편지함이 가득
            kota aşıldı
            kotası dolu
            kutusu dolu
            brevlådan är full
            postkassen er fuld
        """),
        pattern=_any(
            rf"exceed\w* {_GAP}(?:quota|storage|disk)", r"quota\w* {0,3}\w{0,12} (?:exceeded|reached)",
            rf"(?:mailbox|inbox|mailfolder|mail box) {_GAP}(?:is |was )?(?:full\b|over\b)",
            r"mailbox exceeds? (?:its |the )?(?:allowed|maximum) (?:size|storage)",
            rf"exceeded {_GAP}(?:mailbox|inbox)",
        ),
        anywhere=True,
    ),
    ReplyRule(
        Reason.RATE, f"{GOOGLE} {YAHOO} {CODES}",
        phrases=_lines("""
            user complaints
            receiving mail too quickly
            receiving mail at a rate
            unusual rate
            unexpected volume
            excessive volume
            too many connections
            too many messages
            too many emails
            too many recipients
            too many sessions
            too many concurrent
            too many requests
            too much mail
            max emails per hour
            rate limit
            rate-limit
            ratelimit
            rate exceeded
            throttl
            sending limit
            hourly limit
            daily limit
            exceeded the maximum number of
            server busy
            message limit
            thread limit exceeded
        """),
        anywhere=True,
    ),
    ReplyRule(
        Reason.BLOCKED, f"{CODES} {YAHOO} {MICROSOFT}",
        phrases=_lines("""
            spamhaus
            spamcop
            barracudacentral
            sorbs
            uceprotect
            abusix
            invaluement
            senderscore
            sender score
            dnsbl
            blocklist
            block list
            blacklist
            black list
            black-list
            blocked using
            blocked by
            blocked for
            banned sending ip
            banned sender
            bad reputation
            poor reputation
            low reputation
            reputation of
            sender reputation
            ip reputation
            reputation score
            due to reputation
            dynamic ip
            dynamic address
            dial-up
            dialup
            residential ip
            open relay detected
            reverse dns
            reverse lookup
            reverse hostname
            ptr record
            no ptr
            ip name lookup failed
            s3140
            s3150
            sperrliste
            liste noire
            lista negra
            lista nera
            czarnej liście
            в черном списке
            в чёрном списке
            ブラックリスト
            黑名单
        """),
        pattern=_any(
            r"\bptr\b", r"\brbl\b",
            rf"(?:\bip\b|address|host|client|server|network|connection\w?)\S* {_GAP}"
            r"(?:is |are |was |been |have been )?(?:blocked|listed|banned|blacklisted|blocklisted|not welcome)",
            r"your (?:ip|mail ?server|network)\b.{0,40}(?:refused|rejected|denied)",
        ),
        anywhere=True,
    ),
    ReplyRule(
        Reason.AUTHENTICATION, f"RFC 7372 {GOOGLE} {YAHOO}",
        phrases=_lines("""
            dmarc
            dkim
            spf check
            spf fail
            failed spf
            spf validation
            spf record
            sender policy framework
            unauthenticated email
            unauthenticated mail
            authentication checks
            not authenticated according
            does not pass authentication
            required authentication level
            openspf
            arc validation
        """),
        pattern=_any(r"\bspf\b"),
        anywhere=True,
    ),
    ReplyRule(
        Reason.ATTACHMENT, f"{GOOGLE} {WORDS}",
        phrases=_lines("""
            attachment
            file name extension
            filename extension
            file extension
            file type not allowed
            executable
            dateianhang
            anhang nicht erlaubt
            pièce jointe
            piece jointe
            archivo adjunto
            anexo
            allegato
            вложени
            添付ファイル
            附件
            첨부
        """),
        pattern=_any(r"\.(?:exe|zip|scr|js|vbs|docm|bat|iso|rar)\b(?: files?|\))"),
    ),
    ReplyRule(
        Reason.LARGE, f"{RFC3463} {WORDS}",
        phrases=_lines("""
            message too large
            message is too large
            message too big
            message is too big
            message too long
            message size exceed
            message exceeds
            message file too big
            message length exceeds
            exceeds maximum allowed message size
            exceeds the maximum message size
            exceeds fixed
            exceeds size limit
            exceeds the size limit
            size exceeds
            size limit exceeded
            larger than the current system limit
            larger than allowed
            is larger than
            too large for
            too big for
            recipsizelimit
            sendersizelimit
            maximum message size
            zu groß
            zu gross
            nachricht ist zu groß
            trop volumineux
            trop gros
            taille maximale
            demasiado grande
            tamaño máximo
            muito grande
            tamanho máximo
            troppo grande
            te groot
            za duża
            příliš velk
            слишком больш
            превышает максимальный размер
            サイズを超え
            サイズが大き
            サイズ超過
            邮件大小
            邮件过大
            邮件太大
            크기 초과
            크기를 초과
        """),
        pattern=_any(rf"exceed\w* {_GAP}size", r"size (?:limit )?exceed"),
    ),
    ReplyRule(
        Reason.RELAYING, f"{EXIM} {POSTFIX}",
        phrases=_lines("""
            relay access denied
            relaying denied
            relay denied
            relaying is denied
            relaying not allowed
            relay not permitted
            relaying not permitted
            relaying prohibited
            unable to relay
            not allowed to relay
            cannot relay
            we do not relay
            we don't relay
            not relay
            not a gateway
            isn't in my list of allowed rcpthosts
            not in my list of allowed
            must authenticate before sending
            not permitted to relay
            no relay
        """),
        anywhere=True,
    ),
    ReplyRule(
        Reason.CONTENT, f"{GOOGLE} {CODES} {WORDS}",
        phrases=_lines("""
            unsolicited
            junk mail
            looks like spam
            considered spam
            classified as spam
            identified as spam
            detected as spam
            spam message
            spam content
            spam detected
            spam score
            high probability of spam
            probability of spam
            suspected spam
            message content
            content rejected
            content filter
            content policy
            content restriction
            content denied
            rejected for content
            because of its content
            because its content
            objectionable content
            virus
            malware
            infected
            phish
            suspicious
            surbl
            uribl
            als spam
            spamverdacht
            comme spam
            indésirable
            como spam
            correo no deseado
            come spam
            spamem
            спам
            迷惑メール
            スパム
            垃圾邮件
            스팸
        """),
        pattern=_any(r"\bspam\b", r"\buce\b", r"\bube\b", r"\bbulk\b", r"\bjunk\b"),
    ),
    ReplyRule(
        Reason.GREYLISTED, "https://www.greylisting.org/ " + RFC5321,
        phrases=("greylist", "graylist", "grey list", "grey-list", "gray-list"),
        anywhere=True,
    ),
    ReplyRule(
        Reason.RESTRICTED, MICROSOFT,
        phrases=_lines("""
            notauthenticatedforgroup
            not authenticated for group
            resolver.rst.
            delivery restriction
            restricted recipient
            members only
            only members
            not allowed to send to
            not authorized to send to
            not permitted to send to
            not accept mail from
            does not accept mail from you
            accepts mail only from
            only accepts mail from
            authentication required for
            sender must be authenticated
            was not authenticated to send
            not on the allowed list
            not in the whitelist
            private list
        """),
    ),
    ReplyRule(
        Reason.SENDER, POSTFIX,
        phrases=_lines("""
            sender address rejected
            sender denied
            sender rejected
            sender verify failed
            sender domain
            sending domain
            domain of sender
            sender address does not
            sender is not
            invalid sender
            bad sender
            mail from refused
            return path
            from address
        """),
    ),
    ReplyRule(
        Reason.MOVED, RFC3463,
        phrases=_lines("""
            has moved
            address has changed
            no longer on server
            changed address
            new address is
            please use the new
            user not local; please try
        """),
    ),
    ReplyRule(
        Reason.DISABLED, f"{GOOGLE} {RFC3463}",
        phrases=_lines("""
            account disabled
            account is disabled
            account has been disabled
            account that you tried to reach is disabled
            account that you tried to reach is inactive
            account inactive
            account is inactive
            inactive user
            inactive account
            inactive mailbox
            mailbox disabled
            mailbox is disabled
            mailbox inactive
            mailbox is inactive
            mailbox has been disabled
            user disabled
            user is disabled
            user suspended
            account suspended
            account has been suspended
            account expired
            account is locked
            account closed
            mailbox locked
            mailbox blocked
            disabled or discontinued
            deactivated
            recipient disabled
            not accepting mail
            not accepting messages
            no longer accepts mail
            konto gesperrt
            konto deaktiviert
            compte désactivé
            cuenta desactivada
            conta desativada
            заблокирован
            отключен
        """),
        pattern=_any(rf"account {_GAP}(?:disabled|suspended|inactive|discontinued|deactivated)"),
    ),
    ReplyRule(
        Reason.NO_HOST, f"{POSTFIX} {SENDMAIL} {QMAIL}",
        phrases=_lines("""
            host unknown
            unknown host
            host not found
            domain not found
            domain unknown
            unknown domain
            no such domain
            domain does not exist
            non-existent host
            non-existent domain
            nonexistent domain
            nxdomain
            couldn't find any host
            couldn't find a mail exchanger
            couldn't find any host named
            no mail exchanger
            no mx record
            unable to resolve
            name service error
            domain doesn't exist
            domain nicht gefunden
            domaine inconnu
        """),
    ),
    ReplyRule(
        Reason.NO_MAILBOX, f"{POSTFIX} {EXIM} {MICROSOFT} {WORDS}",
        phrases=_lines("""
            user unknown
            unknown user
            unknown recipient
            unknown address
            unknown mailbox
            unknown local
            unknown or illegal
            recipient unknown
            unknown account
            no such user
            no such recipient
            no such person
            no such mailbox
            no such account
            no such address
            no such local
            no mailbox
            no account by that name
            not our customer
            invalid recipient
            invalid mailbox
            invalid user
            invalid address
            invalid destination
            address invalid
            bad destination mailbox
            bad recipient
            unrouteable address
            unroutable address
            unrouteable mail
            undeliverable address
            recipnotfound
            recipientnotfound
            recipient not found
            user not found
            mailbox not found
            address not found
            account not found
            name is not recognized
            not a valid user
            not a valid mailbox
            not a valid recipient
            isn't a valid
            not a known user
            not listed in
            not known here
            not known at this site
            addressee unknown
            verify the recipient
            unverified address
            does not like recipient
            not exist
            doesn't exist
            nonexistent
            non-existent
            benutzer unbekannt
            benutzer existiert nicht
            empfänger unbekannt
            empfaenger unbekannt
            empfängeradresse unbekannt
            unbekannter empfänger
            unbekannter benutzer
            existiert nicht
            unbekannt
            nicht bekannt
            n'existe pas
            inexistant
            utilisateur inconnu
            destinataire inconnu
            adresse inconnue
            destinataire invalide
            no existe
            usuario desconocido
            destinatario desconocido
            ningún buzón
            inexistente
            não existe
            nao existe
            usuário desconhecido
            destinatário desconhecido
            utente sconosciuto
            destinatario sconosciuto
            indirizzo sconosciuto
            non esiste
            onbekend
            bestaat niet
            nie istnieje
            nieznany użytkownik
            neexistuje
            не существует
            не найден
            неизвестный пользователь
            пользователь не
            нет такого
            存在しません
            存在しない
            見つかりません
            宛先不明
            不存在
            查无此人
            用户未找到
            無此
            존재하지 않는
            존재하지 않습니다
            없는 사용자
            bulunamadı
            mevcut değil
            finns inte
            okänd
        """),
        pattern=_any(
            r"(?:user|recipient|mailbox|account|address|alias|member|person)\b.{0,60}(?:unknown|not exist"
            r"|not (?:be )?found|invalid|no longer|not known|unrouteable|not listed|nonexist"
            r"|does ?n[o']t (?:exist|have))",
            r"(?:unknown|no such|invalid|non-?existent|bad|undeliverable) (?:\w+ )?(?:user|recipient|mailbox|address"
            r"|account|destination|person|alias)",
            rf"(?:no|any) {_GAP}(?:mailbox|user|account) {_GAP}(?:here|by that name|with that name)",
        ),
    ),
    ReplyRule(
        Reason.DISABLED, RFC5321,
        phrases=("mailbox unavailable", "mailbox currently unavailable", "mailbox is unavailable"),
    ),
    ReplyRule(
        Reason.LOOP, f"{RFC3463} {MICROSOFT}",
        phrases=_lines("""
            too many hops
            hop count exceeded
            maximum hop count
            routing loop
            mail loop
            loops back to myself
            looping
            too many received
        """),
    ),
    ReplyRule(
        Reason.EXPIRED, f"{QMAIL} {POSTFIX} {MICROSOFT}",
        phrases=_lines("""
            in the queue too long
            been in queue too long
            message expired
            delivery time expired
            delivery expired
            retry timeout exceeded
            retry time not reached
            retry limit
            unreachable for too long
            could not be delivered within
            not be delivered for
            maximum retries
            gave up after
            no answer within
            giving up after
        """),
    ),
    ReplyRule(
        Reason.NETWORK, f"{SENDMAIL} {QMAIL}",
        phrases=_lines("""
            connection refused
            connection timed out
            connection timeout
            connection reset
            connection lost
            lost connection
            connection dropped
            operation timed out
            timed out
            network is unreachable
            no route to host
            unable to connect
            wasn't able to establish an smtp connection
            couldn't establish
            could not connect
            unreachable
            no answer from host
            temporary dns
            lookup failed temporarily
            network error
        """),
    ),
    ReplyRule(
        Reason.SYSTEM, f"{GOOGLE} {RFC5321}",
        phrases=_lines("""
            local error in processing
            internal server error
            internal error
            service not available
            temporarily unavailable
            temporary failure
            temporary error
            temporary problem
            system not accepting
            insufficient system
            insufficient resources
            out of memory
            queue file write error
            system error
            try again later
            please try later
            try later
            configuration error
            mailer error
        """),
    ),
    ReplyRule(
        Reason.POLICY, f"{YAHOO} {GOOGLE}",
        phrases=_lines("""
            policy
            security reason
            not accepted for
            administrative prohibition
            administratively prohibited
            prohibited by
            local rule
            access denied
            not authorized
            not authorised
            blocked
        """),
    ),
)  # fmt: skip

# --- status codes ---------------------------------------------------------------------------------------------------
# Those that say something by themselves (RFC 3463 section 3, the IANA registry), whatever their class. A trailing
# "*" stands for any digits.

STATUSES: Final[tuple[tuple[Reason, str, tuple[str, ...]], ...]] = (
    (Reason.NO_MAILBOX, RFC3463, ("1.1", "1.4")),
    (Reason.NO_MAILBOX, f"{IANA} {MICROSOFT}", ("1.10",)),
    (Reason.BAD_DOMAIN, RFC3463, ("1.2",)),
    (Reason.DISABLED, RFC3463, ("1.0", "1.3", "2.1")),
    (Reason.MOVED, RFC3463, ("1.6",)),
    (Reason.SENDER, RFC3463, ("1.7", "1.8")),
    (Reason.RESTRICTED, IANA, ("1.9",)),
    (Reason.FULL, RFC3463, ("2.2",)),
    (Reason.LARGE, RFC3463, ("2.3", "3.4")),
    (Reason.RATE, MICROSOFT, ("2.121", "2.122", "1.90")),
    (Reason.SYSTEM, RFC3463, ("3.1", "3.2", "3.3", "3.5", "2.4")),
    (Reason.NO_HOST, MICROSOFT, ("4.310", "4.312")),
    (Reason.EXPIRED, f"{RFC3463} {MICROSOFT}", ("4.7", "4.300", "4.316", "4.317")),
    (Reason.NETWORK, RFC3463, ("4.1", "4.2", "4.3", "4.5")),
    (Reason.LOOP, f"{RFC3463} {MICROSOFT}", ("4.6", "4.14")),
    (Reason.RATE, f"{RFC3463} {MICROSOFT}", ("5.3",)),
    (Reason.PROTOCOL, RFC3463, ("5.1", "5.2", "5.4", "5.5", "5.6")),
    (Reason.MALFORMED, RFC3463, ("6.1", "6.2", "6.3", "6.4", "6.5", "6.6", "6.7", "6.8", "6.9")),
    (Reason.RESTRICTED, f"{RFC3463} {MICROSOFT}", ("7.2", "7.12*", "7.13*", "7.57")),
    (Reason.POLICY, IANA, ("7.4", "7.5", "7.6", "7.7", "7.10", "7.15", "7.16", "7.30")),
    (Reason.MOVED, "RFC 7293", ("7.17", "7.18")),
    (Reason.AUTHENTICATION, f"RFC 7372 {MICROSOFT}", ("7.20", "7.21", "7.22", "7.23", "7.24", "7.26", "7.29", "7.509",
                                                      "7.515")),
    # 5.7.606 to 649 and 700 to 750 of Microsoft are addresses and tenants that it bans
    (Reason.BLOCKED, f"RFC 7372 {MICROSOFT}", ("7.25", "7.6*", "7.501", "7.502", "7.503", "7.511", "7.512", "7.7*")),
    (Reason.SENDER, "RFC 7505", ("7.27",)),
    (Reason.RATE, f"{IANA} {GOOGLE} {MICROSOFT}", ("7.28", "7.500", "7.504", "7.505", "7.508")),
)  # fmt: skip
