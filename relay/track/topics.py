"""What consumers of topics visit: certificates, and links that confirm and end subscriptions (TOPIC-112, 122 to 125).

Answers are those of the SNS query API, in XML. Where a link was mailed, a GET shows a page with a button instead,
since scanners of mail open links (TOPIC-125); HEAD changes nothing anywhere. Only the two actions that need no
signature are known here; a token or the UUID of a subscription is what gives the right to them. Bodies and waits are
bounded, nothing is cached but certificates, and faults of ours are told without a reason.
"""

import uuid
from typing import Final
from xml.sax.saxutils import escape

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.errors import RelayError, RequestRefusedError
from relay.model.topic import MAIL, Subscription
from relay.ports import Log, Metrics
from relay.ports.doors import TopicLinks
from relay.track.page import PageWriter, read_form
from relay.track.verification import PageRules

FORM_MAX_BYTES: Final = 8192
XMLNS: Final = "http://sns.amazonaws.com/doc/2010-03-31/"
_METRIC: Final = "relay_topic_pages_total"
_STATUS: Final = {"InvalidParameter": 400, "NotFound": 404, "AuthorizationError": 403}
_CERTIFICATE_SECONDS: Final = 3600


class TopicPages:
    """The routes; `rules` may be replaced while they are served."""

    def __init__(self, rules: PageRules, links: TopicLinks, log: Log, metrics: Metrics) -> None:
        self.rules = rules
        self._links = links
        self._log = log
        self._metrics = metrics
        self._pages = PageWriter()
        self.routes = [
            Route("/SimpleNotificationService-{name}.pem", self._certificate, methods=["GET"]),
            Route("/", self._call, methods=["GET", "POST"]),
        ]

    async def _certificate(self, request: Request) -> Response:
        try:
            found = await self._links.certificate(str(request.path_params["name"]))
        except RelayError as error:
            return self._failed(error)
        if found is None:
            return self._refused("NotFound", "There is no such certificate")
        headers = {"Cache-Control": f"public, max-age={_CERTIFICATE_SECONDS}", "X-Content-Type-Options": "nosniff"}
        return Response(found, media_type="application/x-pem-file", headers=headers)

    async def _call(self, request: Request) -> Response:
        form = await read_form(request, FORM_MAX_BYTES) if request.method == "POST" else {}
        asked = {**dict(request.query_params), **{name: values[0] for name, values in form.items()}}
        deliberate = request.method == "POST" and ("Action" in form or form.get("confirm") == ["yes"])
        acts = {"ConfirmSubscription": self._confirm, "Unsubscribe": self._unsubscribe}
        if "Action" not in asked:
            raise HTTPException(404)
        act = acts.get(asked["Action"])
        if act is None:
            return self._refused("MissingAuthenticationToken", "This action needs a signed request", 403)
        try:
            return await act(asked, deliberate=deliberate, reads=request.method == "HEAD")
        except RequestRefusedError as error:
            self._metrics.count(_METRIC, "refused")
            return self._refused(error.code, str(error).partition(": ")[2])
        except RelayError as error:
            return self._failed(error)

    async def _confirm(self, asked: dict[str, str], *, deliberate: bool, reads: bool) -> Response:
        topic, token = asked.get("TopicArn", ""), asked.get("Token", "")
        found, arn = await self._links.of_token(topic, token)
        if asked.get("AuthenticateOnUnsubscribe", "").lower() == "true":
            raise RequestRefusedError("AuthorizationError", "AuthenticateOnUnsubscribe needs a signed request")
        if reads or (found.protocol in MAIL and not deliberate):
            return self._page("subscribe", "Subscribe to a topic", found)
        await self._links.confirm(topic, token)
        self._metrics.count(_METRIC, "confirmed")
        self._log.info("subscription confirmed", subscription=arn)
        if found.protocol in MAIL and asked.get("confirm") == "yes":
            return self._page("subscribed", "Thank you", found)
        return self._answer("ConfirmSubscription", f"<SubscriptionArn>{escape(arn)}</SubscriptionArn>")

    async def _unsubscribe(self, asked: dict[str, str], *, deliberate: bool, reads: bool) -> Response:
        arn = asked.get("SubscriptionArn", "")
        found = await self._links.of_arn(arn)
        if reads or (found.protocol in MAIL and not deliberate):
            return self._page("unsubscribe", "Unsubscribe from a topic", found)
        await self._links.end(arn)
        self._metrics.count(_METRIC, "ended")
        self._log.info("subscription ended by its endpoint", subscription=arn)
        if found.protocol in MAIL and asked.get("confirm") == "yes":
            return self._page("unsubscribed", "Thank you", found)
        return self._answer("Unsubscribe", "")

    # --- answers -----------------------------------------------------------------------------------------------

    def _page(self, page: str, title: str, found: Subscription) -> Response:
        self._metrics.count(_METRIC, "shown")
        values = {"page": page, "title": title, "product": self.rules.product, "topic": found.topic}
        return self._pages.page("topic.html", 200, values)

    def _answer(self, action: str, result: str) -> Response:
        inner = f"<{action}Result>{result}</{action}Result>" if result else ""
        metadata = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        return self._xml(f'<{action}Response xmlns="{XMLNS}">{inner}{metadata}</{action}Response>', 200)

    def _refused(self, code: str, message: str, status: int = 0) -> Response:
        return self._error("Sender", code, message, status or _STATUS.get(code, 400))

    def _failed(self, error: RelayError) -> Response:
        self._metrics.count(_METRIC, "failed")
        self._log.warning("a link of a topic could not be served", reason=str(error))
        return self._error("Receiver", "InternalError", "Please try again", 500)

    def _error(self, side: str, code: str, message: str, status: int) -> Response:
        text = f"<Type>{side}</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        request = f"<RequestId>{uuid.uuid4()}</RequestId>"
        return self._xml(f'<ErrorResponse xmlns="{XMLNS}"><Error>{text}</Error>{request}</ErrorResponse>', status)

    def _xml(self, text: str, status: int) -> Response:
        return Response(text, status, headers=self._pages.headers(), media_type="text/xml")
