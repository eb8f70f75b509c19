"""Records for tests of the registry."""

from typing import Any

from afield._wire.api import CreateApp, PublishFunctions
from afield._wire.functions import AppRecord, CodeRef, FunctionSpec
from afield_registry import apps

NOW = 1_700_000_000.0


def create(**changes: Any) -> CreateApp:
    return CreateApp(**{"ws": "main", "name": "demo", "description": "", "session": "s1", **changes})


def spec(name: str = "f", **changes: Any) -> FunctionSpec:
    return FunctionSpec(**{"name": name, "code": CodeRef(module="m", qualname=name), **changes})


def publish(*specs: FunctionSpec, app_id: str = "ap-1") -> PublishFunctions:
    return PublishFunctions(ws="main", app_id=app_id, functions=specs)


def app(app_id: str = "ap-1", *, at: float = NOW, **changes: Any) -> AppRecord:
    return apps.created(create(**changes), app_id, at)
