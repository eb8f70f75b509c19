"""What a template imports before it forks, so that no container has to."""

import gc
import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from afield._guest.frames import FrameDecoder, pack_frame
from afield._wire import guest
from afield._wire.functions import Batching, CodeRef, FunctionRecord, FunctionSpec, MethodSpec, ParameterSpec
from afield._wire.messages import ErrorInfo, InputResult

MODULES: Final = (
    "afield",
    "afield._context",
    "afield._culprit",
    "afield._errors",
    "afield._guest.asyncloop",
    "afield._guest.isolation",
    "afield._guest.lifecycle",
    "afield._guest.loader",
    "afield._guest.syncloop",
    "afield._pickler",
    "afield._platform",
    "afield.app",
    "afield.exception",
    "afield.function",
    "afield.serialization",
    "anyio._backends._asyncio",
    "asyncio",
    "cloudpickle",
    "encodings.idna",
    "msgpack",
    "nats",
    "pickle",
    "random",
    "traceback",
)

OPTIONAL: Final = ("uvloop",)
"""Imported where they are installed."""


def run() -> None:
    """Import everything and build what is built once, without a thread, an event loop or an open descriptor."""
    # No collection between here and the forks: it would leave holes in the pages that are shared.
    gc.disable()
    for name in MODULES:
        importlib.import_module(name)
    for name in OPTIONAL:
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    _build_codecs()


def _build_codecs() -> None:
    """Let the codec work out its plans: each message goes there and back once."""
    spec = FunctionSpec(
        name="f",
        code=CodeRef(module="m", qualname="f"),
        batching=Batching(max_batch_size=1, wait_ms=0),
        methods={"m": MethodSpec()},
        parameters=(ParameterSpec(name="p", kind="int"),),
    )
    function = FunctionRecord(function_id="fu-", app_id="ap-", app_name="", ws="main", shard=0, spec=spec)
    error = ErrorInfo(kind="exception", message="")
    result = InputResult(index=0, status="error", error=error)
    _there_and_back(
        guest.TO_GUEST,
        guest.Start(container_id="ta-", worker_id="wk-", function=function, home="/", blob_dir="/"),
        guest.Run(token=0, call_id="fc-", kind="call", first=0, args=(b"",)),
        guest.Credit(token=0, total=1),
        guest.Cancel(token=0),
        guest.Stop(),
    )
    _there_and_back(
        guest.FROM_GUEST,
        guest.Ready(load_s=0.0),
        guest.StartFailed(error=error),
        guest.Notice(text=""),
        guest.Began(tokens=(0,)),
        guest.Results(token=0, results=(result,)),
        guest.Yields(token=0, first=0, values=(b"",)),
    )


def _there_and_back(classes: Mapping[str, type[Any]], *messages: Any) -> None:
    decoder = FrameDecoder(classes)
    for message in messages:
        decoder.feed(pack_frame(message))
