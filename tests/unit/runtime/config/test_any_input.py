"""Whatever a file holds, loading ends in a configuration or in sentences with lines, never in another error."""

from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.runtime.config.faults import Finding, InvalidConfigurationError
from relay.runtime.config.load import parse
from relay.runtime.config.model import Config
from relay.runtime.config.suggest import settings as known_settings

KEYS = sorted({str(path[-1]) for path in known_settings(Config)} | {"no_such", "", "é"})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["5s", "40MB", "*", "all", "127.0.0.1", "::", "relay.example", "000000000001", "mx", "a@b"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)


def findings(text: str) -> tuple[Finding, ...]:
    try:
        made = parse(text, Path("/etc/relay/relay.yaml"))
    except InvalidConfigurationError as error:
        return error.findings or (Finding("error", "", 0, "", "refused without a reason"),)
    assert isinstance(made.config, Config)
    return ()


def accept_or_tell(text: str) -> None:
    for finding in findings(text):
        assert finding.line >= 1, finding
        assert finding.text
        assert str(finding).isprintable()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200))
def test_any_text(text):
    accept_or_tell(text)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(Config.model_fields)), VALUES, max_size=6))
def test_any_values_in_place_of_settings(document):
    accept_or_tell(yaml.safe_dump({"hostname": "relay.example", **document}, allow_unicode=True))
