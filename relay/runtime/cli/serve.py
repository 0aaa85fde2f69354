"""`relay serve`: run the relay."""

from relay.runtime.cli.options import ConfigOption


def serve(*, config: ConfigOption = None) -> None:
    """Run the relay until TERM or Ctrl-C, which let sessions and deliveries end; HUP reloads the configuration."""
    raise NotImplementedError
