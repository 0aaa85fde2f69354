"""Files of rules: what is shipped holds, what an operator writes is checked whole."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.runtime.config.shaping import Shaping
from relay.runtime.config.shaping_file import ShapingFile
from relay.runtime.config.shaping_reference import page
from relay.runtime.config.suggest import settings as known_settings
from relay.runtime.shaping import InvalidRulesError, findings_of, load_rules, parse, read_file, shipped_files
from relay.schedule.replayed import outcome_of

SHIPPED = shipped_files()


def rules_in(directory, **files):
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return load_rules(Shaping(directory=directory))


def faults(directory, **files):
    with pytest.raises(InvalidRulesError) as caught:
        rules_in(directory, **files)
    return [line.replace(f"{directory}/", "") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_file_loads_says_who_it_is_about_and_where_that_is_known_from(path):
    file = read_file(path)
    assert file.findings == ()
    assert file.rules is not None
    assert file.rules.name == path.stem
    assert file.rules.about
    comment = " ".join(line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#"))
    assert file.rules.source or re.search(r"nothing is published", comment, re.IGNORECASE)
    assert all(one.source for one in file.rules.responses)


def test_every_shipped_response_has_examples_that_it_decides_about():
    rules = load_rules(Shaping())
    count = 0
    for provider in rules.providers.values():
        for one in provider.responses:
            assert one.examples, one.name
            for example in one.examples:
                stage = next(iter(sorted(one.stages)), "")
                assert rules.decide(provider.name, outcome_of(example, stage)) is one, (one.name, example)
                count += 1
    assert count > 80


def test_no_host_belongs_to_two_shipped_providers():
    seen = {}
    for path in SHIPPED:
        rules = read_file(path).rules
        for pattern in (*rules.hosts, *rules.domains):
            assert seen.setdefault(pattern, rules.name) == rules.name, pattern


OWN = """\
name: yahoo
limits: {connections: 1}
responses:
  - {name: any, code: 421, pause: 1m, examples: ["421 no"]}
"""


def test_an_own_file_takes_the_place_of_the_shipped_one(tmp_path):
    rules = rules_in(tmp_path, mine=OWN).providers["yahoo"]
    assert rules.limits.given == {"connections": 1}
    assert [one.name for one in rules.responses] == ["yahoo/any"]
    assert rules.hosts == ()


def test_an_own_file_may_extend_the_shipped_one(tmp_path):
    shipped = load_rules(Shaping()).providers["yahoo"]
    rules = rules_in(tmp_path, mine=OWN + "extend: true\n").providers["yahoo"]
    assert rules.limits.given == {**shipped.limits.given, "connections": 1}
    assert rules.responses[0].name == "yahoo/any"
    assert rules.responses[1:] == shipped.responses
    assert rules.hosts == shipped.hosts


FAULTY = """\
nam: mine
match: {hosts: ["*", "mx.*", "a b"], host: []}
limits: {connectoins: 3, connections_start: 0, messages_per_minute: many}
exceptions:
  - {limits: {connections: 1}}
  - {source: nowhere, limits: {}}
responses:
  - {name: one, code: 42, pause: 5}
  - {name: two, text: '(a', slow: {to: 0%}}
  - {name: three, pause: 1m}
  - {name: four, code: 421}
  - {name: five, code: 4xx, bounce: true, retry: 2}
  - {name: six, enhanced: 4.7.x, stage: somewhere, pause: 9d}
"""


def test_all_faults_of_a_file_come_at_once_with_lines_and_the_nearest_key(tmp_path):
    found = faults(tmp_path, bad=FAULTY)
    wanted = [
        "bad.yaml:1: name: is missing",
        "bad.yaml:1: nam: there is no such setting; did you mean `name`?",
        "bad.yaml:2: match.hosts[0]: must be a name such as",
        "bad.yaml:2: match.hosts[1]: must be a name such as",
        "bad.yaml:2: match.hosts[2]: must be a name such as",
        "bad.yaml:2: match.host: there is no such setting; did you mean `hosts`?",
        "bad.yaml:3: limits.connectoins: there is no such setting; did you mean `connections`?",
        "bad.yaml:3: limits.connections_start: must be at least 1",
        "bad.yaml:3: limits.messages_per_minute: must be a whole number",
        "bad.yaml:5: exceptions[0]: needs either `source` or `pool`",
        "bad.yaml:6: exceptions[1].source: must be an IPv4 or IPv6 address",
        "bad.yaml:8: responses[0].code[0]: must be a reply code such as 421",
        "bad.yaml:8: responses[0].pause: has no unit",
        "bad.yaml:9: responses[1].text[0]: has a `(` without its `)`",
        "bad.yaml:9: responses[1].slow.to: must be at least",
        "bad.yaml:10: responses[2]: needs a condition",
        "bad.yaml:11: responses[3]: does nothing",
        "bad.yaml:12: responses[4]: cannot bounce a delivery and try it again",
        "bad.yaml:13: responses[5].enhanced[0]: must be the beginning of an enhanced code",
        "bad.yaml:13: responses[5].stage[0]: must be one of greeting",
        "bad.yaml:13: responses[5].pause: must be at most 1w",
    ]
    for text in wanted:
        assert any(line.startswith(text) for line in found), (text, found)
    assert len(found) == len(wanted)


def test_faults_of_all_files_come_at_once(tmp_path):
    found = faults(tmp_path, a="name: a\nx: 1\n", b="- 1\n", c="name: [\n")
    assert {line.partition(":")[0] for line in found} == {"a.yaml", "b.yaml", "c.yaml"}


def test_two_own_files_of_one_name(tmp_path):
    (line,) = faults(tmp_path, a="name: same\n", b="name: same\n")
    assert line == "b.yaml: name: is same, as in a.yaml; keep one of the two files"


def test_two_rules_of_one_name(tmp_path):
    rule = "  - {name: x, code: 421, pause: 1m}\n"
    (line,) = faults(tmp_path, a=f"name: a\nresponses:\n{rule}{rule}")
    assert line.startswith("a.yaml:4: responses[1].name: is given to two rules")


def test_an_example_that_another_rule_decides_about(tmp_path):
    text = (
        "name: a\nresponses:\n  - {name: x, code: 4xx, pause: 1m}\n"
        "  - {name: y, code: 421, pause: 1m, examples: ['421 no']}\n"
    )
    (line,) = faults(tmp_path, a=text)
    assert line == "a.yaml: a/y: the example is decided by a/x: 421 no"


def test_a_directory_that_is_not_there(tmp_path):
    (finding,) = findings_of(Shaping(directory=tmp_path / "gone"))
    assert "cannot be read" in str(finding)
    assert findings_of(Shaping(directory=tmp_path / "gone", enabled=False)) == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_whatever_a_file_holds_ends_in_rules_or_in_faults(text):
    file = parse(text, Path("x.yaml"))
    assert (file.rules is None) is bool(file.findings)


# --- pages ---------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[3]
WRITTEN = [
    pytest.param(text, id=f"{path.stem}:{number}")
    for path in sorted((ROOT / "docs").rglob("*.md"))
    for number, text in enumerate(re.findall(r"^```yml\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL))
]


def test_the_reference_page_is_that_of_the_model():
    assert (ROOT / "docs/reference/shaping.md").read_text() == page(), "run `make docs`"


def test_every_key_is_in_the_reference_page():
    named = set(re.findall(r"^\| `([^`]+)` \|", page(), re.MULTILINE))
    plain = {name.replace("[]", "") for name in named}
    assert [path for path in known_settings(ShapingFile) if ".".join(map(str, path)) not in plain] == []


@pytest.mark.parametrize("text", WRITTEN)
def test_rules_in_pages_are_taken(text, tmp_path):
    rules_in(tmp_path, page=text)


def test_there_are_rules_in_pages():
    assert len(WRITTEN) >= 2


@pytest.mark.slow
def test_the_installed_package_has_the_shipped_files(tmp_path):
    """Built without the network: the build backend is a development dependency."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.rpartition("/")[2] for name in zipfile.ZipFile(wheel).namelist() if "/shaping_files/" in name}
    assert names == {path.name for path in SHIPPED}
