"""The OpenAPI document, made from the same schemas that requests are checked against."""

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from afield_common import VERSION
from afield_gateway import metrics, problems
from afield_gateway.schemas import CallRequest, CallResponse, Health, ProblemBody

_REF: Final = "#/components/schemas/{model}"

CALL_PROBLEMS: Final = {
    400: "The body is not the JSON that was expected.",
    401: "The token is missing or wrong.",
    404: "There is no such running app, or no such function in it.",
    409: "The call was cancelled.",
    413: "The body is too large.",
    415: "The body is of another type than JSON.",
    422: "The function does not take these arguments, or cannot be called over HTTP: it is a generator or a class.",
    500: "The function raised, or its container could not be started or died, or its result has no JSON form.",
    503: "The platform cannot run the function now.",
    504: "The function, or the call, took longer than it may.",
}


def document(url: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a gateway that is reached at `url`."""
    models = [(model, "validation") for model in (CallRequest, CallResponse, Health, ProblemBody)]
    _, schemas = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "afield gateway",
            "version": VERSION,
            "description": "Calls Python functions of running apps. Errors are problem documents (RFC 9457).",
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "paths": {
            "/v1/apps/{app}/functions/{function}/call": {"post": _call()},
            "/healthz": {"get": _health()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _self()},
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _call() -> dict[str, Any]:
    seconds = {"type": "number", "exclusiveMinimum": 0}
    return {
        "operationId": "callFunction",
        "summary": "Call a function and wait for its result",
        "description": (
            "The function runs in a container. When the caller closes the connection before the end, or the time is "
            "up, the call is cancelled."
        ),
        "parameters": [
            _parameter("app", "path", "Name or id of a running app."),
            _parameter("function", "path", "Name or id of a function of the app."),
            _parameter(
                "timeout", "query", "Seconds to wait for the result, up to the gateway's limit.", seconds
            ),
        ],
        "requestBody": {"required": False, "content": _content("application/json", "CallRequest")},
        "responses": {
            "200": {
                "description": "The function returned.",
                "headers": {
                    "Afield-Call-Id": {"schema": {"type": "string"}, "description": "Id of the call."}
                },
                "content": _content("application/json", "CallResponse"),
            },
            **{str(status): _problem(text) for status, text in CALL_PROBLEMS.items()},
        },
    }


def _health() -> dict[str, Any]:
    content = _content("application/json", "Health")
    return {
        "operationId": "health",
        "summary": "Whether calls can be made now",
        "security": [],
        "responses": {
            "200": {"description": "Bus, registry and scheduler answer.", "content": content},
            "503": {"description": "At least one of them does not.", "content": content},
        },
    }


def _metrics() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "operationId": "metrics",
        "summary": "Figures in Prometheus' text format",
        "responses": {
            "200": {"description": "The figures.", "content": {metrics.MEDIA_TYPE: {"schema": text}}},
            "401": _problem(CALL_PROBLEMS[401]),
        },
    }


def _self() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "summary": "This document",
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "401": _problem(CALL_PROBLEMS[401]),
        },
    }


def _parameter(name: str, place: str, text: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": text,
        "schema": schema or {"type": "string"},
    }


def _content(media_type: str, model: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REF.format(model=model)}}}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": _content(problems.MEDIA_TYPE, "ProblemBody")}
