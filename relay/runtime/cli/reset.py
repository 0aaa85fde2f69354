"""`relay reset`: make a stopped relay forget its mail, and with it everything else it knows."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import note, working, write_json

KEPT = frozenset({"keys", "run"})  # run has the lock that keeps a relay from starting meanwhile


def reset(
    *,
    data: Annotated[bool, typer.Option("--data", help="Wipe queue, catalog, suppression lists and history.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; there is no way back.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wipe all state of a stopped relay: queued mail, accounts, credentials, identities, lists and history.

    The configuration, the certificate and the master key stay. The default account is made again, with new
    credentials, which are shown once.
    """
    if not data or not yes:
        raise UsageError("This deletes all mail and all accounts for good: give both --data and --yes.")
    from relay.runtime import supervisor_start  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.setup import first_credentials  # noqa: PLC0415

    site = open_site(config)
    master_key = site.master_key()
    lock = supervisor_start.RunLock.take(supervisor_start.prepare_directories(site.data_dir, None))
    try:
        with working("wiping"):
            removed = _wipe(site.data_dir)
            made = first_credentials(site.data_dir, master_key, sandbox=False)
            site.audit("reset", made.account, {"removed": removed})
    finally:
        lock.release()
    if as_json:
        write_json(
            {
                "removed": removed,
                "account": made.account,
                "smtp": {"username": made.smtp_username, "password": made.smtp_password},
                "access_key": {"id": made.access_key_id, "secret": made.access_key_secret},
            }
        )
        return
    typer.echo(f"{site.data_dir} is empty; account {made.account} has new credentials:")
    typer.echo(f"SMTP user name  {made.smtp_username}")
    typer.echo(f"SMTP password   {made.smtp_password}")
    typer.echo(f"access key id   {made.access_key_id}")
    typer.echo(f"access key      {made.access_key_secret}")
    note("Keep them now: they cannot be shown again.")


def _wipe(data_dir: Path) -> list[str]:
    """Remove everything in the data directory but the keys; links are removed, never followed."""
    removed = []
    for path in sorted(data_dir.iterdir()):
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        removed.append(path.name)
    return removed
