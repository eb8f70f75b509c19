"""Who may call: everybody who holds the token, save for the health check, which anybody may ask."""

import hmac
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from afield_gateway.problems import Problem

OPEN_PATHS: Final = frozenset({"/healthz"})


class BearerAuth:
    """ASGI middleware that answers 401 unless a request carries `Authorization: Bearer <token>`."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        if not token:
            raise ValueError("expected a token that is not empty")
        self._app = app
        self._token = token.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        header = Headers(scope=scope).get("authorization", "")
        if self._accepts(header):
            await self._app(scope, receive, send)
        else:
            await _refusal(bool(header)).response()(scope, receive, send)

    def _accepts(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        # Compared in constant time, so that the token cannot be guessed byte by byte.
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), self._token
        )


def _refusal(came: bool) -> Problem:
    what = "the Authorization header holds another token" if came else "there is no Authorization header"
    return Problem(
        401,
        "unauthorized",
        "Unauthorized",
        f"expected `Authorization: Bearer <token>` with this platform's token, but {what}",
        headers={"WWW-Authenticate": 'Bearer realm="afield"'},
    )
