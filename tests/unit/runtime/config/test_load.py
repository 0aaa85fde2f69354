"""Loading: whole or not at all, every fault with its line, nothing in the file can do anything else."""

import textwrap
from pathlib import Path

import pytest

from relay.errors import ConfigurationError
from relay.runtime.config.faults import InvalidConfigurationError
from relay.runtime.config.load import find_file, load, parse

FILE = Path("/etc/relay/relay.yaml")


def faults(text: str) -> list[str]:
    with pytest.raises(InvalidConfigurationError) as caught:
        parse(textwrap.dedent(text), FILE)
    assert [str(finding) for finding in caught.value.findings] == str(caught.value).split("\n")
    return [str(finding).removeprefix(f"{FILE}:") for finding in caught.value.findings]


def config(text: str):
    return parse(textwrap.dedent(text), FILE).config


def test_a_host_name_is_enough():
    made = config("hostname: Relay.Example")
    assert made.hostname == "relay.example"
    assert made.contact == "postmaster@relay.example"
    assert made.bounce_domain == "bounce.relay.example"
    assert made.tls.certificate == Path("/etc/relay/tls/cert.pem")
    assert made.data_dir == Path("/var/lib/relay")
    assert made.limits.idle_timeout == 300.0
    assert made.limits.message_size_max == 41943040
    assert made.delivery.lifetime == 50400.0
    assert [entry.kind for entry in made.listeners] == ["submission", "submission", "mx", "metrics"]
    assert all(entry.loopback for entry in made.listeners)


def test_the_settings_named_in_documents_are_all_known():
    made = config("""
        hostname: relay.example
        data_dir: /var/lib/relay
        region: local-1
        workers: 2
        run_as: {user: relay, group: relay}
        listeners:
          - {kind: submission, address: "127.0.0.1", port: 2587, tls: starttls}
          - {kind: submission, address: "127.0.0.1", port: 2465, tls: implicit}
          - kind: submission
            address: "127.0.0.1"
            port: 2526
            tls: none
            trust: {networks: ["127.0.0.0/8"], account: "000000000001"}
          - {kind: mx,         address: "127.0.0.1", port: 2525}
          - {kind: http,       address: "127.0.0.1", port: 8080}
          - {kind: console,    address: "127.0.0.1", port: 8081}
          - {kind: metrics,    address: "127.0.0.1", port: 9090}
        tls: {certificate: tls/cert.pem, key: tls/key.pem}
        limits: {message_size_max: 41943040, recipients_max: 50, smtp_recipients_max: 1000, connections_max: 5000,
                 idle_timeout: 300s}
        contact: postmaster@relay.example
        dns: {nameservers: ["127.0.0.1:5353"], timeout: 5s, nxdomain: bounce}
        delivery: {port: 25, source_addresses: [], lifetime: 14h, retry: [1m, 5m, 15m, 30m, 1h],
                   allow_private_destinations: false}
        routes: [{domain: "*.internal.example", smarthost: "10.0.0.5:25"}]
        bounce_domain: bounce.relay.example
        feedback: {retention: 30d}
        events: [{name: all, type: file, path: events.jsonl, types: all}]
    """)
    assert made.listeners[2].trust.account == "000000000001"
    assert made.listeners[3].tls == "starttls"
    assert made.listeners[4].tls == "none"
    assert made.event_file(made.events[0]) == Path("/var/lib/relay/events.jsonl")
    assert len(made.events[0].types) == 10
    assert made.worker_count(8) == 2


@pytest.mark.req("CRED-006")
def test_the_regions_of_the_conversion_script_are_accepted():
    regions = config("hostname: relay.example").smtp.accepted_regions
    assert len(regions) == 14
    assert {"us-east-1", "eu-central-1", "us-gov-west-1"} <= set(regions)


def test_an_account_needs_no_quotes_and_no_octal_is_read():
    made = config("""
        hostname: relay.example
        listeners: [{kind: submission, port: 2526, tls: none, trust: {networks: [10.0.0.0/8], account: 000000000010}}]
    """)
    assert made.listeners[0].trust.account == "000000000010"


def test_an_empty_section_has_its_defaults():
    assert config("hostname: relay.example\nlimits:\nroutes:\nrun_as:\n").limits.errors_max == 20


def test_every_fault_comes_at_once_in_the_order_of_lines():
    assert faults("""\
        hostname: relay_1.example
        workers: yes
        limits:
          idel_timeout: 3s
          errors_max: x
          port: 25
        delivery:
          retry: [1m, 0s, soon]
          lifetime: 50400
        listeners:
          - {kind: submision, porto: 2}
          - {kind: submission, address: 0.0.0.0, port: 25, tls: none}
          - {kind: mx, port: 25}
        events:
          - {name: all, path: events.jsonl, types: [Sent]}
        logging:
          level: inof
    """) == [
        "1: hostname: must not contain an underscore: other mail servers refuse such a name",
        "2: workers: must be `auto` or a number from 1 to 256, not 'yes'",
        "4: limits.idel_timeout: there is no such setting; did you mean `idle_timeout`?",
        "5: limits.errors_max: must be a whole number, not 'x'",
        "6: limits.port: there is no such setting here; did you mean `listeners.port`?",
        "8: delivery.retry[2]: must be a duration such as 30s, 5m, 14h or 30d, not 'soon'",
        "8: delivery.retry[1]: must be at least 0.1s",
        "9: delivery.lifetime: has no unit; write 50400s, 50400m, 50400h or 50400d",
        (
            "11: listeners[0].kind: must be one of submission, mx, http, console, metrics, not 'submision'"
            "; did you mean `submission`?"
        ),
        "11: listeners[0].port: is missing; it has no default",
        "11: listeners[0].porto: there is no such setting; did you mean `port`?",
        (
            "12: listeners[1].tls: `none` would carry passwords in clear; use `starttls`, `implicit`, "
            "a loopback address or `trust`"
        ),
        "13: listeners[2].port: 127.0.0.1:25 is taken by listeners[1] (0.0.0.0); choose another port",
        "15: events[0].types: has no event type 'Sent'; did you mean `Send`?",
        "17: logging.level: must be one of debug, info, warning, error, not 'inof'; did you mean `info`?",
    ]


def test_a_missing_host_name_is_the_only_fault_told():
    assert faults("region: local-1\n") == ["1: hostname: is missing; it has no default"]
    assert faults("") == ["1: hostname: is missing; it has no default"]


def test_a_key_given_twice_names_both_lines():
    assert faults("hostname: a.example\nlimits:\n  errors_max: 1\n  errors_max: 2\n") == [
        "4: limits.errors_max: is given twice, first on line 3; keep one"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("hostname: [a.example\n", "2: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("hostname: a\n\tb: c\n", "2: is not YAML: found character '\\t' that cannot start any token"),
        ("hostname: a.example\n---\nhostname: b.example\n", "2: is not YAML: but found another document"),
        ("- a\n- b\n", "1: must be settings, one `key: value` a line, not a list or a single value"),
        ("hostname: a.example\nregion: a\x01b\n", "2: contains a character that YAML forbids"),
        ("? [a, b]\n: c\nhostname: a.example\n", "1: has a list or mapping where a key belongs"),
        ("a: " + "[" * 5000 + "\n", "1: is nested too deeply for a configuration"),
        ("hostname: a.example\n<<: {region: x}\n", "2: <<: there is no such setting; known here: "),
    ],
)
def test_what_is_not_yaml_has_a_line_and_a_sentence(text, fault):
    assert any(found.startswith(fault) for found in faults(text)), faults(text)


@pytest.mark.parametrize("text", ["hostname: [a.example\n", "- a\n- b\n"])
def test_what_cannot_be_read_at_all_is_not_told_what_is_missing(text):
    assert len(faults(text)) == 1


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!secret", "!!binary"])
def test_a_tag_constructs_nothing(tag):
    found = faults(f"hostname: relay.example\nregion: {tag} [x]\n")
    assert found[0].startswith("2: region: uses the tag ")
    assert "write the plain value" in found[0]


def test_aliases_that_multiply_end_at_a_bound():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert any("nested too deeply or too long" in fault for fault in faults("\n".join(lines)))


def test_an_alias_to_itself_ends_at_a_bound():
    assert any("nested too deeply" in fault for fault in faults("hostname: a.example\nroutes: &r [*r]\n"))


def test_control_characters_of_the_file_never_reach_the_error():
    found = faults('hostname: a.example\n"bad\\e[31mkey\\n": 1\n')
    assert "\x1b" not in found[0]
    assert "\n" not in found[0]


def test_a_file_that_is_not_utf8_names_the_line(tmp_path):
    file = tmp_path / "relay.yaml"
    file.write_bytes(b"hostname: a.example\nregion: \xff\n")
    with pytest.raises(InvalidConfigurationError, match=r"relay\.yaml:2: is not UTF-8"):
        load(file)


def test_a_huge_file_is_not_read(tmp_path):
    file = tmp_path / "relay.yaml"
    file.write_bytes(b"#" * ((4 << 20) + 1))
    with pytest.raises(ConfigurationError, match="larger than 4 MiB"):
        load(file)


def test_an_unreadable_file_is_a_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_relative_paths_start_from_the_file(tmp_path):
    file = tmp_path / "relay.yaml"
    file.write_text("hostname: relay.example\ndata_dir: data\nroutes: [{domain: a.example, smarthost: b.example, "
                    "username: u, password_file: secret, tls: require}]\n")  # fmt: skip
    made = load(file).config
    assert made.data_dir == tmp_path / "data"
    assert made.routes[0].password_file == tmp_path / "secret"


def test_a_password_is_not_in_the_text_of_a_configuration():
    made = config("hostname: relay.example\nroutes: [{domain: a.example, smarthost: b.example, username: u, "
                  "password: s3cret, tls: require}]")  # fmt: skip
    assert "s3cret" not in repr(made) + str(made)
    assert made.routes[0].password.get_secret_value() == "s3cret"


def test_the_file_is_found_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, variable = tmp_path / "given.yaml", tmp_path / "variable.yaml"
    for file in (given, variable):
        file.write_text("hostname: relay.example\n")
    assert find_file(given, {"RELAY_CONFIG": str(variable)}) == given
    assert find_file(None, {"RELAY_CONFIG": str(variable)}) == variable
    (tmp_path / "relay.yaml").write_text("hostname: relay.example\n")
    assert find_file(None, {}) == tmp_path / "relay.yaml"


def test_the_system_file_comes_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "etc.yaml"
    monkeypatch.setattr("relay.runtime.config.load.SYSTEM_FILE", system)
    with pytest.raises(
        ConfigurationError, match=r"There is no configuration: .* -c FILE or RELAY_CONFIG, .*relay init"
    ):
        find_file(None, {})
    system.write_text("hostname: relay.example\n")
    assert find_file(None, {}) == system


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigurationError, match="named by -c, does not exist"):
        find_file(tmp_path / "no.yaml", {})
    with pytest.raises(ConfigurationError, match="named by RELAY_CONFIG, is not a file"):
        find_file(None, {"RELAY_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    ("route", "port"),
    [
        ("smarthost: b.example", 25),
        ("smarthost: b.example, tls: require", 25),
        ("smarthost: b.example, tls: implicit", 465),
        ("smarthost: '192.0.2.1', tls: implicit", 465),
        ("smarthost: '2001:db8::1', tls: implicit", 465),
        ("smarthost: 'b.example:2465', tls: implicit", 2465),
        ("tls: implicit, smarthost: '[2001:db8::1]:2465'", 2465),
    ],
)
def test_the_port_of_a_smart_host(route, port):
    made = config(f"hostname: relay.example\nroutes: [{{domain: a.example, {route}}}]")
    assert made.routes[0].smarthost.port == port


@pytest.mark.parametrize("smarthost", ["''", "'b.example:0'", "7", "[]", "'bad host'"])
def test_a_wrong_smart_host_is_told_with_implicit_tls_too(smarthost):
    text = f"hostname: a.example\nroutes: [{{domain: a.example, smarthost: {smarthost}, tls: implicit}}]\n"
    assert any("routes[0].smarthost" in fault for fault in faults(text))
