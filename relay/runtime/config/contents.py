"""The kind of value that says which attachments are refused."""

from typing import Annotated

from pydantic import AfterValidator, Field

from relay.mail.attachments import REFUSED_EXTENSIONS
from relay.runtime.config.values import Kind

Extension = Annotated[
    str,
    Field(strict=True, pattern=r"^\.?[A-Za-z0-9_-]{1,32}$"),
    AfterValidator(lambda value: value.removeprefix(".").lower()),
    Kind("file name extension"),
]
DEFAULT_EXTENSIONS = tuple(sorted(REFUSED_EXTENSIONS))
