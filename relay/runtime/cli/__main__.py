"""`python -m relay.runtime.cli`: the same as `relay`, for processes that start each other."""

from relay.runtime.cli import main

main()
