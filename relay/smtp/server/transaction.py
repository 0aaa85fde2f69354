"""What a session has of one mail transaction: its envelope, and of its text what has arrived.

A text begins with DATA or the first BDAT (`data_begins`, `chunk_begins`) and is in the intake's hands once `given`.
"""

from relay.smtp.server.chunks import Bdat, ChunkStage, SkipStage
from relay.smtp.server.content import Gathering
from relay.smtp.server.data import DataStage
from relay.smtp.server.door import SessionDoor
from relay.smtp.server.envelope import Envelope
from relay.smtp.server.policy import SessionPolicy

Stage = DataStage | ChunkStage | SkipStage


class Transaction:
    """One a session, used for one transaction after the other. `stage` takes what arrives while it is no command."""

    __slots__ = ("_door", "_policy", "chunks", "envelope", "gathering", "given", "stage")

    def __init__(self, policy: SessionPolicy, door: SessionDoor) -> None:
        self._policy = policy
        self._door = door
        self.envelope: Envelope | None = None
        self.gathering: Gathering | None = None
        self.chunks: ChunkStage | None = None
        self.stage: Stage | None = None
        self.given = False

    def data_begins(self) -> None:
        """Take text up to the final dot."""
        self.stage = DataStage(self._gather())

    def chunk_begins(self, command: Bdat) -> None:
        """Take the octets of a chunk."""
        if self.chunks is None:
            self.chunks = ChunkStage(self._gather())
        self.chunks.begin(command, self._policy.message_size_max)
        self.stage = self.chunks

    def _gather(self) -> Gathering:
        policy = self._policy
        self.gathering = Gathering(policy.message_size_max, policy.head_size_max, self._door.open_sink)
        return self.gathering

    def drop(self) -> None:
        """Forget the transaction."""
        self.envelope = None
        if self.gathering is not None:
            self.drop_text()

    def drop_text(self) -> None:
        """Drop what has arrived of the text."""
        if self.gathering is not None:
            self.gathering.abort()
            self.gathering = None
        self.stage = self.chunks = None
