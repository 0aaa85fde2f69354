"""The commented example file and the reference page, made from the model.

`python -m relay.runtime.config.render` writes both; with `--check` it writes nothing and exits with 1 when one is
stale. Descriptions and defaults are the model's; only the examples of optional entries are kept here.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic.fields import FieldInfo

from relay.runtime.config.model import Config
from relay.runtime.config.reference import default_text, extra, reference
from relay.runtime.config.section import Section
from relay.runtime.config.suggest import model_in

EXAMPLE_FILE = Path("config/relay.yaml")
REFERENCE_FILE = Path("docs/reference/configuration.md")
_WIDTH = 112

# What an optional setting looks like when it is used; shown as a comment.
EXAMPLES: dict[str, str] = {
    "run_as": "run_as: {user: relay, group: relay}",
    "contact": "contact: postmaster@relay.example",
    "bounce_domain": "bounce_domain: bounce.relay.example",
    "public_url": "public_url: https://relay.example",
    "sender": "sender: no-reply@relay.example",
    "nameservers": 'nameservers: ["127.0.0.1:53"]',
    "source_addresses": "source_addresses: [192.0.2.10]",
    "directory": "directory: shaping",
    "files": "files: [shaping/partner.yaml]",
    "routes": 'routes:\n  - {domain: "*.internal.example", smarthost: "10.0.0.5:25"}',
    "tls_policies": "tls_policies:\n  - {domain: partner.example, tls: verify, minimum_version: '1.3'}",
    "tls_ca_file": "tls_ca_file: /etc/ssl/certs/ca-certificates.crt",
    "ca_file": "ca_file: /etc/ssl/certs/ca-certificates.crt",
    "scanners": (
        "scanners:\n  - {type: clamav, address: /run/clamav/clamd.ctl}\n"
        "  - {type: rspamd, url: http://127.0.0.1:11333, reject_score: 15}"
    ),
    "block_lists": "block_lists:\n  - {name: My list, zone: list.example, action: withdraw}",
    "domain_lists": "domain_lists:\n  - {name: My list, zone: domains.example}",
    "schedules": "schedules:\n  - {name: fast, volumes: [200, 1000, 5000, 20000]}",
    "addresses": "addresses:\n  - {address: 192.0.2.10, schedule: default}",
    "shares": "shares:\n  - {provider: gmail, share: 40%}\n  - {provider: other, share: 60%}",
    "events": "events:\n  - {name: all, type: file, path: events.jsonl, types: all}",
    "streams": (
        "streams:\n  - {name: lines, type: directory, directory: streams/lines, gzip: true, batch_age: 5m}\n"
        "  - {name: archive, type: bucket, bucket: mail-events, prefix: mail/}"
    ),
    "buses": "buses:\n  - {name: default, url: 'https://events.example/relay', secret_file: keys/bus.secret}",
    "listeners": (
        "listeners:\n  - {kind: submission, address: 10.0.0.1, port: 2526, tls: none, "
        'trust: {networks: [10.0.0.0/8], account: "000000000001"}}\n'
        "  - {kind: submission, address: 10.0.0.1, port: 587, proxy_protocol: {networks: [10.0.0.5/32]}}\n"
        "  - {kind: submission, address: 10.0.0.1, port: 588, xclient: {networks: [10.0.0.6/32], login: true}}"
    ),
}
_HEAD = """\
Relay's configuration: every setting with its default. Made from the program's own description of its settings;
docs/reference/configuration.md says more. Only `hostname` is needed, the rest may be left out.
Relative paths start from the directory of this file. Check a change with `relay check -c FILE`, then
send HUP to the running relay (`systemctl reload relay`): it is applied whole or, with a fault, not at all."""


def example() -> str:
    """Return the commented example, which loads as it is."""
    lines = [f"# {line}" for line in _HEAD.splitlines()]
    for name, field in Config.model_fields.items():
        lines += ["", *_setting(name, field, "")]
    return "\n".join(lines) + "\n"


def _setting(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    about = f"{field.description} A change needs a restart." if extra(field, "restart") else str(field.description)
    yield from _comment(about, indent)
    section = model_in(field.annotation)
    if section and get_origin(field.annotation) is tuple:
        yield from _entries(name, field, section, indent)
    elif section and field.default is not None:
        yield f"{indent}{name}:"
        for inner_name, inner in section.model_fields.items():
            yield from _setting(inner_name, inner, indent + "  ")
    elif name in EXAMPLES:
        if field.default is not None and default_text(field):
            yield from _comment(f"Default: {default_text(field)}.", indent)
        yield from (f"{indent}# {line}" for line in EXAMPLES[name].splitlines())
    else:
        value = extra(field, "shown") if field.is_required() else field.default
        yield f"{indent}{name}: {_yaml(value)}"


def _entries(name: str, field: FieldInfo, section: type[Section] | Any, indent: str) -> Iterator[str]:
    yield f"{indent}# Each entry takes:"
    for key, inner in section.model_fields.items():
        about = f"{key}: {inner.description}"
        default = default_text(inner)
        yield from _comment(
            about if inner.is_required() or not default else f"{about} Default: {default}.", indent, "  "
        )
    if field.default:
        yield f"{indent}{name}:"
        yield from (f"{indent}  - {_yaml(entry)}" for entry in field.default)
        yield from (f"{indent}  # {line.strip()}" for line in EXAMPLES[name].splitlines()[1:])
    else:
        yield from (f"{indent}# {line}" for line in EXAMPLES[name].splitlines())


def _comment(text: str, indent: str, hanging: str = "") -> list[str]:
    head = f"{indent}# {hanging}"
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=head + hanging, break_on_hyphens=False)


def _yaml(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False)
    return str(text).removesuffix("...\n").strip()


def render(root: Path, *, check: bool) -> list[Path]:
    """Write both files below `root`, or only compare them; return those that were stale."""
    stale = []
    for path, text in ((root / EXAMPLE_FILE, example()), (root / REFERENCE_FILE, reference())):
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return stale


def main() -> int:
    """Run as a command, from the directory of the project."""
    check = "--check" in sys.argv[1:]
    stale = render(Path(), check=check)
    for path in stale:
        sys.stdout.write(f"{path} {'is stale; run `make docs`' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
