"""Calls over HTTP: what goes in, what comes out, what is refused."""

import json
from typing import Any

import anyio
import httpx
import pytest

from afield._wire.functions import MethodSpec
from afield._wire.messages import ErrorInfo, ErrorKind
from afield_gateway.schemas import CallResponse, ProblemBody

pytestmark = pytest.mark.anyio

URL = "/v1/apps/shop/functions/order/call"


def problem(response: httpx.Response) -> ProblemBody:
    """Return the problem document of a response, which it must be."""
    assert response.headers["content-type"] == "application/problem+json"
    body = ProblemBody.model_validate_json(response.content)
    assert body.status == response.status_code
    return body


async def test_arguments_and_result_are_json(http: httpx.AsyncClient) -> None:
    """Positional and named arguments reach the function, its value comes back with the id of the call."""
    response = await http.post(URL, json={"args": [1, "ä"], "kwargs": {"deep": {"x": [None, 1.5]}}})

    assert response.status_code == 200
    assert CallResponse.model_validate_json(response.content).result == {
        "args": [1, "ä"],
        "kwargs": {"deep": {"x": [None, 1.5]}},
    }
    assert response.headers["afield-call-id"].startswith("fc-")


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b'{"args": []}', b'{"kwargs": {}}'])
async def test_arguments_may_be_left_out(http: httpx.AsyncClient, body: bytes) -> None:
    """No body, or one without args or kwargs, is a call without arguments."""
    response = await http.post(URL, content=body)

    assert response.json() == {"result": {"args": [], "kwargs": {}}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "expected JSON"),
        (b"[1, 2]", "the body"),
        (b'{"args": 1}', "args"),
        (b'{"args": {"a": 1}}', "args"),
        (b'{"kwargs": [1]}', "kwargs"),
        (b'{"arguments": [1]}', "arguments"),
        (b'{"args": [NaN]}', "NaN"),
        (b"\xff\xfe\xfd", "expected JSON"),
        (b"[" * 2000, "expected JSON"),
    ],
)
async def test_a_body_of_another_shape_is_a_400(http: httpx.AsyncClient, body: bytes, said: str) -> None:
    """What is not the expected JSON is refused, and the answer says what is wrong with it."""
    found = problem(await http.post(URL, content=body))

    assert found.status == 400
    assert said in found.detail


async def test_another_content_type_is_a_415(http: httpx.AsyncClient) -> None:
    """A form is not JSON, even if it looks like it."""
    response = await http.post(URL, content=b"{}", headers={"Content-Type": "text/plain; charset=utf-8"})

    assert problem(response).status == 415


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_a_413(http: httpx.AsyncClient, chunked: bool) -> None:
    """A body over the limit is refused, whether or not its length was announced."""
    body = json.dumps({"args": ["x" * 5000]}).encode()

    async def parts() -> Any:
        yield body[:2500]
        yield body[2500:]

    response = await http.post(URL, content=parts() if chunked else body)

    assert problem(response).status == 413


async def test_an_unknown_app_is_a_404_with_suggestions(http: httpx.AsyncClient) -> None:
    """What the backend says of a name reaches the caller."""
    found = problem(await http.post("/v1/apps/shpo/functions/order/call"))

    assert (found.status, found.suggestions) == (404, ["shop"])


async def test_generators_are_refused(http: httpx.AsyncClient, backend: Any) -> None:
    """A function that yields has no single result; the answer says what to do."""
    backend.is_generator = True

    found = problem(await http.post(URL))

    assert found.status == 422
    assert "remote_gen" in found.detail


async def test_classes_are_refused(http: httpx.AsyncClient, backend: Any) -> None:
    """A class is not called, its methods are; the answer says what to do."""
    backend.methods = {"run": MethodSpec()}

    found = problem(await http.post(URL))

    assert found.status == 422
    assert "Cls.from_name" in found.detail


@pytest.mark.parametrize(
    ("kind", "status"),
    [("exception", 500), ("timeout", 504), ("unschedulable", 503), ("cancelled", 409), ("lost", 500)],
)
async def test_errors_of_the_call_are_problems(
    http: httpx.AsyncClient, backend: Any, kind: ErrorKind, status: int
) -> None:
    """How a call failed decides the status; exception, traceback, exit code and logs travel along."""

    async def fail() -> ErrorInfo:
        return ErrorInfo(
            kind=kind,
            message="no",
            type_name="shop.Sad",
            traceback="Traceback",
            exit_code=3,
            log_tail=("last",),
        )

    backend.answer = fail

    found = problem(await http.post(URL))

    assert (found.status, found.exception, found.traceback) == (status, "shop.Sad", "Traceback")
    assert (found.exit_code, found.logs, found.detail) == (3, ["last"], "shop.Sad: no")
    assert found.instance is not None


@pytest.mark.parametrize(
    ("frames", "status", "kind"),
    [
        ("", 422, "wrong-arguments"),
        ('  File "shop.py", line 3, in total\n    price + tax\n', 500, "function-raised"),
    ],
)
async def test_arguments_that_do_not_fit_are_the_caller_s_fault(
    http: httpx.AsyncClient, backend: Any, frames: str, status: int, kind: str
) -> None:
    """A TypeError with a line of the user's own in its traceback was raised by the function."""

    async def fail() -> ErrorInfo:
        text = f"Traceback (most recent call last):\n{frames}TypeError: no"
        return ErrorInfo(kind="exception", message="no", type_name="TypeError", traceback=text)

    backend.answer = fail

    found = problem(await http.post(URL))

    assert (found.status, found.type) == (status, f"urn:afield:problem:{kind}")


async def test_a_result_without_a_json_form_is_told(http: httpx.AsyncClient, backend: Any) -> None:
    """The problem names the place in the result that cannot be JSON."""

    async def mixed() -> Any:
        return {"ok": 1, "bad": [b"bytes"]}

    backend.answer = mixed

    found = problem(await http.post(URL))

    assert found.type == "urn:afield:problem:result-not-json"
    assert "bytes at result['bad'][0]" in found.detail


async def test_a_call_that_takes_too_long_is_cancelled(http: httpx.AsyncClient, backend: Any) -> None:
    """`?timeout=` bounds the wait: then comes 504, and the call does not go on."""
    backend.answer = anyio.sleep_forever

    found = problem(await http.post(f"{URL}?timeout=0.05"))

    assert found.status == 504
    assert backend.cancelled


@pytest.mark.parametrize("timeout", ["soon", "0", "-1", "nan", "inf"])
async def test_a_timeout_is_a_number_of_seconds(http: httpx.AsyncClient, timeout: str) -> None:
    """Anything else is refused before anything runs."""
    assert problem(await http.post(f"{URL}?timeout={timeout}")).status == 400


async def test_a_bug_is_a_problem_without_details(http: httpx.AsyncClient, make: Any, backend: Any) -> None:
    """An unexpected error is answered with 500 and logged, not told."""

    async def crash() -> None:
        raise RuntimeError("secret detail")

    backend.answer = crash
    transport = httpx.ASGITransport(make(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://g", headers=http.headers) as client:
        found = problem(await client.post(URL))

    assert found.status == 500
    assert "secret" not in found.detail
