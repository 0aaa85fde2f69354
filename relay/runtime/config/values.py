"""The kinds of value a setting can have, each with its notation and its errors.

Every kind is an annotated type; `Kind` in its metadata is what the reference page calls it. Notations: durations
are numbers with a unit (`5s`, `1m`, `14h`, `30d`, `1h30m`) and become seconds; sizes are bytes or have a unit
(`40MB`, counted in 1024) and become bytes. Validators raise ValueError with the half sentence that follows the key.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from relay.policy.weburl import parse_base_url

BASE = "base"  # validation context: the directory relative paths start from

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIZE = re.compile(r"(\d+)\s?(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)", re.IGNORECASE)
_SIZE_POWER = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_ACCOUNT = re.compile(r"\d{12}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN_OCTETS_MAX = 253  # RFC 1035 section 2.3.4, without the length octets
PERCENT_MAX = 100.0
_PORT_MAX = 65535
_TEXT_MAX = 60  # a number of more digits is a slip of the keyboard


@dataclass(frozen=True, slots=True)
class Kind:
    """What the reference page calls a type."""

    name: str


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host (name in A-label form or address without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the notation it was read from."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_duration(value: Any) -> float:
    """Return seconds. A number needs its unit, so that nobody has to guess it."""
    text = str(value).strip() if isinstance(value, (int, float, str)) else ""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError(f"has no unit; write {text}s, {text}m, {text}h or {text}d")
    if len(text) > _TEXT_MAX or not _DURATION.fullmatch(text):
        raise ValueError(f"must be a duration such as 30s, 5m, 14h or 30d, not {shown(value)}")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def format_duration(seconds: float) -> str:
    """Return the shortest notation of a duration in whole units."""
    for unit, length in _SECONDS.items():
        if seconds >= length and seconds % length == 0:
            return f"{round(seconds / length)}{unit}"
    return f"{seconds:g}s"


def parse_share(value: Any) -> float:
    """Return a share from 0 to 1 of a percentage such as `5%` or `0.1%`."""
    text = value[:-1].strip() if isinstance(value, str) and value.endswith("%") else ""
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= PERCENT_MAX:
        raise ValueError(f"must be a percentage from 0% to 100% such as 5% or 0.1%, not {shown(value)}")
    return percent / PERCENT_MAX


def parse_size(value: Any) -> int:
    """Return bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= _TEXT_MAX else None
    if match is None:
        raise ValueError(f"must be a size in bytes, or with a unit such as 500KB, 40MB or 2GB, not {shown(value)}")
    return int(match[1]) << (10 * _SIZE_POWER[match[2][0].lower()])


def parse_domain(value: Any) -> str:
    """Return a domain name in A-label form, lower case, without a final dot."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a domain name such as relay.example, not {shown(value)}")
    name = value.strip().rstrip(".").lower()
    if not name.isascii():
        raise ValueError(f"must be written in its ASCII form (xn--...), not {shown(value)}")
    labels = name.split(".")
    if len(name) > _DOMAIN_OCTETS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"must be a domain name such as relay.example, not {shown(value)}")
    if labels[-1].isdigit():
        raise ValueError(f"must be a name, not an address ({shown(value)})")
    return name


def parse_hostname(value: Any) -> str:
    """Return a host name: a domain name without underscores (RFC 5321 section 4.1.2)."""
    name = parse_domain(value)
    if "_" in name:
        raise ValueError("must not contain an underscore: other mail servers refuse such a name")
    return name


def parse_domain_pattern(value: Any) -> str:
    """Return `*`, `*.domain` (every name below it), or a domain."""
    if value == "*":
        return "*"
    if isinstance(value, str) and value.startswith("*.") and value[2:].strip("."):
        return "*." + parse_domain(value[2:])
    if isinstance(value, str) and "*" in value:
        raise ValueError(f"takes * only alone or as the first label (*.example), not {shown(value)}")
    return parse_domain(value)


def parse_address(value: Any) -> str:
    """Return an IP address in its canonical form."""
    try:
        return str(ipaddress.ip_address(str(value).strip("[]")))
    except ValueError:
        hint = " (localhost is 127.0.0.1 or ::1)" if value == "localhost" else ""
        raise ValueError(f"must be an IPv4 or IPv6 address, not {shown(value)}{hint}") from None


def parse_network(value: Any) -> str:
    """Return a network in CIDR form; an address alone is a network of one."""
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError as error:
        reason = "; clear the bits after the prefix" if "host bits" in str(error) else ""
        raise ValueError(f"must be a network such as 10.0.0.0/8, not {shown(value)}{reason}") from None


def _split_port(text: str, default_port: int) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?", text)
    plain = re.fullmatch(r"([^:\[\]]+)(?::(\d{1,9}))?", text)
    match = bracketed or plain
    if match is None:
        return text, default_port  # a bare IPv6 address, or nonsense that the caller refuses
    return match[1], int(match[2]) if match[2] else default_port


def parse_nameserver(value: Any) -> HostPort:
    """Return the address and port of a name server; the port defaults to 53."""
    if isinstance(value, HostPort):
        return value
    host, port = _split_port(str(value), 53)
    if not 1 <= port <= _PORT_MAX:
        raise ValueError(f"has a port that does not exist: {shown(value)}")
    try:
        return HostPort(parse_address(host), port)
    except ValueError:
        raise ValueError(f"must be an IPv4 or IPv6 address, or address:port, not {shown(value)}") from None


def parse_smarthost(value: Any, *, default_port: int = 25) -> HostPort:
    """Return a next hop, by name or address."""
    if isinstance(value, HostPort):
        return value
    host, port = _split_port(value.strip() if isinstance(value, str) else "", default_port)
    if not 1 <= port <= _PORT_MAX:
        raise ValueError(f"has a port that does not exist: {shown(value)}")
    if ":" in host or re.fullmatch(r"[\d.]+", host):
        try:
            return HostPort(parse_address(host), port)
        except ValueError:
            text = f"must be a name or an address, with a port or without (10.0.0.5:25), not {shown(value)}"
            raise ValueError(text) from None
    return HostPort(parse_domain(host), port)


def parse_account(value: Any) -> str:
    """Return an account id, 12 digits."""
    text = f"{value:012d}" if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value
    if not isinstance(text, str) or not _ACCOUNT.fullmatch(text):
        raise ValueError(f'must be an account of 12 digits in quotes, such as "000000000001", not {shown(value)}')
    return text


def parse_mailbox(value: Any) -> str:
    """Return a plain address, local-part@domain, with the local part's case kept."""
    local, at, domain = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    if not at or len(local) > 64 or not _LOCAL_PART.fullmatch(local):  # noqa: PLR2004  RFC 5321 section 4.5.3.1.1
        raise ValueError(f"must be a mail address such as postmaster@relay.example, not {shown(value)}")
    return f"{local}@{parse_domain(domain)}"


def parse_path(value: Any, info: ValidationInfo) -> Path:
    """Return a path; a relative one starts from the directory of the configuration file."""
    path = parse_relative_path(value)
    base = (info.context or {}).get(BASE)
    return Path(base) / path if base is not None else path


def parse_relative_path(value: Any) -> Path:
    """Return a path as written."""
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise ValueError(f"must be a path, not {shown(value)}")
    return Path(value)


def _plain_type(value: Any) -> type:
    return next((kind for kind in (dict, list) if isinstance(value, kind)), type(value))


def shown(value: Any) -> str:
    """Return a value as an error shows it: quoted, escaped, and never long."""
    if isinstance(value, (str, int, float)):
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    else:
        text = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(_plain_type(value), "another value")
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 3] + "..."


Duration = Annotated[float, BeforeValidator(parse_duration), Kind("duration")]
Share = Annotated[float, BeforeValidator(parse_share), Kind("percentage")]
Size = Annotated[int, BeforeValidator(parse_size), Kind("size")]
Number = Annotated[int, Field(strict=True), Kind("number")]
Flag = Annotated[bool, Field(strict=True), Kind("true or false")]
Port = Annotated[int, Field(strict=True, ge=0, le=_PORT_MAX), Kind("port")]
OpenPort = Annotated[int, Field(strict=True, ge=1, le=_PORT_MAX), Kind("port")]
Text = Annotated[str, Field(strict=True, max_length=1000), Kind("text")]
Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), Kind("name")]
Hostname = Annotated[str, BeforeValidator(parse_hostname), Kind("host name")]
Domain = Annotated[str, BeforeValidator(parse_domain), Kind("domain")]
DomainPattern = Annotated[str, BeforeValidator(parse_domain_pattern), Kind("domain pattern")]
Address = Annotated[str, BeforeValidator(parse_address), Kind("IP address")]
Network = Annotated[str, BeforeValidator(parse_network), Kind("network")]
Nameserver = Annotated[HostPort, BeforeValidator(parse_nameserver), Kind("address:port")]
Smarthost = Annotated[HostPort, BeforeValidator(parse_smarthost), Kind("host:port")]
AccountId = Annotated[str, BeforeValidator(parse_account), Kind("account")]
Mailbox = Annotated[str, BeforeValidator(parse_mailbox), Kind("mail address")]
BaseUrl = Annotated[str, BeforeValidator(parse_base_url), Kind("URL")]
FilePath = Annotated[Path, BeforeValidator(parse_path), Kind("path")]
RelativePath = Annotated[Path, BeforeValidator(parse_relative_path), Kind("path")]
