"""Content of custom verification mails: refused, or another parser sees the allowed tags in it and no others."""

import email
import email.policy
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from relay.mail import custom_verification as custom
from relay.mail.custom_verification import InvalidContentError, check_content, custom_request
from relay.mail.letter import Letterhead
from relay.model.verification import VerificationTemplate

OURS = Letterhead("Relay", "local-1", "relay.example", "no-reply@relay.example", "abuse@relay.example")
PIECES = st.sampled_from(
    [
        "<p>", "</p>", "<b>", "</b>", "<br/>", "<body>", "</body>", "<html>", "</html>", "<script>", "</script>",
        "<textarea>", "</textarea>", "<!--", "-->", "<!", "<?", "<", ">", "</", "/>", '"', "'", "=", " ", "\n", "\t",
        "<p title=", "<p title='", '<p class="a', "<img src=", "data:image/png;base64,aGk=", "https://x.example/",
        " onclick=x", "href", "x", "&lt;", "&#0;", "\x0c", "\u00e9", "`",
    ]
)  # fmt: skip
CONTENT = st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=60))


class Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.seen = []
        self.strange = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, [name for name, _ in attrs]))

    def handle_comment(self, data):
        self.strange.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@given(CONTENT)
def test_what_is_accepted_holds_what_is_allowed_to_another_reader_too(content):
    try:
        check_content(content)
    except InvalidContentError:
        return
    reader = Reader()
    reader.feed(content)
    reader.close()
    assert reader.strange == []
    for tag, attributes in reader.seen:
        assert set(attributes) <= custom.TAGS[tag]
    template = VerificationTemplate("t", "app@x.example", "Hi", content, "", "")
    head, body = custom_request(OURS, template, "joe@y.example", "https://r/verify/t", now_ms=10**12)
    mail = email.message_from_bytes(head + body, policy=email.policy.default)
    for kind in ("plain", "html"):
        assert "https://r/verify/t" in mail.get_body((kind,)).get_content()
