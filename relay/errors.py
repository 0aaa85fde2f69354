"""The exception tree. A refusal of a client and the answer of a remote server are values, not exceptions.

RelayError
    ConfigurationError   the configuration or the environment cannot be used (exit code 78)
    TemporaryError       something outside is missing now and may come back (exit code 75)
        StorageError     the spool or the catalog cannot be written now
    UsageError           a command was called with arguments that cannot work (exit code 64)
        ConflictError    what is asked for stands against what is there already
        RequestRefusedError  what is asked for cannot be granted; it has a name in the API (exit code 64)
        AlreadyExistsError   what is to be made is there already
        LimitExceededError   there would be more of something than there may be
        NotFoundError        there is nothing of that name
        InvalidPolicyError  a policy text has faults
    CorruptionError      stored data fails its own checks
    NewerVersionError    stored data was written by a newer release (exit code 78)
"""

EX_USAGE = 64
EX_DATAERR = 65
EX_UNAVAILABLE = 69
EX_TEMPFAIL = 75
EX_CONFIG = 78


class RelayError(Exception):
    """Root of every error that Relay raises on purpose; the text is a sentence for the operator."""

    exit_code = 1


class ConfigurationError(RelayError):
    """The configuration or the environment cannot be used; the text names the cause and the fix."""

    exit_code = EX_CONFIG


class TemporaryError(RelayError):
    """Something is missing now and may come back: try again later."""

    exit_code = EX_TEMPFAIL


class StorageError(TemporaryError):
    """The disk refused a write: full, read-only, or failing."""


class UsageError(RelayError):
    """A command was called with arguments that cannot work; nothing was changed."""

    exit_code = EX_USAGE


class ConflictError(UsageError):
    """What is asked for stands against what is there already, such as a request that waits (API: 409)."""


class RequestRefusedError(UsageError):
    """What is asked for cannot be granted; `code` is the name that the API gives this error."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class AlreadyExistsError(UsageError):
    """What is to be made is there already (API: AlreadyExistsException)."""


class LimitExceededError(UsageError):
    """There would be more of something than there may be (API: LimitExceededException)."""


class NotFoundError(UsageError):
    """There is nothing of that name (API: NotFoundException)."""


class InvalidPolicyError(UsageError):
    """A policy text is refused (API: InvalidPolicy); `faults` says all that is wrong with it, one a line as text."""

    def __init__(self, faults: object) -> None:
        super().__init__(f"The policy is refused, nothing was changed:\n{faults}")
        self.faults = faults


class CorruptionError(RelayError):
    """Stored data fails its own checks; the text names what and where."""

    exit_code = EX_DATAERR


class NewerVersionError(ConfigurationError):
    """Stored data was written by a newer release of Relay; nothing was changed."""
