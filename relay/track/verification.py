"""The page of a verification link (IDENT-019): opening it shows what is asked, only its button verifies.

Scanners of mail open links; some follow redirects and run scripts. So a GET changes nothing whatever it carries, and
a POST counts only with the form's field. A link that is unknown, used, voided or too old gets one and the same
answer, unless a custom mail named a page for that case (IDENT-027). No script, no asset from elsewhere, nothing
cached, no referrer; request bodies and waits are bounded. Redirects go only to addresses that were stored with the
template.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.errors import RelayError
from relay.model.verification import VerificationLink
from relay.policy.weburl import origin_of
from relay.ports import Confirmations, Log, Metrics
from relay.track.page import PageWriter, read_form

BODY_MAX_BYTES = 1024
RETRY_SECONDS = 60
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}\Z")
_METRIC = "relay_verification_links_total"


@dataclass(frozen=True, slots=True)
class PageRules:
    """What the pages say about us."""

    product: str
    region: str


class VerificationPages:
    """The application behind `http` listeners; `rules` may be replaced while it serves."""

    def __init__(self, rules: PageRules, confirmations: Confirmations, log: Log, metrics: Metrics) -> None:
        self.rules = rules
        self._confirmations = confirmations
        self._log = log
        self._metrics = metrics
        self._pages = PageWriter()
        self.routes = [Route("/verify/{token}", self._serve, methods=["GET", "POST"])]

    def app(self, more: Sequence[Route] = ()) -> Starlette:
        """Return the application with these pages and others."""
        return Starlette(routes=[*self.routes, *more], exception_handlers={HTTPException: self._other})

    # --- requests ----------------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> Response:
        return await (self._confirm(request) if request.method == "POST" else self._show(request))

    async def _show(self, request: Request) -> Response:
        try:
            link = await self._look(request)
        except RelayError as error:
            return self._later(error)
        if link is None or not link.usable:
            return self._unusable(link)
        self._metrics.count(_METRIC, "shown")
        return self._answer("confirm", "Verify your email address", 200, link)

    async def _confirm(self, request: Request) -> Response:
        if not await _confirms(request):
            return await self._show(request)
        try:
            token = _token(request)
            link = await self._confirmations.confirm(token) if token else None
        except RelayError as error:
            return self._later(error)
        if link is None or not link.usable:
            return self._unusable(link)
        self._metrics.count(_METRIC, "verified")
        self._log.info("address verified", account=link.account, identity=link.address)
        if link.success_url:
            return self._redirect(link.success_url)
        return self._answer("verified", "Thank you", 200, link)

    async def _other(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = self._answer("other", "Not found", error.status_code, None)
        answer.headers.update(error.headers or {})
        return answer

    async def _look(self, request: Request) -> VerificationLink | None:
        token = _token(request)
        return await self._confirmations.look(token) if token else None

    # --- answers -----------------------------------------------------------------------------------------------

    def _unusable(self, link: VerificationLink | None) -> Response:
        self._metrics.count(_METRIC, "unusable")
        if link is not None and link.failure_url:
            return self._redirect(link.failure_url)
        return self._answer("unusable", "This link cannot be used", 404, None)

    def _later(self, error: RelayError) -> Response:
        self._metrics.count(_METRIC, "temporary")
        self._log.warning("a verification link could not be looked up", reason=str(error))
        answer = self._answer("later", "Please try again", 503, None)
        answer.headers["Retry-After"] = str(RETRY_SECONDS)
        return answer

    def _redirect(self, url: str) -> Response:
        """Send a browser on with a GET; the address was checked when the template was stored."""
        return RedirectResponse(url, 303, headers=self._pages.headers())

    def _answer(self, page: str, title: str, status: int, link: VerificationLink | None) -> Response:
        rules = self.rules
        values = {"page": page, "title": title, "product": rules.product, "region": rules.region, "link": link}
        # A browser holds redirects after a form to form-action too, so the pages of a template are named there.
        urls = (link.success_url, link.failure_url) if link else ()
        targets = sorted({origin_of(url) for url in urls if url})
        return self._pages.page("page.html", status, values, targets=targets)


def _token(request: Request) -> str:
    """Return the token of the address, "" when it has not the form of one."""
    token = str(request.path_params["token"])
    return token if _TOKEN.match(token) else ""


async def _confirms(request: Request) -> bool:
    """Say whether a POST is that of our form."""
    return (await read_form(request, BODY_MAX_BYTES)).get("confirm") == ["yes"]
