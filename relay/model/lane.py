"""Where mail leaves from, and the lane it takes: one source address to one destination."""

from relay.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """An address of ours that mail leaves from.

    `address` is "" for whatever the system chooses; `helo_name` is its name in EHLO, "" for the relay's; `pool` the
    pool it was chosen from.
    """

    address: str = ""
    helo_name: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """What limits are kept for: a source address, and a destination by the name of its provider or of its hosts."""

    source: str
    destination: str

    def __str__(self) -> str:
        """Return both, for logs and as a key between processes."""
        return f"{self.source or 'default'} {self.destination}"
