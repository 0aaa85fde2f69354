"""How long a temporary reply asks us to wait: greylisting and rate limits that name a time. Pure.

Only a time close behind a word that asks for another try is believed, so that "100 messages in 60 minutes" is none.
What a remote asks for is bounded: it may not park mail for longer than `HINT_SECONDS_MAX`.
"""

import re
from typing import Final

HINT_SECONDS_MAX: Final = 4 * 3600.0
_TEXT_MAX: Final = 1000
# Bounded everywhere, so that no text is slow: at most 30 characters between the word and the number.
_HINT = re.compile(
    r"(?:again|retry|retried|resend|reconnect|come back|wait|gr[ae]y-?list(?:ed|ing)?)\b[^0-9]{0,30}"
    r"([0-9]{1,6})\s?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b",
    re.IGNORECASE,
)
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def wait_asked_for(text: str) -> float:
    """Return the seconds after which a temporary reply wants to be asked again, 0.0 when it names none."""
    found = _HINT.search(text[:_TEXT_MAX])
    if found is None:
        return 0.0
    return min(int(found[1]) * _SECONDS[found[2][0].lower()], HINT_SECONDS_MAX)
