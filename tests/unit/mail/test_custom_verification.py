"""Custom verification mails: the allow-list of tags, and the mail that is made of them."""

import base64
import email
import email.policy
import time

import pytest

from relay.mail import custom_verification as custom
from relay.mail.custom_verification import InvalidContentError, check_content, custom_request
from relay.mail.headers import parse_head
from relay.mail.letter import Letterhead
from relay.model.verification import VerificationTemplate

OURS = Letterhead("Relay", "local-1", "relay.example", "no-reply@relay.example", "abuse@relay.example")
COMMON = "class id style title"
# The table of the guide (creating-identities.md, Q5): 64 tags with the four common attributes, ten with more.
GUIDE = {
    **dict.fromkeys(
        (  # noqa: SIM905 - lines of words are easier to read
            "abbr acronym address area b bdo big body br button caption center cite code dd del dfn dir div dl dt em"
            " fieldset font form h1 h2 h3 h4 h5 h6 head hr html i input ins kbd label legend li map menu optgroup"
            " option p pre s samp select small span strike strong sub sup tbody textarea tfoot thead tr tt u var"
        ).split(),
        COMMON,
    ),
    "blockquote": f"cite {COMMON}",
    "q": f"cite {COMMON}",
    "col": f"{COMMON} span width",
    "colgroup": f"{COMMON} span width",
    "img": f"align alt {COMMON} height src width",
    "ol": f"{COMMON} start type",
    "ul": f"{COMMON} type",
    "table": f"{COMMON} summary width",
    "td": f"abbr axis colspan rowspan {COMMON} width",
    "th": f"abbr axis colspan rowspan scope {COMMON} width",
}
PNG = base64.b64encode(b"\x89PNG not really").decode()


def template(content):
    return VerificationTemplate("t", "app@x.example", "Bestätigung", content, "https://x/y", "https://x/n")


def made(content):
    head, body = custom_request(OURS, template(content), "joe@y.example", "https://r/verify/t?a&b", now_ms=10**12)
    assert isinstance(parse_head(head), list)
    assert all(len(line) <= 998 for line in body.split(b"\r\n"))
    return email.message_from_bytes(head + body, policy=email.policy.default)


@pytest.mark.req("IDENT-025")
def test_the_allowed_tags_and_attributes_are_those_of_the_guide():
    assert len(GUIDE) == 74
    assert {tag: set(names.split()) for tag, names in GUIDE.items()} == {t: set(a) for t, a in custom.TAGS.items()}


@pytest.mark.req("IDENT-025")
@pytest.mark.parametrize("tag", GUIDE)
def test_each_tag_takes_its_attributes_and_no_others(tag):
    for name in GUIDE[tag].split():
        check_content(f'<{tag} {name}="{"https://x.example/" if name == "src" else "1"}">text')
    for name in ("onclick", "href", "action", "src", "scope", "span"):
        if name not in GUIDE[tag].split():
            with pytest.raises(InvalidContentError, match="not allowed"):
                check_content(f"<{tag} {name}='x'>text")


@pytest.mark.req("IDENT-025")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<!-- hi -->", "comment"),
        ("a<!---->b", "comment"),
        ("<!DOCTYPE html><p>x", "declaration"),
        ("<?php ?>", "declaration"),
        ("<![CDATA[x]]>", "declaration"),
        ("<script>x</script>", "<script>"),
        ("<SCRIPT>x</SCRIPT>", "<script>"),
        ("<a href='x'>x</a>", "<a>"),
        ("<meta charset=utf-8>", "<meta>"),
        ("<svg/onload=x>", "no whole tag"),
        ("<p/onclick=x>", "no whole tag"),
        ("<p\tonclick=x>", "onclick"),
        ("<p ONCLICK=x>", "onclick"),
        ("<p title='a' title='b'>", "twice"),
        ("<p title='a'onclick='b'>", "no whole tag"),
        ('<p title="a>text', "no whole tag"),
        ("1 < 2", "&lt;"),
        ("<p", "no whole tag"),
        ("<", "no whole tag"),
        ("</p title='x'>", "attributes"),
        ("</p>", "closes nothing"),
        ("<b>x</i>", "closes nothing"),
        ("<br></br>", "closes nothing"),
        ("<p>\x00</p>", "control"),
        ("<p>\x1b[0m</p>", "control"),
        ("<body>x</body>y", "end of the body"),
        ("<body>x</body><p>y", "end of the body"),
        ("<html><body>x</body></html> y", "end of the body"),
        ("", "empty"),
        ("<img src='javascript:alert(1)'>", "https://"),
        ("<img src='data:text/html;base64,aGk='>", "data:image"),
        ("<img src='data:image/svg+xml;base64,aGk='>", "data:image"),
        ("<img src='data:image/png;base64,a'>", "base64"),
        ("<img src='data:image/png;base64,aG k='>", "data:image"),
        ("<img src='//x.example/y.png'>", "https://"),
        ("<div>" * 201, "open"),
        (f"<img src='data:image/png;base64,{PNG}'>" * 101, "images"),
        ("<br>" * 50_001, "tags"),
        ("x" * (10 * 1024 * 1024 + 1), "larger"),
    ],
)
def test_everything_else_is_refused_with_the_place(content, says):
    with pytest.raises(InvalidContentError) as refused:
        check_content(content)
    assert says in str(refused.value)
    assert refused.value.code == "CustomVerificationEmailInvalidContent"
    assert len(str(refused.value)) < 300


@pytest.mark.req("IDENT-026")
def test_the_mail_has_link_disclaimer_and_nothing_of_the_senders_choice_in_its_head():
    mail = made("<html><head></head><body style='font-family:sans-serif;'><h1>Ready &amp; set?</h1></body></html>")
    assert mail.get_content_type() == "multipart/alternative"
    assert mail["From"] == "app@x.example"
    assert mail["Subject"] == "Bestätigung"
    assert mail["Auto-Submitted"] == "auto-generated"
    plain, page = mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()
    assert plain.startswith("Ready & set?")
    assert "    https://r/verify/t?a&b" in plain.splitlines()
    for text in (plain, page):
        assert "abuse@relay.example" in text
        assert "ignore this mail" in text
    assert page.index("</h1>") < page.index('<a href="https://r/verify/t?a&amp;b">') < page.index("</body></html>")
    assert [part.get_content_type() for part in mail.walk()][1:] == ["text/plain", "text/html"]


@pytest.mark.req("IDENT-026")
def test_embedded_images_become_inline_attachments():
    content = f"<p>x<img alt='a\"b' src='data:image/jpg;base64,{PNG}'><img src='https://x.example/y.png'></p>"
    mail = made(content)
    [image] = [part for part in mail.walk() if part.get_content_maintype() == "image"]
    assert image.get_content_type() == "image/jpeg"
    assert image.get_content_disposition() == "inline"
    assert image.get_content() == b"\x89PNG not really"
    page = mail.get_body(("related", "html")).get_body(("html",)).get_content()
    assert f'src="cid:{image["Content-ID"].strip("<>")}"' in page
    assert 'alt="a&quot;b"' in page
    assert "data:" not in page
    assert "https://x.example/y.png" in page


@pytest.mark.parametrize("opened", ["<textarea>", "<select><option>", "<div style='display:none'>", "<b><i><u>"])
@pytest.mark.parametrize("frame", ["{}", "<html><body>{}</body></html>", "<html>{}</html>"])
def test_what_is_left_open_does_not_swallow_the_link(opened, frame):
    page = made(frame.format(opened + "x")).get_body(("html",)).get_content()
    names = [part.partition(" ")[0].strip(">") for part in opened.split("<")[1:]]
    closing = "".join(f"</{name}>" for name in reversed(names))
    assert f"x{closing}<hr>" in page


@pytest.mark.parametrize(
    "content",
    [
        "<" * 1_000_000,
        "<p " + "a " * 500_000,
        "<p title=" + '"' * 1_000_000,
        "<p" + " " * 1_000_000,
        "<p class " + " " * 1_000_000 + "x",
        "<b>" * 199 + "</i>",
        ("<b>" * 199 + "</b>" * 199) * 100,
        "<p a='" * 100_000,
        "&" * 1_000_000,
        " \n" * 1_000_000 + "x",
        "<br> \n" * 49_000,
    ],
)
def test_hostile_content_costs_no_more_than_its_size(content):
    begun = time.process_time()
    try:
        check_content(content)
    except InvalidContentError:
        pass
    else:
        made(content)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes
