"""An agent as its author declares it."""

from edge import port
from edge.names import BUILT_IN, token
from edge.params import declared, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from edge.params import Params

    F = TypeVar("F", bound=Callable[..., Any])

TRANSIENT = (OSError,)
"""Errors after which a task is tried again, unless the capability says otherwise. On CPython
``ConnectionError`` and ``TimeoutError`` are among them."""


class Offer:
    """A capability of one agent."""

    def __init__(
        self,
        handler: "Callable[..., Any]",
        name: str,
        params: "Params | None",
        timeout: "float | None",
        retry_on: "tuple[type[BaseException], ...]",
        card: "dict[str, Any]",
    ) -> None:
        self.handler = handler
        self.name = name
        self.params = params
        self.timeout = timeout
        self.retry_on = retry_on
        self.card = card


class Agent:
    """A named set of capabilities. Declaring one does no I/O.

    ::

        agent = Agent("cellar-1", site="berlin", labels={"floor": "-1"})

        @agent.capability("blink", params={"times": (int, 1)})
        async def blink(task, times): ...

        agent.run(url="nats://10.0.0.1:4222", fleet="prod")

    Args:
        agent: its id, unique in the fleet; by default the environment's FLEETBUS_AGENT.
        site: where it runs; by default FLEETBUS_SITE, or ``default``.
        labels: what selectors can ask for.
        slots: tasks that it runs at a time.
        queue: tasks that it holds beyond these. A device with little memory holds none.
        grace: seconds that running tasks are given to end when the agent is stopped.
        secrets: by scheme, functions from the rest of a reference ``secret://<scheme>/<rest>``
            in the configuration to the secret. ``env`` and ``file`` are there.
        watchdog: called every ``watchdog_every`` seconds for as long as the loop turns.

    Raises:
        ValueError: naming what cannot be used, and the rule.
    """

    def __init__(
        self,
        agent: "str | None" = None,
        site: "str | None" = None,
        labels: "Mapping[str, str] | None" = None,
        slots: int = 1,
        queue: int = 0,
        grace: float = 30.0,
        secrets: "Mapping[str, Callable[[str], Any]] | None" = None,
        watchdog: "Callable[[], None] | None" = None,
        watchdog_every: float = 1.0,
    ) -> None:
        self.id = token("agent", agent or port.getenv("FLEETBUS_AGENT"))
        self.site = token("site", site or port.getenv("FLEETBUS_SITE") or "default")
        self.labels = dict(labels or {})
        for name, value in self.labels.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise ValueError(f"agent {self.id}: label {name}={value}: both are text")
        if not 1 <= slots <= 4096 or not 0 <= queue <= 4096:
            raise ValueError(f"agent {self.id}: slots is 1 to 4096, and queue 0 to 4096")
        self.slots = slots
        self.queue = queue
        self.grace = grace
        self.secrets = dict(secrets or {})
        self.watchdog = watchdog
        self.watchdog_every = watchdog_every
        self.offers: dict[str, Offer] = {}
        self.verbs: dict[str, tuple[Callable[..., Any], Params]] = {}
        self.series: list[Any] = []
        self.callbacks: list[tuple[str, Callable[[Any, Any], Any]]] = []
        self.config: Any = {}
        """The configuration in force, secrets resolved. It is replaced as a whole."""

    def capability(
        self,
        name: str,
        params: "Params | None" = None,
        version: str = "0.0.0",
        description: str = "",
        output: "dict[str, Any] | None" = None,
        tags: "tuple[str, ...]" = (),
        cost: float = 0.0,
        timeout: "float | None" = None,
        retry_on: "tuple[type[BaseException], ...]" = TRANSIENT,
    ) -> "Callable[[F], F]":
        """Offer a function as a capability. It is given the ``Task``, then the input.

        Plain functions run in a thread on CPython; on MicroPython, which has none, they keep
        everything else waiting, heartbeats too.

        Args:
            params: by name, the types of the parameters that the input's fields become, or
                (type, default); see ``edge.params``. Without it the function is given the
                input as one value; with ``{}`` it takes none, and is given the task alone.
            version, description, output (a JSON Schema), tags, cost: for the agent card.
            timeout: seconds that one run may take; running longer counts as an attempt.
            retry_on: errors after which the task is tried again. Others fail it for good.

        Raises:
            ValueError: the name or a parameter cannot be used, or the name is taken; on
                CPython also from the decorator: the function cannot be called so.
        """
        if token("capability", name) in self.offers:
            raise ValueError(f"agent {self.id} offers {name} already")
        declared("capability " + name, params)
        card: dict[str, Any] = {"name": name}
        about: dict[str, Any] = {
            "version": version,
            "description": description,
            "input_schema": schema(params),
        }
        about.update({"output_schema": output, "tags": list(tags), "cost": cost})
        for field, value in about.items():
            if value and value != "0.0.0":
                card[field] = value

        def declare(handler: "F") -> "F":
            if not port.MICRO:
                given = ("task", "input") if params is None else ("task",)
                port.callable_with("capability " + name, handler, given, params)
            self.offers[name] = Offer(handler, name, params, timeout, retry_on, card)
            return handler

        return declare

    def command(self, name: str, params: "Params | None" = None) -> "Callable[[F], F]":
        """Answer the command ``name`` with a function of ``params``, as for a capability.

        Raises:
            ValueError: as for a capability.
        """
        if token("command", name) in self.verbs or name in BUILT_IN:
            raise ValueError(f"agent {self.id} has a command {name} already")
        declared("command " + name, params)

        def declare(handler: "F") -> "F":
            if not port.MICRO:
                port.callable_with("command " + name, handler, (), params)
            self.verbs[name] = (handler, params or {})
            return handler

        return declare

    def on_config(self, key: str = "") -> "Callable[[F], F]":
        """Call a function with ``(new, old)`` when the value at a dotted path changes, before it
        is in force, and once with ``old`` None for the first. If it raises, the configuration is
        not applied, and those that were called already are called with ``(old, new)``.

        Args:
            key: a dotted path; empty for any change. The value is None where nothing is.
        """

        def declare(function: "F") -> "F":
            if not port.MICRO:
                port.callable_with("on_config " + key, function, ("new", "old"), None)
            self.callbacks.append((key, function))
            return function

        return declare

    def telemetry(
        self,
        series: str,
        every: float = 10.0,
        unit: str = "",
        deadband: float = 0.0,
        min_interval: float = 0.0,
        max_interval: float = 0.0,
        batch: int = 1,
    ) -> "Callable[[F], F]":
        """Publish what a function returns, a number or any JSON value, as readings; None is
        none. See ``edge.telemetry.Series`` for the arguments.

        Raises:
            ValueError: a number is out of range, or the name cannot be used or is taken.
        """
        from edge.telemetry import Series

        made = Series(series, every, unit, deadband, min_interval, max_interval, batch)
        if any(one.name == series for one in self.series):
            raise ValueError(f"agent {self.id} has telemetry {series} already")

        def declare(function: "F") -> "F":
            if not port.MICRO:
                port.callable_with("telemetry " + series, function, (), None)
            made.read = function
            self.series.append(made)
            return function

        return declare

    def run(self, **settings: "Any") -> None:
        """Run until SIGTERM, SIGINT or the command ``stop``. Blocks, and ends the process: with
        status 0, or 1 if another process took the agent's id.

        Args:
            **settings: see ``edge.settings``; what is not given comes from the environment.

        Raises:
            ValueError: a setting cannot be used.
        """
        from edge.runtime import Runtime

        port.main(Runtime(self, settings).serve)
