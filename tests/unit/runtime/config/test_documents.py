"""The example and the reference: complete, true, and not stale."""

import textwrap
from pathlib import Path

import pytest
import yaml

from relay.runtime.config import suggest
from relay.runtime.config.load import load, parse
from relay.runtime.config.model import Config
from relay.runtime.config.reference import kind_text, reference
from relay.runtime.config.render import EXAMPLES, example, render

ROOT = Path(__file__).parents[4]


def fields(section=Config, prefix=""):
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}", field
        inner = suggest.model_in(field.annotation)
        if inner:
            yield from fields(inner, f"{prefix}{name}.")


@pytest.mark.parametrize(("name", "field"), list(fields()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_is_described_in_whole_sentences(name, field):
    assert field.description, name
    assert field.description[0].isupper() or field.description[0] == "`", name
    assert field.description.endswith("."), name
    assert kind_text(field), name


def test_the_files_are_those_of_the_model():
    assert render(ROOT, check=True) == [], "run `make docs`"


def test_stale_files_are_found_and_written(tmp_path):
    assert len(render(tmp_path, check=True)) == 2
    assert not list(tmp_path.iterdir())
    assert len(render(tmp_path, check=False)) == 2
    assert render(tmp_path, check=True) == []
    (tmp_path / "config" / "relay.yaml").write_text("stale")
    assert render(tmp_path, check=True) == [tmp_path / "config" / "relay.yaml"]


def test_the_example_is_the_defaults(tmp_path):
    file = tmp_path / "relay.yaml"
    file.write_text(example())
    assert load(file).config == parse("hostname: relay.example", file).config


def test_every_setting_is_in_the_example_and_the_reference():
    text, page = example(), reference()
    for name, _ in fields():
        assert f"{name.rsplit('.', 1)[-1]}:" in text, name
    for path in suggest.settings(Config):
        assert f"{path[-1]}` |" in page, path


IN_SECTIONS = {
    "nameservers": "dns",
    "source_addresses": "delivery",
    "public_url": "http",
    "sender": "notifications",
    "scanners": "content",
    "block_lists": "own_checks",
    "domain_lists": "own_checks",
    "schedules": "warmup",
    "addresses": "warmup",
    "shares": "warmup",
    "tls_ca_file": "delivery",
    "ca_file": "mta_sts",
    "directory": "shaping",
    "files": "shaping",
}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in IN_SECTIONS])
def test_each_example_loads(name):
    parse("hostname: relay.example\n" + EXAMPLES[name], Path("relay.yaml"))


@pytest.mark.parametrize(("name", "section"), IN_SECTIONS.items())
def test_each_example_inside_a_section_loads(name, section):
    parse(f"hostname: relay.example\n{section}:\n{textwrap.indent(EXAMPLES[name], '  ')}", Path("relay.yaml"))


def test_the_example_is_plain_yaml_for_every_reader():
    assert yaml.safe_load(example())["limits"]["message_size_max"] == 41943040


def test_each_table_of_the_reference_has_four_columns():
    for line in reference().splitlines():
        if line.startswith("| `"):
            assert line.replace("\\|", "").count("|") == 5, line
