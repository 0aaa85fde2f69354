"""One shaping file as typed data: a provider, its limits, and what its replies mean.

Checked like the configuration: all faults at once, each with line and nearest key. The reference page of the format
(docs/reference/shaping.md) is made from these classes.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from relay.model.outcome import Stage
from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import Address, Duration, Flag, Kind, Name, Number, Share, Text, shown
from relay.schedule.patterns import PATTERN_MAX, PatternError, check

STAGES = tuple(
    stage.value
    for stage in Stage
    if stage not in (Stage.ROUTE, Stage.DNS, Stage.SCAN, Stage.SHAPING, Stage.LOCAL, Stage.CONNECT)
)
DAY = 86400.0
_CODE = re.compile(r"[2-5][0-9x][0-9x]")
_ENHANCED = re.compile(r"[245x](?:\.[0-9]{1,3}){0,2}")
_NAME = re.compile(r"[a-z0-9*?_-]{1,63}(?:\.[a-z0-9*?_-]{1,63})+")
_ACTIONS = (
    "slow",
    "pause",
    "switch",
    "suspend_account",
    "suspend_set",
    "bounce",
    "retry_after",
    "retry",
    "blocklist",
)
_CONDITIONS = ("code", "enhanced", "stage", "text")


def _several(value: Any) -> Any:
    """Read one value as a list of one."""
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def parse_code(value: Any) -> str:
    """Return a reply code or a class of them."""
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not _CODE.fullmatch(text) or "x" in text.rstrip("x"):
        raise ValueError(f"must be a reply code such as 421, 45x or 4xx, not {shown(value)}")
    return text


def parse_enhanced(value: Any) -> str:
    """Return the beginning of an enhanced code."""
    text = str(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""
    if not _ENHANCED.fullmatch(text):
        raise ValueError(
            f"must be the beginning of an enhanced code such as 4.7.28, 4.7 or x.7.1, not {shown(value)}"
        )
    return text


def parse_pattern(value: Any) -> str:
    """Return a pattern for the text of a reply."""
    if not isinstance(value, str):
        raise ValueError(f"must be a pattern in quotes, not {shown(value)}")  # noqa: TRY004 (pydantic's way)
    try:
        check(value)
    except PatternError as error:
        raise ValueError(f"{error}: {shown(value)}") from None
    return value


def parse_name(value: Any) -> str:
    """Return a pattern for host or domain names."""
    text = value.lower().rstrip(".") if isinstance(value, str) else ""
    if not _NAME.fullmatch(text) or re.search(r"[*?]", text.rpartition(".")[2]):
        raise ValueError(
            f"must be a name such as mx.example.com, *.example.com or mx*.example.com, not {shown(value)}"
        )
    return text


Code = Annotated[str, BeforeValidator(parse_code), Kind("reply code, or a class such as 4xx")]
Enhanced = Annotated[str, BeforeValidator(parse_enhanced), Kind("beginning of an enhanced code")]
Pattern = Annotated[str, BeforeValidator(parse_pattern), Field(max_length=PATTERN_MAX), Kind("pattern")]
NamePattern = Annotated[str, BeforeValidator(parse_name), Kind("name pattern")]
Example = Annotated[str, Field(strict=True, max_length=1000, min_length=3), Kind("reply")]
Codes = Annotated[tuple[Code, ...], BeforeValidator(_several)]
EnhancedCodes = Annotated[tuple[Enhanced, ...], BeforeValidator(_several)]
StageName = Literal["greeting", "ehlo", "tls", "auth", "mail", "rcpt", "data", "final dot"]
Stages = Annotated[tuple[StageName, ...], BeforeValidator(_several)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_several)]
Sources = Annotated[tuple[Text, ...], BeforeValidator(_several)]


class ShapingMatch(Section):
    """Which destinations are this provider."""

    hosts: tuple[NamePattern, ...] = setting(
        (), "Mail exchangers: a name, `*.name` for all below it, or wildcards in the first labels.", max_length=1000
    )
    domains: tuple[NamePattern, ...] = setting(
        (),
        "Recipient domains, for those whose mail exchangers do not tell; they go before `hosts`.",
        max_length=10_000,
    )
    routes: tuple[NamePattern, ...] = setting(
        (), "Smart hosts of routes; a smart host that fits `hosts` only counts too.", max_length=1000
    )


class ShapingLimits(Section):
    """How much the provider bears from one of our addresses, over all workers. What is left out has no limit here."""

    connections: Number | None = setting(None, "Connections at a time.", ge=1, le=10_000)
    connections_start: Number | None = setting(
        None, "Connections that a worker begins with; more come with success.", ge=1, le=10_000
    )
    connections_per_minute: Number | None = setting(None, "New connections a minute.", ge=1, le=1_000_000)
    messages_per_minute: Number | None = setting(None, "Messages a minute.", ge=1, le=10_000_000)
    messages_per_connection: Number | None = setting(
        None, "Messages after which a connection is closed.", ge=1, le=1_000_000
    )
    recipients: Number | None = setting(
        None,
        "Recipients of one transaction, where a route with `return_path: original` sends several.",
        ge=1,
        le=1000,
    )


class ShapingException(Section):
    """Other limits from one source address or one pool of ours."""

    source: Address | None = setting(None, "The source address.")
    pool: Name | None = setting(None, "The pool; limits of an address go before those of its pool.")
    limits: ShapingLimits = setting({}, "What is different from there.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "ShapingException":
        if (self.source is None) == (self.pool is None):
            raise ValueError("needs either `source` or `pool`")
        return self


class ShapingSlow(Section):
    """Going on with less."""

    to: Share = setting(REQUIRED, "The share of connections and rates that is left, from 1% on.", ge=0.01)
    lasts: Duration = setting("30m", "How long; afterwards it rises again step by step.", ge=1.0, le=7 * DAY)


class ShapingResponse(Section):
    """One rule about replies. All conditions that are given must hold; the first rule that fits decides."""

    name: Name = setting(REQUIRED, "What it is called in traces, logs and commands.")
    about: Text = setting("", "What the reply means, for whoever reads the rules.")
    source: Sources = setting((), "Where the provider documents the reply.", max_length=20)
    code: Codes = setting((), "Reply codes.", max_length=50)
    enhanced: EnhancedCodes = setting((), "Enhanced codes; `4.7` fits all that begin so, `x.7.1` any class.")
    stage: Stages = setting((), "Where in the dialogue the reply came.")
    text: Patterns = setting((), "Patterns of which one must stand in the text.", max_length=50)
    slow: ShapingSlow | None = setting(None, "Go on with a share of connections and rates.")
    pause: Duration | None = setting(
        None, "Send nothing from this address to the provider for so long.", ge=1.0, le=7 * DAY
    )
    switch: Duration | None = setting(
        None, "Pass this source address over at the provider for so long; others of the pool go on.", ge=1, le=7 * DAY
    )
    suspend_account: Duration | None = setting(
        None, "Send nothing of the account to the provider for so long.", ge=1.0, le=7 * DAY
    )
    suspend_set: Duration | None = setting(
        None, "Send nothing of the account's configuration set to the provider for so long.", ge=1.0, le=7 * DAY
    )
    bounce: Flag = setting(False, "The delivery fails for good, though the reply is temporary.")
    retry_after: Duration | None = setting(
        None, "The delivery is not tried again before that.", ge=1.0, le=DAY, shown="what the reply asks for"
    )
    retry: Number = setting(
        0,
        "Up to how many attempts a delivery is tried again though the reply is permanent, because it is about the "
        "source address and not about the recipient.",
        ge=0,
        le=20,
    )
    blocklist: Text = setting("", "The DNS block list that the reply means, where its text does not name it.")
    examples: tuple[Example, ...] = setting(
        (), "Replies that this rule decides about; one that it does not is a fault of the file.", max_length=20
    )

    @model_validator(mode="after")
    def _says_something(self) -> "ShapingResponse":
        if not any(getattr(self, name) for name in _CONDITIONS):
            raise ValueError(f"needs a condition: {', '.join(_CONDITIONS)}")
        if not any(getattr(self, name) for name in _ACTIONS):
            raise ValueError(f"does nothing; it needs one of {', '.join(_ACTIONS)}")
        if self.bounce and (self.retry or self.retry_after):
            raise ValueError("cannot bounce a delivery and try it again")
        return self


class ShapingFile(Section):
    """What is known of one provider."""

    name: Name = setting(
        REQUIRED,
        "The provider; a file of your own takes the place of the one that is shipped under the same name. The name "
        "`default` is for everybody: its limits where a provider gives none, its responses after the provider's own.",
    )
    about: Text = setting("", "Who that is.")
    source: Sources = setting((), "Where the provider documents its limits.", max_length=20)
    extend: Flag = setting(
        False,
        "Keeps the shipped rules of the same name: limits given here replace single ones, names are added, and "
        "responses come before the shipped ones.",
    )
    match: ShapingMatch = setting({}, "Which destinations are this provider.")
    rollup: Flag = setting(
        True, "All destinations of the provider share their limits; `false`: each set of mail exchangers has its own."
    )
    limits: ShapingLimits = setting({}, "How much the provider bears.")
    exceptions: tuple[ShapingException, ...] = setting(
        (), "Other limits from some of our addresses.", max_length=1000
    )
    responses: tuple[ShapingResponse, ...] = setting((), "What replies mean, in order.", max_length=500)
