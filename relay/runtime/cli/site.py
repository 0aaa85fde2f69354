"""The relay a command is about: its configuration, its user, its catalog.

A command reads the files its user named first, then calls `open_site`, which becomes `run_as` when root started
it: what is opened below the data directory afterwards has the owner that the running relay expects.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relay.errors import ConfigurationError

if TYPE_CHECKING:
    from relay.runtime.config.load import Loaded
    from relay.runtime.config.model import Config
    from relay.store.catalog import Catalog

KEY_FILE_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Site:
    """One configured relay."""

    loaded: "Loaded"

    @property
    def config(self) -> "Config":
        """Its configuration."""
        return self.loaded.config

    @property
    def data_dir(self) -> Path:
        """Its data directory."""
        return self.loaded.config.data_dir

    @property
    def key_file(self) -> Path:
        """Where its master key is kept."""
        return self.data_dir / "keys" / "master.key"

    @contextlib.contextmanager
    def catalog(self) -> Iterator["Catalog"]:
        """Open the catalog for the block."""
        from relay.store.catalog import open_existing_catalog  # noqa: PLC0415

        zone = self.config.dkim.zone or ""
        hostname = self.config.hostname
        with open_existing_catalog(self.data_dir, self.master_key(), dkim_zone=zone, hostname=hostname) as catalog:
            yield catalog

    def audit(self, operation: str, account: str, parameters: "Mapping[str, object]") -> None:
        """Write what was changed into the audit log. Raise StorageError: the change is made all the same."""
        from relay.runtime.audit import record  # noqa: PLC0415

        record(self.data_dir, operation, account, parameters)

    def master_key(self) -> bytes:
        """Return the master key. ConfigurationError when there is none, or this user may not read it."""
        from relay.signing.secrets import decode_master_key  # noqa: PLC0415

        try:
            with self.key_file.open("rb") as stream:
                return decode_master_key(stream.read(KEY_FILE_MAX_BYTES), self.key_file)
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"There is no master key at {self.key_file}: this relay was never set up. Run `relay init DIR`, or "
                "restore keys/ from your backup."
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"{self.key_file} cannot be read: {error.strerror}. Run this command as the user of the relay, or as "
                "root."
            ) from error


def read_site(config: Path | None) -> Site:
    """Load the configuration that a command is to use; the rights of the process stay as they are."""
    from relay.runtime.config.load import find_file, load  # noqa: PLC0415

    return Site(load(find_file(config, os.environ)))


def open_site(config: Path | None) -> Site:
    """Load the configuration and become its `run_as` when root runs the command."""
    site = read_site(config)
    become_run_as(site)
    return site


def become_run_as(site: Site) -> None:
    """Become the configured user for good, when we are root and one is configured."""
    run_as = site.config.run_as
    if run_as is None or os.geteuid() != 0:
        return
    from relay.runtime import audit, privileges  # noqa: PLC0415

    del audit  # it notes who we are before we become somebody else
    user = privileges.find_user(run_as.user, run_as.group)
    with privileges.acting_as(user):
        _require_readable_program(run_as.user)
    privileges.drop(user)


def _require_readable_program(user: str) -> None:
    """Raise ConfigurationError when a user may not read this program: it would fail at its next import."""
    for file in (__file__, os.__file__):
        try:
            Path(file).open("rb").close()
        except OSError as error:
            raise ConfigurationError(
                f"run_as names {user}, who may not read the program itself ({file}). Install it where every user may "
                "read it, such as /opt/relay."
            ) from error
