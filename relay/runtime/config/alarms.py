"""Settings of alarms and of the SNDS feed."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from relay.runtime.config.publishing import WebUrl
from relay.runtime.config.section import Section, setting
from relay.runtime.config.values import Duration, FilePath, Flag


class AlarmSettings(Section):
    """Alarms of accounts on what is measured (`relay alarm`)."""

    every: Duration = setting("1m", "How long after one look at all alarms the next begins.", ge=0.1, le=3600.0)


class Snds(Section):
    """Microsoft's daily figures about the relay's own addresses (SNDS, automated data access)."""

    url: WebUrl | None = setting(
        None,
        "Where the data is, `https://` with everything but the key, such as "
        "`https://sendersupport.olc.protection.outlook.com/snds/data.aspx`. Without it nothing is read.",
        shown="none",
    )
    key_file: FilePath | None = setting(
        None, "A file with the key of the access in its first line, mode 0600.", shown="none"
    )
    every: Duration = setting("1d", "How long after the data was read it is read again.", ge=0.1, le=30 * 86400.0)
    timeout: Duration = setting("60s", "How long one try may take.", ge=0.1, le=280.0)
    again: Duration = setting("1h", "How long after a try that failed the next begins.", ge=0.1, le=86400.0)
    allow_private: Flag = setting(False, "Whether the host may have a private or loopback address.")
    ca_file: FilePath | None = setting(None, "Certificates that are trusted beside those of the system.")


def snds_faults(snds: Snds) -> Iterator[tuple[str, str]]:
    """Yield what contradicts itself in the settings of SNDS, by key."""
    if snds.url is None:
        return
    parts = urlsplit(snds.url)
    if parts.scheme != "https" or not parts.hostname:
        yield "url", "must begin with https://: the key is in each request"
    if "key" in parse_qs(parts.query):
        yield "url", "has the key in it; write that into a file and name it as `key_file`"
    if not snds.key_file:
        yield "key_file", "is needed beside `url`: the data is given out for a key only"
