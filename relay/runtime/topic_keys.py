"""The keys that notifications are signed with, and their certificates, below `keys/topics/` (TOPIC-112, TOPIC-113).

    authority.pem, authority.key   the relay's own authority, made once
    HEX.pem                        a certificate; workers serve it under this name
    current.key                    the private key of the certificate that signs; it is replaced, never kept
    state.json                     which certificate signs, since when, and when others stopped

Changes are made under a lock and each file is replaced whole, `state.json` last: whoever dies in between leaves the
old state, with a key that is made anew. An old certificate is served for 30 days after it signed last.
"""

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from relay.errors import ConfigurationError, StorageError
from relay.events.envelope import certificate_url
from relay.ports.topics import UNSIGNED, Signature
from relay.runtime.config.model import Config
from relay.runtime.directories import locked
from relay.signing.notification import sign
from relay.signing.topic_certificate import Signer, key_pem, new_authority, new_certificate, signer_of
from relay.store.synced import sync_path

SERVED_MS: Final = 30 * 24 * 3600 * 1000
FILE_MAX_BYTES: Final = 1 << 20
REMEDY: Final = "restore keys/topics/ from your backup, or remove it: a new certificate signs then."
_NAME = re.compile(r"[0-9a-f]{32}\Z")
_OWN: Final = "own"
_CONFIGURED: Final = "configured"


@dataclass(frozen=True, slots=True)
class KeyState:
    """Which certificate signs, where it came from, since when; and when others stopped."""

    current: str = ""
    origin: str = ""
    since_ms: int = 0
    retired: Mapping[str, int] = field(default_factory=dict)


class TopicKeys:
    """Keeps keys and certificates in files. Calls raise ConfigurationError or StorageError."""

    def __init__(self, data_dir: Path, hostname: str) -> None:
        self.directory = data_dir / "keys" / "topics"
        self._hostname = hostname

    def state(self) -> KeyState:
        """Return what signs now; an empty state before the first start."""
        try:
            read = json.loads(self._read("state.json"))
            retired = {str(name): int(ms) for name, ms in read["retired"].items()}
            return KeyState(str(read["current"]), str(read["origin"]), int(read["since_ms"]), retired)
        except FileNotFoundError:
            return KeyState()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageError(f"{self._file('state.json')} is damaged; {REMEDY}") from error

    def signer(self, config: Config, now_ms: int) -> Signer:
        """Return the signer of now, made, taken from the configuration or renewed where that is due.

        What is not served any more is removed.
        """
        with self._changing():
            state = self.state()
            if config.topics.certificate is not None:
                signer = self._configured(config)
                if signer.name != state.current:
                    state = self._install(signer, _CONFIGURED, state, now_ms, keep_key=False)
            elif (
                state.origin != _OWN or self._is_old(state, config, now_ms) or not self._file("current.key").exists()
            ):
                signer = self._new(now_ms)
                state = self._install(signer, _OWN, state, now_ms, keep_key=True)
            else:
                certificate = self._read(f"{state.current}.pem")
                try:
                    signer = signer_of(certificate, self._read("current.key"), str(self.directory))
                except ConfigurationError:  # a crash came between the new key and the state
                    signer = self._new(now_ms)
                    state = self._install(signer, _OWN, state, now_ms, keep_key=True)
            self._forget_old(state, now_ms)
            return signer

    def check(self, config: Config) -> str:
        """Return the name of the certificate that signs, "" before the first start, and change nothing."""
        state = self.state()
        if config.topics.certificate is not None:
            return self._configured(config).name
        if self._file("authority.key").exists():
            self._authority()
        return state.current

    def rotate(self, now_ms: int) -> Signer:
        """Make a new key and certificate now. Raise ConfigurationError where the configuration names one."""
        with self._changing():
            state = self.state()
            if state.origin == _CONFIGURED:
                raise ConfigurationError("`topics.certificate` is set: put a new certificate into that file instead.")
            signer = self._new(now_ms)
            self._install(signer, _OWN, state, now_ms, keep_key=True)
            return signer

    def certificate(self, name: str) -> bytes | None:
        """Return a certificate by its HEX, None when there is none (any more)."""
        if not _NAME.match(name):
            return None
        try:
            return self._read(f"{name}.pem")
        except FileNotFoundError:
            return None

    def authority(self) -> bytes | None:
        """Return the certificate of the relay's own authority, None before the first start."""
        try:
            return self._read("authority.pem")
        except FileNotFoundError:
            return None

    # --- files -------------------------------------------------------------------------------------------------

    def _new(self, now_ms: int) -> Signer:
        if not self._file("authority.key").exists() or not self._file("authority.pem").exists():
            certificate, key = new_authority(self._hostname, now_ms)
            self._write("authority.key", key, 0o600)
            self._write("authority.pem", certificate, 0o644)
        authority = self._authority()
        return new_certificate(self._hostname, authority.certificate, key_pem(authority.key), now_ms)

    def _authority(self) -> Signer:
        """Return the relay's own authority. Raise StorageError when its files are damaged."""
        try:
            return signer_of(self._read("authority.pem"), self._read("authority.key"), "the authority of topics")
        except (ConfigurationError, FileNotFoundError) as error:
            damaged = self._file("authority.key")
            raise StorageError(f"{damaged}, or its certificate beside it, is damaged; {REMEDY}") from error

    def _configured(self, config: Config) -> Signer:
        assert config.topics.certificate is not None
        assert config.topics.key is not None
        try:
            certificate, key = config.topics.certificate.read_bytes(), config.topics.key.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"topics: {error.filename} cannot be read: {error.strerror}.") from error
        return signer_of(certificate, key, "topics.certificate and topics.key")

    def _install(self, signer: Signer, origin: str, old: KeyState, now_ms: int, *, keep_key: bool) -> KeyState:
        """Let a signer be the one that signs."""
        retired = {name: ms for name, ms in old.retired.items() if name != signer.name}
        if old.current and old.current != signer.name:
            retired[old.current] = now_ms
        self._write(f"{signer.name}.pem", signer.certificate, 0o644)
        if keep_key:
            self._write("current.key", key_pem(signer.key), 0o600)
        else:
            self._file("current.key").unlink(missing_ok=True)
        state = KeyState(signer.name, origin, now_ms, retired)
        self._write_state(state)
        return state

    def _forget_old(self, state: KeyState, now_ms: int) -> None:
        over = [name for name, ms in state.retired.items() if ms + SERVED_MS <= now_ms]
        if not over:
            return
        kept = {name: ms for name, ms in state.retired.items() if name not in over}
        self._write_state(KeyState(state.current, state.origin, state.since_ms, kept))
        for name in over:
            self._file(f"{name}.pem").unlink(missing_ok=True)

    @staticmethod
    def _is_old(state: KeyState, config: Config, now_ms: int) -> bool:
        return state.since_ms + config.topics.certificate_rotation * 1000 <= now_ms

    def _write_state(self, state: KeyState) -> None:
        fields = {"current": state.current, "origin": state.origin, "since_ms": state.since_ms}
        self._write("state.json", json.dumps({**fields, "retired": dict(state.retired)}).encode(), 0o600)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock under which files are changed; faults of the disk come out as StorageError."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self.directory):
                yield
        except OSError as error:
            raise StorageError(f"{self.directory} cannot be used: {error.strerror}.") from error

    def _file(self, name: str) -> Path:
        return self.directory / name

    def _read(self, name: str) -> bytes:
        """Return a file. Raise FileNotFoundError when it is not there, StorageError when it cannot be read."""
        try:
            with self._file(name).open("rb") as stream:
                return stream.read(FILE_MAX_BYTES)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"{self._file(name)} cannot be read: {error.strerror}.") from error

    def _write(self, name: str, content: bytes, mode: int) -> None:
        """Replace a file whole, synced."""
        path, fresh = self._file(name), self._file(f"{name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - the descriptor was opened with flags of its own
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
        sync_path(self.directory)


class KeptSigner:
    """Signs with the signer of now (port `TopicSigner`), from any thread, once it was given one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signer: Signer | None = None
        self._url = ""

    @property
    def name(self) -> str:
        """The name of the certificate that signs, "" before there is one."""
        return self._signer.name if self._signer is not None else ""

    def replace(self, signer: Signer, url: str) -> None:
        """Sign with another key from now on."""
        with self._lock:
            self._signer, self._url = signer, url

    def sign(self, version: str, fields: Mapping[str, str]) -> Signature:
        """Sign a body; UNSIGNED before there is a key."""
        with self._lock:
            signer, url = self._signer, self._url
        if signer is None:
            return UNSIGNED
        return Signature(sign(signer.key, version, fields), version, certificate_url(url, signer.name))
