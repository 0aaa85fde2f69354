"""The command line. `main` is the entry point; one module for each group of commands."""


def main() -> None:
    """Run the command in `sys.argv` and leave with its exit code."""
    import sys  # noqa: PLC0415 (imports stay inside: `relay --help` must answer at once)

    from relay.runtime.cli.app import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))
