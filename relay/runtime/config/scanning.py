"""Settings of what looks into messages: scanners for viruses and spam."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from relay.runtime.config.contents import DEFAULT_EXTENSIONS, Extension
from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import Duration, FilePath, Kind, parse_smarthost, shown

CLAMD_PORT = 3310
DEFAULTS: dict[str, dict[str, str]] = {
    "clamav": {"address": f"127.0.0.1:{CLAMD_PORT}", "on_error": "defer"},
    "rspamd": {"url": "http://127.0.0.1:11333", "on_error": "accept"},
}


def parse_socket(value: Any) -> str:
    """Return the absolute path of a socket, or host:port; the port defaults to clamd's."""
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith("/"):
        if "\0" in text:
            raise ValueError("must be a path without NUL")
        return str(Path(text))
    if not text:
        raise ValueError(f"must be host:port or the path of a socket, not {shown(value)}")
    has_port = re.search(r"(?:\]|^[^:]+):\d+$", text)
    host = text if has_port or text.endswith("]") or ":" not in text else f"[{text}]"
    return str(parse_smarthost(host if has_port else f"{host}:{CLAMD_PORT}"))


def parse_url(value: Any) -> str:
    """Return the URL of a server without a final slash."""
    try:
        parts = urlsplit(value.strip() if isinstance(value, str) else "")
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError(f"must be a URL such as http://127.0.0.1:11333, not {shown(value)}")
    if parts.username or parts.password:
        raise ValueError("must not hold a password; use `password` or `password_file`")
    return parts.geturl().rstrip("/")


class Scanner(Section):
    """A program that looks into messages before their first delivery attempt."""

    type: Literal["clamav", "rspamd"] = setting(
        REQUIRED, "`clamav`: clamd, for viruses. `rspamd`: a spam score, which is kept with the message."
    )
    address: Annotated[str, BeforeValidator(parse_socket), Kind("host:port or path")] | None = setting(
        None, "Where clamd listens: a host and port, or the path of its socket.", shown="127.0.0.1:3310 for clamav"
    )
    url: Annotated[str, BeforeValidator(parse_url), Kind("URL")] | None = setting(
        None, "Where a normal worker of rspamd listens.", shown="http://127.0.0.1:11333 for rspamd"
    )
    password: SecretStr = setting(SecretStr(""), "The password of rspamd; a file keeps it out of this one.")
    password_file: FilePath | None = setting(None, "A file with the password in its first line, mode 0600.")
    timeout: Duration = setting("60s", "How long one scan may take, from the connection on.", ge=0.05, le=3600.0)
    on_error: Literal["accept", "defer"] = setting(
        "defer",
        "What happens while the scanner is down, slow or unintelligible. `defer`: the message waits and is scanned "
        "again by the schedule of `delivery.retry`, and is never delivered unscanned. `accept`: it is delivered, "
        "with a line in the log and a count.",
        shown="defer for clamav, accept for rspamd",
    )
    reject_score: Annotated[float, Field(ge=-1000.0, le=1e6), Kind("number")] | None = setting(
        None, "The spam score from which on rspamd's word rejects a message.", shown="none, nothing is rejected"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_type(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kind = data.get("type")
        defaults = DEFAULTS.get(kind, {}) if isinstance(kind, str) else {}
        return {**defaults, **{key: value for key, value in data.items() if value is not None}}


class Content(Section):
    """What is looked for in messages."""

    refused_extensions: tuple[Extension, ...] = setting(
        DEFAULT_EXTENSIONS,
        "File name extensions of attachments that are refused, with or without the dot. `exe`, `lnk`, `chm`, `hlp` "
        "and `hta` also refuse such content under another name. An empty list accepts everything.",
        shown="the 90 extensions that SES refuses",
        max_length=1000,
    )
    scanners: tuple[Scanner, ...] = setting(
        (),
        "Scanners that each message passes, in this order, after it was accepted and before its first delivery "
        "attempt.",
        max_length=10,
    )
