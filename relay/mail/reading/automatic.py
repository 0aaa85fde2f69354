# ruff: noqa: RUF001 - words of other languages
"""Automatic replies: the marks of RFC 3834, those of vendors, and subjects in several languages."""

import re
from typing import Final

from relay.mail.reading.opened import Fields

# (field, what its value begins with, "" for any; where it is known from)
_MARKS: Final = (
    ("auto-submitted", "auto-replied", "RFC 3834 Auto-Submitted"),
    ("x-autoreply", "", "X-Autoreply"),
    ("x-autoreply-from", "", "X-Autoreply-From"),
    ("x-autorespond", "", "X-Autorespond"),
    ("x-autoresponse", "", "X-Autoresponse"),
    ("x-autoresponder", "", "X-Autoresponder"),
    ("x-auto-reply-from", "", "X-Auto-Reply-From"),
    ("x-mail-autoreply", "", "X-Mail-Autoreply"),
    ("x-mail-autoresponder", "", "X-Mail-Autoresponder"),
    ("precedence", "auto_reply", "Precedence auto_reply"),
    ("precedence", "auto-reply", "Precedence auto-reply"),
    ("delivered-to", "autoresponder", "Delivered-To Autoresponder"),
)
# How the subjects of such replies begin: Outlook and Exchange in their languages, Gmail, Domino and others.
_SUBJECT = re.compile(
    r"\s*\[?(?:auto(?:matic|matische|matisch|mated)?[- :_]?(?:reply|response|replied|respond|answer|antwort|antwoord)"
    r"|auto ?: |out of (?:the )?office|out-of-office|ooo ?:|away from (?:my )?(?:mail|office|the office)"
    r"|on (?:vacation|holiday|leave)\b|vacation (?:reply|response|message|notice)|i am (?:away|out of)"
    r"|abwesenheit|ich bin (?:nicht im|derzeit nicht|abwesend)|automatisch antwoord|afwezig"
    r"|réponse automatique|reponse automatique|absence du bureau|absent du bureau|message d'absence"
    r"|respuesta autom[aá]tica|fuera de (?:la )?oficina|resposta autom[aá]tica|fora do escrit[oó]rio|ausência"
    r"|risposta automatica|fuori (?:sede|ufficio)|odpowiedź automatyczna|autoodpowiedź|poza biurem"
    r"|automatická odpověď|mimo kancelář|autosvar|frånvaro|fraværende|poissa|automaattinen vastaus"
    r"|автоматический ответ|автоответ|нет на работе|otomatik yanıt|ofis dışında"
    r"|自動(?:応答|返信|回覆)|不在(?:通知|の)|自动(?:回复|答复)|自動回覆"
    r"|부재 ?중|자동 ?(?:응답|회신))",
    re.IGNORECASE,
)


def automatic_rule(fields: Fields) -> str:
    """Say which mark of an automatic reply a message bears, "" for none (RFC 3834 section 5).

    What was generated without a message to answer (`auto-generated`) is one only with such a subject.
    """
    if fields.has("list-id", "list-post", "x-cron-env"):
        return ""
    for name, start, rule in _MARKS:
        if any(value.lower().startswith(start) for value in fields.all(name)):
            return rule
    return "subject of an automatic reply" if _SUBJECT.match(fields.subject) else ""
