"""Finding and loading the configuration file: whole or not at all, every fault at once."""

from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from relay.errors import ConfigurationError
from relay.runtime.config import consistency
from relay.runtime.config.document import Mapping, Sequence, line_of, read
from relay.runtime.config.faults import Fault, InvalidConfigurationError
from relay.runtime.config.faults import Path as KeyPath
from relay.runtime.config.model import Config
from relay.runtime.config.sentences import faults_of
from relay.runtime.config.values import BASE

SYSTEM_FILE = Path("/etc/relay/relay.yaml")
LOCAL_FILE = Path("relay.yaml")
VARIABLE = "RELAY_CONFIG"
FILE_SIZE_MAX_BYTES = 4 << 20
_PLACEHOLDER = "hostname.invalid"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it came from."""

    config: Config
    file: Path
    document: Mapping

    def line(self, path: KeyPath) -> int:
        """Return the line of a setting, or of the nearest one around it; 0 when the file does not have it."""
        return line_of(self.document, path) if path and path[0] in self.document else 0


def find_file(given: Path | None, environment: AbstractMapping[str, str]) -> Path:
    """Return the configuration file to use: the given one, RELAY_CONFIG, ./relay.yaml, /etc/relay/relay.yaml.

    Raise ConfigurationError when there is none; one that was named must exist.
    """
    if given is not None:
        return _existing(given, "-c")
    if environment.get(VARIABLE):
        return _existing(Path(environment[VARIABLE]), VARIABLE)
    for candidate in (LOCAL_FILE, SYSTEM_FILE):
        if candidate.is_file():
            return candidate.absolute()
    raise ConfigurationError(
        f"There is no configuration: neither ./{LOCAL_FILE} nor {SYSTEM_FILE} exists. Name one with -c FILE or "
        f"{VARIABLE}, or make one with `relay init DIR`."
    )


def _existing(file: Path, named_by: str) -> Path:
    if not file.is_file():
        what = "is not a file" if file.exists() else "does not exist"
        raise ConfigurationError(f"The configuration {file}, named by {named_by}, {what}.")
    return file.absolute()


def load(file: Path) -> Loaded:
    """Return the configuration of a file. Raise InvalidConfigurationError with all its faults."""
    return parse(_text(file), file)


def parse(text: str, file: Path) -> Loaded:
    """Return the configuration that `text` would be as the content of `file`; the file itself is not touched."""
    file = file.absolute()
    document, faults = read(text)
    if faults and not document:  # nothing could be read: to name what is missing would lead astray
        raise InvalidConfigurationError(file, faults)
    config, more = _validated(document, file.parent)
    faults += more
    if faults or config is None:
        lined = [fault if fault.line else fault.at(line_of(document, fault.path)) for fault in faults]
        raise InvalidConfigurationError(file, lined)
    return Loaded(config, file, document)


def load_config(file: Path) -> Config:
    """Return the configuration of a file, for those who need no lines."""
    return load(file).config


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_SIZE_MAX_BYTES + 1)
        if len(data) > FILE_SIZE_MAX_BYTES:
            raise ConfigurationError(f"The configuration {file} is larger than {FILE_SIZE_MAX_BYTES >> 20} MiB.")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidConfigurationError(file, [Fault((), "is not UTF-8; save it as UTF-8", line)]) from None
    except OSError as error:
        raise ConfigurationError(f"The configuration {file} cannot be read: {error.strerror}.") from None


def _validated(document: Mapping, base: Path) -> tuple[Config | None, list[Fault]]:
    """Return the configuration, or all faults: those of single settings and, as far as it goes, those across them."""
    try:
        config = Config.model_validate(document, context={BASE: base})
    except ValidationError as error:
        faults = list(faults_of(error, Config))
    else:
        faults = consistency.faults(config)
        return (None if faults else config), faults
    rest = _without(document, [fault.path for fault in faults])
    try:
        partial = Config.model_validate(rest, context={BASE: base})
    except ValidationError:
        return None, faults
    across = consistency.faults(partial)
    return None, faults + [fault for fault in across if not any(_touches(fault.path, other.path) for other in faults)]


def _touches(path: KeyPath, faulty: KeyPath) -> bool:
    return path[: len(faulty)] == faulty or faulty[: len(path)] == path


def _without(document: Mapping, paths: list[KeyPath]) -> dict[str, Any]:
    """Return the document as it would be without its faulty settings, so that the others can be checked together.

    List entries keep their positions, for faults to name them: a faulty entry is replaced by a harmless one.
    """
    faulty = set(paths)

    def copy(value: Any, path: KeyPath) -> Any:
        if isinstance(value, Mapping):
            return {key: copy(item, (*path, key)) for key, item in value.items() if (*path, key) not in faulty}
        if isinstance(value, Sequence):
            copied = [_harmless(path, index, copy(item, (*path, index)), faulty) for index, item in enumerate(value)]
            return [item for item in copied if item is not None]
        return value

    return {"hostname": _PLACEHOLDER, **copy(document, ())}


def _harmless(path: KeyPath, index: int, value: Any, faulty: set[KeyPath]) -> Any:
    if not any(fault[: len(path) + 1] == (*path, index) for fault in faulty):
        return value
    stand_in = _STAND_INS.get(path)
    return stand_in(index) if stand_in else None


_STAND_INS: dict[KeyPath, Any] = {
    ("listeners",): lambda _index: {"kind": "mx", "port": 0},
    ("routes",): lambda index: {"domain": f"route-{index}.invalid", "smarthost": "127.0.0.1"},
    ("events",): lambda index: {"name": f"faulty-{index}", "path": f"faulty-{index}"},
}
