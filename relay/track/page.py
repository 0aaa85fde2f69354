"""What all pages have in common: templates, headers that keep a browser from harm, and forms read within bounds."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse

BODY_SECONDS = 10.0


class PageWriter:
    """Writes pages from the templates of this package."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("relay.track", "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )
        style = self._environment.get_template("page.css").render()  # as the pages include it
        self._style_hash = b64encode(hashlib.sha256(style.encode()).digest()).decode()

    def page(
        self, template: str, status: int, values: Mapping[str, object], *, targets: Sequence[str] = ()
    ) -> HTMLResponse:
        """Return a page; `targets` are origins that its form may lead to beside our own."""
        text = self._environment.get_template(template).render(values)
        return HTMLResponse(text, status, headers=self.headers(targets))

    def headers(self, targets: Sequence[str] = ()) -> dict[str, str]:
        """Return the headers of an answer that no browser may keep, frame, sniff or tell others of."""
        allowed = " ".join(("'self'", *targets))
        policy = (
            f"default-src 'none'; style-src 'sha256-{self._style_hash}'; form-action {allowed}; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        return {
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Date": formatdate(usegmt=True),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "X-Robots-Tag": "noindex",
        }


async def read_form(request: Request, bytes_max: int) -> dict[str, list[str]]:
    """Return the fields of a form; none of one that is larger, or slower than a form, and is not read to its end."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > bytes_max:
                    return {}
    except (TimeoutError, ClientDisconnect):
        return {}
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=100)
    except ValueError:
        return {}
