"""`relay serve`: run the relay."""

import typer

from relay.runtime.cli.options import ConfigOption


def serve(*, config: ConfigOption = None) -> None:
    """Run the relay until TERM or Ctrl-C, which let sessions and deliveries end; HUP reloads the configuration."""
    import os  # noqa: PLC0415

    from relay.runtime.config.load import find_file  # noqa: PLC0415
    from relay.runtime.supervisor import serve as run  # noqa: PLC0415

    code = run(find_file(config, os.environ))
    if code:
        raise typer.Exit(code)
