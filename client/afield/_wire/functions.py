"""What the platform knows of an app and its functions."""

from dataclasses import field, replace
from typing import Literal, TypeVar

from afield._wire.codec import message

T = TypeVar("T")

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


@message("conc")
class Concurrency:
    """How many inputs a container runs at the same time: threads for synchronous code, tasks for asynchronous."""

    max_inputs: int = 1
    target_inputs: int = 0
    """What the number of containers is chosen for; 0 means `max_inputs`."""

    @property
    def target(self) -> int:
        """Inputs at the same time that a container should have."""
        return self.target_inputs or self.max_inputs


@message("batch")
class Batching:
    """Inputs that are handed to user code together, as lists."""

    max_batch_size: int
    wait_ms: int
    """Milliseconds that the first input of a batch waits for others."""


@message("param")
class ParameterSpec:
    """A parameter of a class: what its containers are made with."""

    name: str
    kind: str
    """`str`, `int`, `bool` or `bytes`; empty for a class with a constructor of its own, which takes anything.

    The parameters are its signature then, in order, with `/`, `*`, `*args` and `**kwargs` as Python writes them.
    """
    required: bool = True
    default: bytes = b""
    """The serialised value that it has if none is given; empty where it is required, and for constructors of their own."""


@message("method")
class MethodSpec:
    """A method that can be called."""

    is_generator: bool = False
    is_async: bool = False


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
    concurrency: Concurrency = Concurrency()
    batching: Batching | None = None
    methods: dict[str, MethodSpec] = field(default_factory=dict)
    """Of a class: what can be called, by name. Empty for a function."""
    parameters: tuple[ParameterSpec, ...] = ()
    """Of a class: what its containers are made with."""
    snapshot: bool = False
    """Whether containers fork from one that has run `enter(snap=True)`."""
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What its worker must be labelled with: for each label one of the values."""

    @property
    def is_class(self) -> bool:
        """Whether it is a class: all its methods run in the same containers."""
        return bool(self.methods)

    @property
    def may_yield(self) -> bool:
        """Whether it is a generator, or a class that has one among its methods."""
        return self.is_generator or any(method.is_generator for method in self.methods.values())


@message("opts")
class Options:
    """What a variant of a function asks for in place of its base; None means as the base."""

    cpu: float | None = None
    cpu_limit: float | None = None
    memory_mib: int | None = None
    memory_limit_mib: int | None = None
    gpu: tuple[str, ...] | None = None
    env: dict[str, str] | None = None
    """Added to the variables of the base."""
    retries: RetryPolicy | None = None
    timeout: float | None = None
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None
    concurrency: Concurrency | None = None
    batching: Batching | None = None
    labels: dict[str, tuple[str, ...]] | None = None
    """Added to the labels of the base."""

    def applied(self, spec: FunctionSpec) -> FunctionSpec:
        """Return the spec with these options."""
        return replace(
            spec,
            resources=self._resources(spec.resources),
            scaling=self.scaled(spec.scaling),
            retries=_first(self.retries, spec.retries),
            timeout=_first(self.timeout, spec.timeout),
            env={**spec.env, **(self.env or {})},
            concurrency=_first(self.concurrency, spec.concurrency),
            batching=_first(self.batching, spec.batching),
            labels={**spec.labels, **(self.labels or {})},
        )

    def scaled(self, scaling: Scaling) -> Scaling:
        """Return the scaling with these options."""
        return Scaling(
            min_containers=_first(self.min_containers, scaling.min_containers),
            max_containers=_first(self.max_containers, scaling.max_containers),
            buffer_containers=_first(self.buffer_containers, scaling.buffer_containers),
            scaledown_window=_first(self.scaledown_window, scaling.scaledown_window),
        )

    def _resources(self, base: Resources) -> Resources:
        # Who says what is reserved has said all of that resource: the base's limit was a limit for another size.
        return Resources(
            cpu=_first(self.cpu, base.cpu),
            memory_mib=_first(self.memory_mib, base.memory_mib),
            cpu_limit=base.cpu_limit if self.cpu is None else self.cpu_limit,
            memory_limit_mib=base.memory_limit_mib if self.memory_mib is None else self.memory_limit_mib,
            gpu=_first(self.gpu, base.gpu),
        )


def _first(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


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
    base_id: str = ""
    """Of a variant (a class with arguments, or with other options): what it was made from; else empty."""
    params: bytes = b""
    """Of a class: the serialised arguments `(args tuple, kwargs dict)` of its constructor; empty for none."""
    options: Options | None = None
    """Of a variant: what differs from its base. `spec` has it applied."""
    asleep: bool = False
    """Whether it was published without consumers: they are made when it is first called."""


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
    """Packs that it runs, or that wait for it."""
    idle_since: float = 0.0
    """Unix time since which it has had nothing to do; 0 while busy or starting."""
    waits: bool = False
    """Whether what it runs waits for calls that it made itself: it needs no core then."""
    function: str = ""
    """The name of its function."""
    gpus: tuple[str, ...] = ()
    """The kinds of the devices that it has."""


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
    inputs_running: dict[str, int] = field(default_factory=dict)
    """Function id to the inputs that run at this moment."""
    stalled: str = ""
    """What keeps it from pulling, in one clause; empty if nothing does."""
