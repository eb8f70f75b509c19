"""afield: run Python functions on other machines as if they were here.

    import afield

    app = afield.App("squares")

    @app.function()
    def square(x: int) -> int:
        return x * x

    @app.local_entrypoint()
    def main() -> None:
        print(square.remote(7), list(square.map(range(10))))

`afield run squares.py` runs it.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from afield import exception, types
    from afield._context import current_function_call_id, current_input_id, is_local
    from afield._decorators import batched, concurrent, enter, exit, method  # noqa: A004 - our name for it
    from afield._parameter import parameter
    from afield.app import App
    from afield.call import FunctionCall
    from afield.cls import Cls
    from afield.exception import Error
    from afield.function import Function
    from afield.image import Image
    from afield.output import enable_output
    from afield.retries import Retries

__version__: Final = "0.1.0"

__all__ = [
    "App",
    "Cls",
    "Error",
    "Function",
    "FunctionCall",
    "Image",
    "Retries",
    "batched",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exception",
    "exit",
    "is_local",
    "method",
    "parameter",
    "types",
]

_HOMES: Final = {
    "App": "app",
    "Cls": "cls",
    "Error": "exception",
    "Function": "function",
    "FunctionCall": "call",
    "Image": "image",
    "Retries": "retries",
    "batched": "_decorators",
    "concurrent": "_decorators",
    "current_function_call_id": "_context",
    "current_input_id": "_context",
    "enable_output": "output",
    "enter": "_decorators",
    "exit": "_decorators",
    "is_local": "_context",
    "method": "_decorators",
    "parameter": "_parameter",
}
"""Public name to the module that defines it; imported when it is asked for, so that importing afield costs little."""

_SUBMODULES: Final = frozenset(
    [
        "app",
        "call",
        "cls",
        "config",
        "exception",
        "function",
        "image",
        "mapping",
        "output",
        "partial_function",
        "resources",
        "retries",
        "serialization",
        "types",
    ]
)

_NOT_YET: Final = frozenset(
    [
        "Client",
        "CloudBucketMount",
        "Cluster",
        "Cron",
        "Dict",
        "Environment",
        "FilePatternMatcher",
        "NetworkFileSystem",
        "Period",
        "Probe",
        "Proxy",
        "Queue",
        "Sandbox",
        "SandboxSnapshot",
        "SchedulerPlacement",
        "Secret",
        "Server",
        "Tunnel",
        "Volume",
        "Workspace",
        "asgi_app",
        "billing",
        "build",
        "clustered",
        "container_process",
        "environments",
        "experimental",
        "fastapi_endpoint",
        "file_io",
        "forward",
        "gpu",
        "interact",
        "io_streams",
        "is_container_ready",
        "runner",
        "sandbox",
        "schedule",
        "secret",
        "sessioned",
        "snapshot",
        "volume",
        "web_endpoint",
        "web_server",
        "wsgi_app",
        "Mount",
    ]
)
"""Names of Modal's that a program may ask for and that are not here yet."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is not None:
        value = getattr(importlib.import_module(f"afield.{home}"), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f"afield.{name}")
    if name == "Stub":
        raise AttributeError(
            "afield.Stub does not exist: it is named afield.App, and takes the same name argument"
        )
    if name in _NOT_YET:
        raise AttributeError(f"afield.{name} is not available yet in afield {__version__}")
    if name.startswith("_"):  # asked for by the interpreter and by tools, not by people
        raise AttributeError(f"module 'afield' has no attribute {name!r}")
    from afield._suggest import did_you_mean

    hint = did_you_mean(name, {*__all__, *_SUBMODULES})
    raise AttributeError(f"module 'afield' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
