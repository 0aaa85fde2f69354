"""Shaping rules from their files: those that are shipped, and the operator's own, which go before them.

All files are read whole, and all faults of all of them come in one error. The shipped files are `config/shaping` of
the project; in an installed package they lie beside this module.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from relay.errors import ConfigurationError
from relay.runtime.config.document import line_of, read
from relay.runtime.config.faults import FAULTS_SHOWN_MAX, Fault, Finding
from relay.runtime.config.sentences import faults_of
from relay.runtime.config.shaping_file import ShapingFile, ShapingLimits, ShapingResponse
from relay.schedule.effects import Effect, EffectKind
from relay.schedule.replayed import outcome_of
from relay.schedule.shaping_rules import Limits, LimitsException, ProviderRules, Response, RuleSet

if TYPE_CHECKING:
    from relay.runtime.config.model import Config
    from relay.runtime.config.shaping import Shaping

FILE_SIZE_MAX_BYTES = 1 << 20
FILES_MAX = 2000
_INSTALLED = Path(__file__).parent / "shaping_files"
_PROJECT = Path(__file__).parents[2] / "config" / "shaping"


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One file: its rules, None where it has faults, and these."""

    path: Path
    rules: ProviderRules | None
    extend: bool
    findings: tuple[Finding, ...]


class InvalidRulesError(ConfigurationError):
    """Files have faults; the text lists all of them, one a line, and `findings` has them as values."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = [str(finding) for finding in findings[:FAULTS_SHOWN_MAX]]
        if len(findings) > FAULTS_SHOWN_MAX:
            lines.append(f"and {len(findings) - FAULTS_SHOWN_MAX} more")
        super().__init__("\n".join(lines))


def shipped_files() -> list[Path]:
    """Return the files that come with the relay."""
    directory = _INSTALLED if _INSTALLED.is_dir() else _PROJECT
    return sorted(directory.glob("*.yaml"))


def load_rules(shaping: "Shaping", others: Sequence[Path] = ()) -> RuleSet:
    """Return the rules in force, with further files on top. Raise InvalidRulesError with all faults of all files."""
    own, findings = _own_files(shaping)
    shipped = [read_file(path) for path in shipped_files()]
    files = [*(read_file(path) for path in own), *(read_file(path) for path in others)]
    findings += [finding for one in (*shipped, *files) for finding in one.findings]
    findings += _twice(files[: len(own)])
    if findings:
        raise InvalidRulesError(findings)
    known = {one.rules.name: one.rules for one in shipped if one.rules is not None}
    for one in files:
        if one.rules is not None:
            base = known.get(one.rules.name)
            known[one.rules.name] = _extended(base, one.rules) if one.extend and base is not None else one.rules
    rules = RuleSet(known.values())
    findings = [finding for one in files if one.rules for finding in _examples(rules, one)]
    if findings:
        raise InvalidRulesError(findings)
    return rules


def rules_in_force(config: "Config") -> RuleSet:
    """Return the rules that a configuration names; none while shaping is off. Raise InvalidRulesError."""
    return load_rules(config.shaping) if config.shaping.enabled else RuleSet()


def findings_of(shaping: "Shaping") -> list[Finding]:
    """Return what is wrong with the rules, for checks."""
    if not shaping.enabled:
        return []
    try:
        load_rules(shaping)
    except InvalidRulesError as error:
        return list(error.findings)
    return []


def provider_names(shaping: "Shaping") -> frozenset[str]:
    """Return the names of all providers that have rules; none while shaping is off, or rules have faults."""
    try:
        return frozenset(load_rules(shaping).providers) if shaping.enabled else frozenset()
    except InvalidRulesError:
        return frozenset()


def _own_files(shaping: "Shaping") -> tuple[list[Path], list[Finding]]:
    if shaping.directory is None:
        return list(shaping.files), []
    try:
        found = sorted(path for path in shaping.directory.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        return list(shaping.files), [Finding("error", str(shaping.directory), 0, "shaping.directory", text)]
    return [*found[:FILES_MAX], *shaping.files], []


def _twice(files: Iterable[RuleFile]) -> Iterator[Finding]:
    seen: dict[str, Path] = {}
    for one in files:
        if one.rules is None:
            continue
        first = seen.setdefault(one.rules.name, one.path)
        if first != one.path:
            text = f"is {one.rules.name}, as in {first}; keep one of the two files"
            yield Finding("error", str(one.path), 0, "name", text)


def read_file(path: Path) -> RuleFile:
    """Return the rules of one file, or what is wrong with it. A file that did not change is not read again.

    So processes that are forked after a check of the configuration have all files already.
    """
    try:
        found = path.stat()
    except OSError as error:
        return _faulty(path, f"cannot be read: {error.strerror}")
    return _read(path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=FILES_MAX)
def _read(path: Path, _inode: int, _size_bytes: int, _changed_ns: int) -> RuleFile:
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_SIZE_MAX_BYTES + 1)
        if len(data) > FILE_SIZE_MAX_BYTES:
            return _faulty(path, f"is larger than {FILE_SIZE_MAX_BYTES >> 20} MiB")
        return parse(data.decode("utf-8-sig"), path)
    except UnicodeDecodeError:
        return _faulty(path, "is not UTF-8; save it as UTF-8")
    except OSError as error:
        return _faulty(path, f"cannot be read: {error.strerror}")


def parse(text: str, path: Path) -> RuleFile:
    """Return the rules that `text` would be as the content of a file."""
    document, faults = read(text)
    model: ShapingFile | None = None
    if document or not faults:
        try:
            model = ShapingFile.model_validate(document)
        except ValidationError as error:
            faults += faults_of(error, ShapingFile)
        else:
            faults += _names_twice(model)
    if faults or model is None:
        lined = [fault if fault.line else fault.at(line_of(document, fault.path)) for fault in faults]
        ordered = sorted(lined, key=lambda fault: fault.line)
        found = tuple(Finding("error", str(path), fault.line, fault.key, fault.text) for fault in ordered)
        return RuleFile(path, None, extend=False, findings=found)
    return RuleFile(path, _rules(model, str(path)), model.extend, ())


def _faulty(path: Path, text: str) -> RuleFile:
    return RuleFile(path, None, extend=False, findings=(Finding("error", str(path), 0, "", text),))


def _names_twice(model: ShapingFile) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, one in enumerate(model.responses):
        if one.name in seen:
            yield Fault(("responses", index, "name"), f"is given to two rules: {one.name}")
        seen.add(one.name)


def _examples(rules: RuleSet, file: RuleFile) -> Iterator[Finding]:
    """Tell of examples that another rule decides about, or none."""
    assert file.rules is not None
    for one in file.rules.responses:
        for example in one.examples:
            decided = rules.decide(file.rules.name, outcome_of(example, next(iter(sorted(one.stages)), "")))
            if decided is None or decided.name != one.name:
                whom = decided.name if decided else "no rule"
                text = f"the example is decided by {whom}: {example[:100]}"
                yield Finding("error", str(file.path), 0, one.name, text)


def _rules(model: ShapingFile, file: str) -> ProviderRules:
    return ProviderRules(
        name=model.name,
        about=model.about,
        hosts=model.match.hosts,
        domains=model.match.domains,
        routes=model.match.routes,
        rollup=model.rollup,
        limits=_limits(model.limits),
        exceptions=tuple(
            LimitsException(_limits(one.limits), one.source or "", one.pool or "") for one in model.exceptions
        ),
        responses=tuple(_response(model.name, one) for one in model.responses),
        file=file,
        source=" ".join(model.source),
    )


def _limits(model: ShapingLimits) -> Limits:
    return Limits(**model.model_dump())


def _response(provider: str, model: ShapingResponse) -> Response:
    name = f"{provider}/{model.name}"
    return Response(
        name=name,
        codes=frozenset(code for one in model.code for code in _codes(one)),
        enhanced=model.enhanced,
        stages=frozenset(model.stage),
        texts=model.text,
        effects=tuple(_effects(name, model)),
        wait_seconds=model.retry_after or 0.0,
        retries=model.retry,
        blocklist=model.blocklist,
        about=model.about,
        source=" ".join(model.source),
        examples=model.examples,
    )


def _codes(written: str) -> range:
    low, high = int(written.replace("x", "0")), int(written.replace("x", "9"))
    return range(low, high + 1)


def _effects(rule: str, model: ShapingResponse) -> Iterator[Effect]:
    if model.slow is not None:
        yield Effect(EffectKind.SLOW, rule, model.slow.lasts, model.slow.to)
    timed = (
        (EffectKind.PAUSE, model.pause),
        (EffectKind.SWITCH, model.switch),
        (EffectKind.SUSPEND_ACCOUNT, model.suspend_account),
        (EffectKind.SUSPEND_SET, model.suspend_set),
    )
    for kind, seconds in timed:
        if seconds:
            yield Effect(kind, rule, seconds)
    if model.bounce:
        yield Effect(EffectKind.BOUNCE, rule)


def _extended(base: ProviderRules, own: ProviderRules) -> ProviderRules:
    """Return shipped rules with the operator's on top."""
    names = {one.name for one in own.responses}
    return replace(
        base,
        about=own.about or base.about,
        hosts=(*base.hosts, *own.hosts),
        domains=(*base.domains, *own.domains),
        routes=(*base.routes, *own.routes),
        rollup=own.rollup,
        limits=Limits(**{**base.limits.given, **own.limits.given}),
        exceptions=(*own.exceptions, *base.exceptions),
        responses=(*own.responses, *(one for one in base.responses if one.name not in names)),
        file=f"{own.file} on top of {base.file}",
    )
