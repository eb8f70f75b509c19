"""Routes: authentication, health, metrics, and an OpenAPI document that tells the truth."""

from typing import Any

import anyio
import httpx
import pytest

from afield._bus.errors import BusError
from afield._wire.api import FleetStats
from afield._wire.codec import encode, unpack
from afield._wire.functions import ContainerRecord, Resources, WorkerRecord
from afield_gateway import health
from afield_gateway.schemas import Health, ProblemBody

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cret2"])
@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/v1/apps/a/functions/b/call", "/nowhere"])
async def test_everything_else_needs_the_token(http: httpx.AsyncClient, header: str, path: str) -> None:
    """Without the right token nothing is told, not even which paths there are."""
    response = await http.get(path, headers={"Authorization": header})

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "Authorization" in ProblemBody.model_validate_json(response.content).detail


async def test_the_scheme_is_case_insensitive(http: httpx.AsyncClient) -> None:
    """RFC 9110: the name of the scheme has no case."""
    assert (await http.get("/openapi.json", headers={"Authorization": "bearer s3cret"})).status_code == 200


async def test_health_needs_no_token(http: httpx.AsyncClient) -> None:
    """A load balancer may ask; it learns what answers."""
    response = await http.get("/healthz", headers={"Authorization": ""})

    found = Health.model_validate_json(response.content)
    assert (response.status_code, found.status) == (200, "ok")
    assert set(found.checks) == {"bus", "registry", "scheduler"}


async def test_health_names_what_does_not_answer(
    http: httpx.AsyncClient, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One part that is silent and one that is broken make 503, and the body says which and why."""

    async def broken() -> None:
        raise BusError("no responders")

    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    probes.update(registry=broken, scheduler=anyio.sleep_forever)

    response = await http.get("/healthz")

    checks = Health.model_validate_json(response.content).checks
    assert response.status_code == 503
    assert checks["bus"].ok
    assert checks["registry"].detail == "no responders"
    assert "no answer within" in checks["scheduler"].detail


async def test_requests_are_counted(http: httpx.AsyncClient) -> None:
    """Requests show up by route and status; paths that callers make up share one label."""
    for path in ("/nowhere/1", "/nowhere/2"):
        await http.get(path)
    await http.post("/v1/apps/shop/functions/order/call")

    text = (await http.get("/metrics")).text

    assert 'afield_gateway_requests_total{method="GET",route="none",status="404"} 2.0' in text
    assert 'afield_gateway_requests_total{method="POST",route="call",status="200"} 1.0' in text
    assert 'afield_gateway_request_seconds_count{route="call"} 1.0' in text


async def test_the_fleet_is_in_the_metrics(http: httpx.AsyncClient, fleet: list[FleetStats | None]) -> None:
    """Workers, containers, busy packs and backlog come from the scheduler."""
    container = ContainerRecord(
        container_id="ta-1",
        function_id="fu-1",
        app_id="ap-1",
        state="ready",
        pid=1,
        started_at=0.0,
        resources=Resources(),
        busy=2,
    )
    worker = WorkerRecord(
        worker_id="wk-1",
        host="h",
        pid=1,
        started_at=0.0,
        cpus=2.0,
        memory_mib=100,
        runners=("process",),
        containers=(container,),
    )
    fleet[0] = FleetStats(leader="a", workers=(unpack(encode(worker)),), backlog={"fu-1": 7})

    text = (await http.get("/metrics")).text

    assert 'afield_workers{state="active"} 1.0' in text
    assert 'afield_containers{function_id="fu-1",state="ready"} 1.0' in text
    assert 'afield_busy_packs{function_id="fu-1"} 2.0' in text
    assert 'afield_backlog_packs{function_id="fu-1"} 7.0' in text
    assert "afield_scheduler_up 1.0" in text


async def test_metrics_survive_a_silent_scheduler(
    http: httpx.AsyncClient, fleet: list[FleetStats | None]
) -> None:
    """No answer shows as such; figures of another time are not shown."""
    fleet[0] = FleetStats(leader="a", workers=(), backlog={"fu-1": 7})
    await http.get("/metrics")
    fleet[0] = None

    text = (await http.get("/metrics")).text

    assert "afield_scheduler_up 0.0" in text
    assert 'afield_backlog_packs{function_id="fu-1"}' not in text


async def test_a_wrong_method_is_a_problem(http: httpx.AsyncClient) -> None:
    """The router's refusals have the same form as ours."""
    response = await http.get("/v1/apps/shop/functions/order/call")

    found = ProblemBody.model_validate_json(response.content)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert found.type == "urn:afield:problem:method-not-allowed"


async def test_answers_are_dated(http: httpx.AsyncClient) -> None:
    """RFC 9110 wants a Date on what has a clock behind it."""
    assert (await http.get("/healthz")).headers["date"].endswith("GMT")


async def test_openapi_lists_exactly_what_is_served(http: httpx.AsyncClient) -> None:
    """Each path of the document answers to its method with a status that the document declares."""
    document = (await http.get("/openapi.json")).json()

    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            url = path.replace("{app}", "shop").replace("{function}", "order")
            response = await http.request(method.upper(), url)
            declared = operation["responses"][str(response.status_code)]["content"]
            assert response.headers["content-type"].partition(";")[0] in {
                kind.partition(";")[0] for kind in declared
            }


async def test_every_reference_in_openapi_resolves(http: httpx.AsyncClient) -> None:
    """`$ref`s lead to schemas that the document holds."""
    text = (await http.get("/openapi.json")).text
    schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]

    named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named
    assert named <= set(schemas)
