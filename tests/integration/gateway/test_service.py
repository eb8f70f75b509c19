"""The gateway on a real bus: names, calls, errors, health."""

from typing import Any

import httpx
import pytest

from afield._wire.messages import ErrorInfo
from afield_gateway.schemas import Health, ProblemBody
from support.nats import NatsServer
from support.waiting import until

pytestmark = pytest.mark.anyio


def url(app: str, function: str) -> str:
    return f"/v1/apps/{app}/functions/{function}/call"


def problem(response: httpx.Response) -> ProblemBody:
    assert response.headers["content-type"] == "application/problem+json"
    return ProblemBody.model_validate_json(response.content)


async def test_a_function_of_a_running_app_is_called(stack: Any, http: httpx.AsyncClient) -> None:
    """By the names and by the ids of app and function; arguments go there, the value comes back."""
    (record,) = await stack.publish("shop", add=lambda a, b=0: a + b)

    for app in ("shop", record.app_id):
        for function in ("add", record.function_id):
            response = await http.post(url(app, function), json={"args": [1], "kwargs": {"b": 2}})
            assert response.json() == {"result": 3}

    assert len({pack.call_id for pack in stack.inputs}) == 4


async def test_the_call_id_is_the_one_on_the_bus(stack: Any, http: httpx.AsyncClient) -> None:
    """What the header names can be found in streams and logs."""
    await stack.publish("shop", one=lambda: 1)

    response = await http.post(url("shop", "one"))

    assert response.headers["afield-call-id"] == stack.inputs[0].call_id


async def test_an_unknown_app_is_told_with_the_running_ones(stack: Any, http: httpx.AsyncClient) -> None:
    """The registry's list of apps makes the suggestions."""
    await stack.publish("shop", one=lambda: 1)

    found = problem(await http.post(url("shpo", "one")))

    assert (found.status, found.suggestions) == (404, ["shop"])
    assert "running: shop" in found.detail


async def test_an_unknown_function_is_told_with_the_app_s(stack: Any, http: httpx.AsyncClient) -> None:
    """By name and by id, also when the function is another app's."""
    await stack.publish("shop", order=lambda: 1, cancel=lambda: 2)
    (other,) = await stack.publish("other", thing=lambda: 3)

    for function in ("ordr", "fu-aaaaaaaaaaaaaaaa", other.function_id):
        found = problem(await http.post(url("shop", function)))
        assert found.status == 404
        assert found.suggestions is not None
        assert "order" in found.suggestions


async def test_errors_of_a_function_come_with_their_traceback(stack: Any, http: httpx.AsyncClient) -> None:
    """The exception is told as text, never unpickled: broken pickle bytes do not matter."""
    error = ErrorInfo(
        kind="exception",
        message="sold out",
        type_name="shop.SoldOut",
        traceback="Traceback: x",
        exception=b"!",
    )
    await stack.publish("shop", order=lambda: error)

    found = problem(await http.post(url("shop", "order")))

    assert (found.status, found.exception, found.traceback) == (500, "shop.SoldOut", "Traceback: x")
    assert found.instance == stack.inputs[0].call_id


async def test_a_call_that_is_given_up_is_cancelled_on_the_platform(
    stack: Any, http: httpx.AsyncClient
) -> None:
    """After its `?timeout=` the caller gets 504, and the scheduler hears that the call is over."""
    await stack.publish("shop", slow=lambda: None)

    found = problem(await http.post(f"{url('shop', 'slow')}?timeout=0.2"))

    assert found.status == 504
    await until(lambda: stack.cancelled == [stack.inputs[0].call_id])


async def test_large_arguments_and_results_travel(stack: Any, http: httpx.AsyncClient) -> None:
    """Several hundred kilobytes of JSON go both ways."""
    await stack.publish("shop", double=lambda text: text + text)

    response = await http.post(url("shop", "double"), json={"args": ["ä" * 100_000]})

    assert response.json() == {"result": "ä" * 200_000}


async def test_health_asks_bus_registry_and_scheduler(stack: Any, http: httpx.AsyncClient) -> None:
    """All three answer, and the check needs no token."""
    response = await http.get("/healthz", headers={"Authorization": ""})

    health = Health.model_validate_json(response.content)
    assert (response.status_code, health.status) == (200, "ok")


async def test_an_outage_of_the_server_shows_and_passes(
    stack: Any, http: httpx.AsyncClient, own_server: NatsServer
) -> None:
    """While NATS is gone, health is 503; when it is back, calls work again."""
    await stack.publish("shop", one=lambda: 1)
    assert (await http.get("/healthz")).status_code == 200

    own_server.kill9()
    health = await http.get("/healthz")
    own_server.start()

    assert health.status_code == 503
    assert not Health.model_validate_json(health.content).checks["bus"].ok
    assert (await http.post(url("shop", "one"))).json() == {"result": 1}


async def test_metrics_show_the_scheduler_s_figures(http: httpx.AsyncClient) -> None:
    """The backlog that the scheduler reports is there for Prometheus."""
    text = (await http.get("/metrics")).text

    assert "afield_scheduler_up 1.0" in text
    assert 'afield_backlog_packs{function_id="fu-x"} 3.0' in text


async def test_the_gateway_can_be_found_on_the_bus(stack: Any) -> None:
    """`nats micro ls` lists it, with its address."""
    reply = await stack.bus.request("$SRV.INFO.gateway", b"")

    assert stack.url.encode() in reply.data
