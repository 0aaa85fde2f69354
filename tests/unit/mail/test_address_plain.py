"""The short way for plain addresses decides as the long one does: a million rows take it, and none is judged anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail import address
from relay.mail.address import parse_mailbox

_LOCAL = st.text(alphabet="aB1.-_+'@\" \\,ü", max_size=70)
_LABEL = st.text(alphabet="aB1-.xn_ ü", max_size=66)
_WHOLE = st.one_of(
    st.builds("{}@{}".format, _LOCAL, _LABEL),
    st.builds("{}@{}.{}".format, _LOCAL, _LABEL, _LABEL),
    st.text(max_size=60),
    st.sampled_from(["a@b", "a@1.2.3.4", "a@xn--a", "a@xn--bcher-kva.example", "a" * 65 + "@b.c", "a@" + "b." * 130]),
)


@pytest.mark.parametrize("smtputf8", [True, False])
@given(text=_WHOLE)
def test_plain_addresses_get_the_verdict_of_the_long_way(smtputf8, text):
    found = parse_mailbox(text, smtputf8=smtputf8)
    if address._PLAIN.match(text) and len(text) <= address.MAILBOX_MAX_BYTES:
        assert found == address._parse_unusual(text, smtputf8=smtputf8)
