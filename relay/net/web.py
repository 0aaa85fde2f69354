"""HTTPS to hosts that strangers name: one request, no more (RFC 8461 section 3.3, RFC 8460 section 5.4).

Promises: the host's addresses are looked up here and judged before anybody connects, and the connection goes to the
address that was judged; the certificate must be trusted and for the host's name, which is in the handshake (SNI);
redirects are not followed, cookies and proxies not used; the whole takes at most `timeout_seconds`; a longer answer
than asked for is a failure.

This module owns `httpx` and imports it with the first request; `relay.net.rspamd` asks it for a client.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.net import client_tls
from relay.ports import Resolver, ResolverError

if TYPE_CHECKING:
    import httpx

HTTPS_PORT = 443
ADDRESSES_TRIED_MAX = 3
_REFUSED = "no address that may be connected to"


class WebError(Exception):
    """A request that came to nothing.

    `certificate`: the host could not show who it is; `refused`: its address must not be connected to.

    Raised by this module only, and always caught where the request was made.
    """

    def __init__(self, text: str, *, certificate: bool = False, refused: bool = False) -> None:
        super().__init__(text)
        self.certificate = certificate
        self.refused = refused


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What a host answered: its status, the media type without parameters (lower case), the body."""

    status: int
    media_type: str
    body: bytes


def new_client(**options: Any) -> "httpx.AsyncClient":
    """Return a client that keeps nothing between requests and obeys no environment variable."""
    import httpx  # noqa: PLC0415 (see above)

    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(limits=limits, trust_env=False, follow_redirects=False, **options)


def client_failures() -> tuple[type[Exception], ...]:
    """Return what a client of ours may raise."""
    import httpx  # noqa: PLC0415 (see above)

    return httpx.HTTPError, httpx.InvalidURL, httpx.StreamError


def digest_answer(url: str, challenge: str, login: str) -> str:
    """Return the `Authorization` that answers the Digest challenge to a POST, "" when it cannot be (RFC 7616)."""
    import httpx  # noqa: PLC0415 (see above)

    user, _, password = login.partition(":")
    request = httpx.Request("POST", url)
    flow = httpx.DigestAuth(user, password).auth_flow(request)
    next(flow)
    failures: tuple[type[Exception], ...] = (
        StopIteration,
        NotImplementedError,
        ValueError,
        KeyError,
        *client_failures(),
    )
    try:
        answered = flow.send(httpx.Response(401, headers={"WWW-Authenticate": challenge}, request=request))
    except failures:
        return ""
    return str(answered.headers.get("Authorization", ""))


class Web:
    """Makes requests. `judge` says why an address must not be connected to, "" when it may be."""

    def __init__(
        self,
        resolver: Resolver,
        judge: Callable[[str], str],
        *,
        timeout_seconds: float,
        ca_file: str = "",
        port: int = HTTPS_PORT,
    ) -> None:
        self._resolver = resolver
        self._judge = judge
        self._timeout_seconds = timeout_seconds
        self._port = port
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    async def get(self, host: str, path: str, answer_bytes_max: int) -> WebAnswer:
        """Get `https://host/path`. Raise WebError."""
        return await self._request("GET", host, path, {}, b"", answer_bytes_max)

    async def post(self, host: str, path: str, media_type: str, body: bytes, answer_bytes_max: int) -> WebAnswer:
        """Post a body to `https://host/path`. Raise WebError."""
        return await self._request("POST", host, path, {"Content-Type": media_type}, body, answer_bytes_max)

    async def _request(  # noqa: PLR0917 - the parts of a request
        self, method: str, host: str, path: str, headers: dict[str, str], body: bytes, answer_bytes_max: int
    ) -> WebAnswer:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                addresses = await self._addresses(host)
                return await self._first(method, host, addresses, path, headers, body, answer_bytes_max)
        except TimeoutError:
            raise WebError(f"{host} took longer than {self._timeout_seconds:g} s") from None

    async def _addresses(self, host: str) -> Sequence[str]:
        try:
            found = await self._resolver.addresses(host)
        except ResolverError as error:
            found = error.found  # of one family, where the other was not answered
            if not found:
                raise WebError(f"{host} cannot be looked up: {error}") from None
        if not found:
            raise WebError(f"{host} has no address")
        allowed = [address for address in found if not self._judge(address)]
        if not allowed:
            raise WebError(f"{host} has {_REFUSED}", refused=True)
        return allowed[:ADDRESSES_TRIED_MAX]

    async def _first(  # noqa: PLR0917 - the parts of a request
        self,
        method: str,
        host: str,
        addresses: Sequence[str],
        path: str,
        headers: dict[str, str],
        body: bytes,
        answer_bytes_max: int,
    ) -> WebAnswer:
        """Ask the first address that can be connected to."""
        import httpx  # noqa: PLC0415 (see above)

        if self._context is None:  # reads the list of authorities
            self._context = await asyncio.to_thread(client_tls.verified, self._ca_file)
        failure = WebError(f"{host} cannot be connected to")
        async with new_client(verify=self._context, timeout=self._timeout_seconds) as client:
            for address in addresses:
                shown = f"[{address}]" if ":" in address else address
                request = client.build_request(
                    method,
                    f"https://{shown}:{self._port}{path}",
                    headers={**headers, "Host": host, "Accept-Encoding": "identity", "User-Agent": "Relay"},
                    content=body or None,
                    extensions={"sni_hostname": host},
                )
                try:
                    return await _answered(client, request, host, answer_bytes_max)
                except httpx.ConnectError as error:
                    failure = _connect_failure(host, error)
                except client_failures() as error:
                    raise WebError(f"{host}: {str(error) or type(error).__name__}") from None
        raise failure


async def _answered(
    client: "httpx.AsyncClient", request: "httpx.Request", host: str, answer_bytes_max: int
) -> WebAnswer:
    answer = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > answer_bytes_max:
                raise WebError(f"{host} answered with more than {answer_bytes_max} bytes")
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return WebAnswer(answer.status_code, media_type, bytes(body))
    finally:
        await answer.aclose()


def _connect_failure(host: str, error: Exception) -> WebError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return WebError(f"certificate of {host}: {cause.verify_message}", certificate=True)
        cause = cause.__cause__ or cause.__context__
    return WebError(f"{host} cannot be connected to: {error}")
