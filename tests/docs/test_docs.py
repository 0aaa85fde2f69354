"""The pages against the program: nothing undocumented, no dead link, no command or metric that does not exist."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
import yaml

from relay.runtime.cli.app import app
from relay.runtime.config.load import parse
from relay.runtime.config.model import Config
from relay.runtime.config.section import Section
from relay.runtime.observe.table import BY_NAME, Kind

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RULES = ROOT / "config" / "prometheus" / "relay.rules.yaml"
WRITTEN = sorted(
    path
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
    if not path.is_relative_to(DOCS / "spec") or path.name == "README.md"
)
GUIDES = [
    path
    for path in WRITTEN
    if path.name != "CHANGELOG.md" and not {"decisions", "reference", "spec"} & set(path.parts)
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`(relay [^`\n]+)`")
METRIC = re.compile(r"\brelay_[a-z_]+\b")
NO_METRICS = {"relay_smtp", "relay_login", "relay_password"}  # names in configurations of other programs
ARGUMENT_FAULT = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")
OPERATORS = {"|", "||", "&", "&&", ";", ";;", "(", ")", "<", ">", ">>", ">&", "\n"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """Return a page without its fenced blocks and code, where brackets mean other things."""
    return re.sub(r"`[^`\n]*`", "``", FENCE.sub("", path.read_text()))


# --- everything is in the reference --------------------------------------------------------------------------------


def settings(section: type[Section], prefix: str = ""):
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        inner, is_list = section_in(field.annotation), "tuple" in str(field.annotation)
        if inner is not None:
            yield from settings(inner, f"{prefix}{name}{'[]' if is_list else ''}.")


def section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for inner in get_args(annotation) if (found := section_in(inner))), None)


@cache
def tree() -> Any:
    """Return all commands; to make them takes longer than to look at them."""
    return typer.main.get_command(app)


def commands(command: Any = None, name: str = "relay"):
    command = command or tree()
    yield name, command
    for child, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {child}")


def test_every_setting_is_in_the_reference():
    page = (DOCS / "reference" / "configuration.md").read_text()
    names = list(settings(Config))
    assert len(names) > 90
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_metric_is_in_the_reference():
    page = (DOCS / "reference" / "metrics.md").read_text()
    assert [name for name in BY_NAME if f"`{name}`" not in page] == []


def test_every_command_and_option_is_in_the_reference():
    page = (DOCS / "reference" / "cli.md").read_text()
    parts = re.split(r"^#{2,3} `(relay[^`]*)`$", page, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    missing = []
    for name, command in commands():
        if name == "relay":
            continue
        text = sections.get(name)
        if text is None:
            missing.append(name)
            continue
        options = [one for param in command.params if param.param_type_name == "option" for one in param.opts]
        missing += [f"{name} {one}" for one in options if one != "--help" and one not in text]
    assert missing == []


def test_every_page_is_linked_from_the_readme_onwards():
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = (target.partition("#")[0] for target in LINK.findall(prose(page)) if "://" not in target)
        waiting += [(page.parent / target).resolve() for target in targets if target]
    wanted = {path for path in WRITTEN if path.name != "CHANGELOG.md"}
    assert sorted(map(name_of, wanted - seen)) == []


# --- links --------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them from headings."""
    headings = re.findall(r"^#{1,6} (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_links_lead_somewhere(page):
    dead = []
    for target in LINK.findall(prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        inside = found.exists() and found.is_relative_to(ROOT)
        if not inside or (anchor and anchor not in anchors(found)):
            dead.append(target)
    assert dead == []


# --- commands -----------------------------------------------------------------------------------------------------


def command_lines(text: str):
    """Yield the arguments of every `relay` call in a shell script; here documents are left out."""
    text = re.sub(r"<<'(\w+)'(.*?)\n\1\n", r"\2\n", text.replace("\\\n", " "), flags=re.DOTALL)
    text = text.replace('"$(', "\n").replace(')"', "\n")
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        try:
            split = shlex.shlex(line, posix=True, punctuation_chars=True)
            split.whitespace_split = True
            words = list(split)
        except ValueError:
            continue  # configurations and transcripts, not commands
        start = True
        for number, word in enumerate(words):
            if start and word == "relay":
                rest = words[number + 1 :]
                end = next((index for index, one in enumerate(rest) if set(one) <= set("|&;()<>")), len(rest))
                yield rest[:end]
            start = word in OPERATORS


def blocks(path: Path):
    for language, text in FENCE.findall(path.read_text()):
        if language in ("", "sh"):
            yield from command_lines(text)


def fault_of(arguments: list[str], *, whole: bool) -> str:
    """Return why the program would not take these arguments, "" when it would. `whole`: nothing may be missing."""
    command: Any = tree()
    name = "relay"
    rest = list(arguments)
    while rest and rest[0] in getattr(command, "commands", {}):
        name, command = f"{name} {rest[0]}", command.commands[rest.pop(0)]
    if getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        return f"{name} has no command {rest[0]}"
    try:
        command.make_context(name, rest, resilient_parsing=not whole) if whole or rest else None
    except SystemExit:
        return ""
    except ARGUMENT_FAULT as error:
        return f"{name} {' '.join(rest)}: {error}"
    return ""


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_commands_in_blocks_are_understood(page):
    assert [fault for line in blocks(page) if (fault := fault_of(line, whole=True))] == []


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_commands_in_sentences_exist(page):
    faults = []
    for text in INLINE.findall(page.read_text()):
        words = [word for word in text.split()[1:] if word != "..."]
        fault = fault_of(words, whole=False)
        faults += [fault] if fault else []
    assert faults == []


def test_the_checks_themselves_find_faults():
    assert list(command_lines('X="$(relay send --from a@b.example |\n cat)"\nrelay sink > x 2>&1 &')) == [
        ["send", "--from", "a@b.example"],
        ["sink"],
    ]
    assert "no command" in fault_of(["queue", "purge"], whole=False)
    assert "--nothing" in fault_of(["queue", "list", "--nothing"], whole=True)
    assert fault_of(["trace"], whole=True) != ""
    assert fault_of(["queue", "list", "--state", "held"], whole=True) == ""
    assert len(list(blocks(ROOT / "README.md"))) >= 15


# --- configuration --------------------------------------------------------------------------------------------------

EXAMPLES = [
    pytest.param(text, id=f"{name_of(page)}:{number}")
    for page in GUIDES
    for number, (language, text) in enumerate(FENCE.findall(page.read_text()))
    if language == "yaml" and "scrape_configs" not in text
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_configuration_in_blocks_is_taken(text):
    head = "" if text.startswith("hostname:") else "hostname: relay.example\n"
    parse(head + text, Path("/etc/relay/relay.yaml"))


def test_there_are_examples_of_configuration():
    assert len(EXAMPLES) >= 5


# --- metrics ------------------------------------------------------------------------------------------------------


def known_metric(name: str) -> bool:
    if name in BY_NAME:
        return True
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base in BY_NAME and BY_NAME[base].kind is Kind.HISTOGRAM


@pytest.mark.parametrize("page", [*GUIDES, RULES], ids=name_of)
def test_metrics_that_are_named_exist(page):
    families = set(METRIC.findall(page.read_text())) - NO_METRICS
    assert sorted(name for name in families if not known_metric(name) and not any(
        known.startswith(f"{name}_") for known in BY_NAME
    )) == []  # fmt: skip


def test_rules_are_rules():
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"].endswith(".")
        names = METRIC.findall(rule["expr"])
        assert names, rule
        assert all(known_metric(name) for name in names), names
        for metric, selector in re.findall(r"(relay_[a-z_]+)\{([^}]*)\}", rule["expr"]):
            used = set(re.findall(r"(\w+)\s*=", selector))
            assert used <= set(BY_NAME[re.sub(r"_bucket$", "", metric)].labels), rule
