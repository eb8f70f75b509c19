"""What the platform knows of an app and its functions."""

from dataclasses import field
from typing import Literal

from afield._wire.codec import message

AppState = Literal["ephemeral", "detached", "deployed", "stopped"]


@message("res")
class Resources:
    """What one container of a function asks of its host."""

    cpu: float = 0.125
    """Cores reserved."""
    memory_mib: int = 128
    """MiB reserved."""
    cpu_limit: float | None = None
    memory_limit_mib: int | None = None
    gpu: tuple[str, ...] = ()
    """Acceptable devices in order of preference, as the user wrote them: `A100-80GB:2`."""


@message("scale")
class Scaling:
    """How many containers a function may have."""

    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window: float = 60.0
    """Seconds that an idle container stays."""


@message("retry")
class RetryPolicy:
    """When a user's exception is tried again."""

    max_retries: int = 0
    initial_delay: float = 1.0
    """Seconds."""
    backoff_coefficient: float = 1.0
    max_delay: float = 60.0
    """Seconds."""


@message("code")
class CodeRef:
    """How a container gets hold of a function's code.

    With `serialized` empty, the module is imported: `bundle` (an object in CODE, a gzipped tar) is unpacked into a
    folder on sys.path, `module` is imported and `qualname` looked up. Else the object `serialized` in CODE is
    unpickled; `bundle` may still name source that it needs.
    """

    module: str
    qualname: str
    bundle: str = ""
    """SHA-256 in hex, or empty."""
    serialized: str = ""
    """SHA-256 in hex, or empty."""
    entry: str = ""
    """Path of the entry file inside the bundle; it is imported as `module`, and `__main__` means it, too."""
    local_root: str = ""
    """Folder on the client that the bundle was made from; remote file names in tracebacks are mapped back to it."""


@message("fn")
class FunctionSpec:
    """A function as its author declared it."""

    name: str
    """Unique within its app."""
    code: CodeRef
    is_generator: bool = False
    is_async: bool = False
    resources: Resources = Resources()
    scaling: Scaling = Scaling()
    retries: RetryPolicy = RetryPolicy()
    timeout: float = 300.0
    """Seconds per attempt."""
    startup_timeout: float = 300.0
    """Seconds from start to ready."""
    env: dict[str, str] = field(default_factory=dict)
    image: str = ""
    """Image id; empty means the worker's own interpreter."""
    runner: str = "auto"
    single_use: bool = False
    """One input a container, then it ends."""


@message("fnr")
class FunctionRecord:
    """A function as the registry keeps it (REG, key `fn.<ws>.<function_id>`)."""

    function_id: str
    app_id: str
    app_name: str
    ws: str
    shard: int
    spec: FunctionSpec
    version: int = 1


@message("app")
class AppRecord:
    """An app as the registry keeps it (REG, key `app.<ws>.<app_id>`)."""

    app_id: str
    name: str
    """Empty for an app without a name."""
    description: str
    ws: str
    state: AppState
    session: str
    """The client that started it."""
    created_at: float
    """Unix time, seconds."""
    functions: dict[str, str] = field(default_factory=dict)
    """Function name to function id."""
    tags: dict[str, str] = field(default_factory=dict)
    stopped_at: float = 0.0
    stop_reason: str = ""


ContainerState = Literal["starting", "ready", "stopping"]


@message("ct")
class ContainerRecord:
    """One live container, as its worker reports it."""

    container_id: str
    function_id: str
    app_id: str
    state: ContainerState
    pid: int
    started_at: float
    """Unix time, seconds."""
    resources: Resources
    busy: int = 0
    """Packs that it runs or holds."""
    idle_since: float = 0.0
    """Unix time since which it has had nothing to do; 0 while busy or starting."""
    waits: bool = False
    """Whether what it runs waits for calls that it made itself: it needs no core then."""


@message("wk")
class WorkerRecord:
    """A worker and its containers (WORKERS, key `<worker_id>`)."""

    worker_id: str
    host: str
    """Host id: equal for all processes that share the blob folder."""
    pid: int
    started_at: float
    cpus: float
    memory_mib: int
    runners: tuple[str, ...]
    labels: dict[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    draining: bool = False
    containers: tuple[ContainerRecord, ...] = ()
    pack_seconds: dict[str, float] = field(default_factory=dict)
    """Function id to the recent mean of seconds per pack."""
    max_containers: int = 0
    """Containers that it takes at most, whatever they reserve; 0: it does not say."""
