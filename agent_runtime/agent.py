"""An agent as its author declares it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from agent_runtime.callbacks import callback, path_of
from agent_runtime.capability import TRANSIENT, Offer, offer
from agent_runtime.commands import Verb, verb
from agent_runtime.declared import Declared
from agent_runtime.runtime import Runtime
from agent_runtime.secrets import Resolver
from bus.errors import CapabilityError, InvalidName, SettingsError
from bus.settings import PREFIX, load
from bus.subjects import token
from bus.telemetry import Hook
from bus.wire.card import MAX_SLOTS

if TYPE_CHECKING:
    # Type checkers know its default, so that ``Agent`` alone is an agent of any configuration.
    from typing_extensions import TypeVar as TypeVarWithDefault

    C = TypeVarWithDefault("C", default=Any)
else:
    C = TypeVar("C")

F = TypeVar("F", bound=Callable[..., Any])

Lifespan = Callable[[], AbstractAsyncContextManager[object]]


class Agent(Generic[C]):
    """A named set of capabilities. Declaring one does no I/O.

    ::

        agent = Agent("summarizer", site="berlin", labels={"gpu": "a100"}, slots=4)

        @agent.capability("summarize", version="1.2.0")
        async def summarize(task: Task, text: str, max_words: int = 50) -> str: ...

        agent.run()

    Args:
        agent: its id, unique in the fleet.
        site: where it runs; by default FLEETBUS_SITE, or ``default``.
        labels: what selectors can ask for.
        slots: tasks that it runs at a time. Plain functions run in that many threads.
        grace: seconds that running tasks are given to end when the agent is stopped.
        lifespan: an async context manager that is entered before the agent joins and left
            after its last task, for pools and models that handlers share. There is no
            configuration yet: what depends on it belongs in ``on_config``.
        config: the type of ``agent.config``: a msgspec Struct, a dataclass, a TypedDict or a
            pydantic model; by default a plain dict. A configuration that does not fit it is not
            applied.
        secrets: by scheme, functions from the rest of a reference ``secret://<scheme>/<rest>``
            to the secret, plain (called in a thread) or async. ``env`` and ``file`` are there.

    Raises:
        InvalidName: the id or the site is not a legal token, or a label is not text.
        SettingsError: FLEETBUS_SITE is not a legal token.
        CapabilityError: ``slots`` is not a whole number of 1 to 4096, ``config`` is not a type
            of named values that JSON can carry, or a scheme cannot be written in a reference.
    """

    @overload
    def __init__(
        self: Agent[dict[str, Any]],
        agent: str,
        *,
        site: str | None = ...,
        labels: Mapping[str, str] | None = ...,
        slots: int = ...,
        grace: float = ...,
        lifespan: Lifespan | None = ...,
        config: None = ...,
        secrets: Mapping[str, Resolver] | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        agent: str,
        *,
        site: str | None = ...,
        labels: Mapping[str, str] | None = ...,
        slots: int = ...,
        grace: float = ...,
        lifespan: Lifespan | None = ...,
        config: type[C],
        secrets: Mapping[str, Resolver] | None = ...,
    ) -> None: ...

    def __init__(
        self,
        agent: str,
        *,
        site: str | None = None,
        labels: Mapping[str, str] | None = None,
        slots: int = 1,
        grace: float = 30.0,
        lifespan: Lifespan | None = None,
        config: type[Any] | None = None,
        secrets: Mapping[str, Resolver] | None = None,
    ) -> None:
        self.id = token("agent", agent)
        self.site = _site_here() if site is None else token("site", site)
        self.labels = dict(labels or {})
        for name, value in self.labels.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise InvalidName("label", f"{name}={value}")
        if type(slots) is not int or not 1 <= slots <= MAX_SLOTS:
            raise CapabilityError(
                f"agent {agent}: slots {slots!r} is not a whole number of 1 to {MAX_SLOTS}"
            )
        self.slots = slots
        self.grace = grace
        self.lifespan = lifespan
        self.offers: dict[str, Offer] = {}
        self.verbs: dict[str, Verb] = {}
        self.declared = Declared(self.id, config, secrets or {})

    @property
    def config(self) -> C:
        """The configuration in force, secrets resolved. It is replaced as a whole when another
        comes: a handler that reads several values should keep ``config = agent.config``.

        Raises:
            FleetError: there is none yet.
        """
        view: C = self.declared.view
        return view

    def configure(self, values: Mapping[str, Any]) -> None:
        """Make ``values`` what ``agent.config`` is, without a bus: for tests of handlers. They
        go through the model; references to secrets stay as they are, and no callback is called.
        An agent that joins a fleet forgets them.

        Raises:
            FleetError: they do not fit the model.
        """
        self.declared.configure(values)

    def on_config(self, key: str = "") -> Callable[[F], F]:
        """Call a function with ``(new, old)`` when the value at ``key`` changes.

        ::

            @agent.on_config("llm.model")
            async def load(new: str, old: str | None) -> None: ...

        It is called before the configuration is in force, and once with ``old=None`` for the
        first, before the agent joins. If it raises, or takes longer than 30 s, the configuration
        is not applied: those that were called already are then called with ``(old, new)``, so a
        callback should do no harm when it is called again. Plain functions run in a thread.

        Args:
            key: a dotted path, of attributes or of keys of dicts; empty for any change. The
                value is None where nothing is.

        Raises:
            CapabilityError: the function does not take two values, or the brackets are missing.
            InvalidPath: ``key`` is not a dotted path.
        """
        path = path_of(key, self.id)

        def declare(function: F) -> F:
            self.declared.callbacks.append(callback(function, path, self.id))
            return function

        return declare

    def __repr__(self) -> str:
        return f"<Agent {self.id} at {self.site}: {', '.join(self.offers) or 'no capabilities'}>"

    def capability(
        self,
        name: str | None = None,
        *,
        version: str = "0.0.0",
        description: str | None = None,
        tags: tuple[str, ...] = (),
        cost: float = 0.0,
        timeout: float | None = None,
        retry_on: tuple[type[BaseException], ...] = TRANSIENT,
    ) -> Callable[[F], F]:
        """Offer a function as a capability.

        Async functions run on the event loop, plain ones in a thread; each item that a
        generator yields is progress, and its last one the result. A first parameter called
        ``task`` is given the ``Task``; the others come from the input, checked against their
        types before the function is entered.

        Args:
            name: by default the function's.
            version, description, tags, cost: for the agent card; the description is by
                default the docstring.
            timeout: seconds that one run may take; running longer counts as an attempt.
            retry_on: errors after which the task is tried again. Others fail it for good.

        Raises:
            CapabilityError: the signature cannot be offered, or the name is taken.
        """

        def declare(handler: F) -> F:
            self.offer(
                offer(
                    handler,
                    name,
                    version=version,
                    description=description,
                    tags=tags,
                    cost=cost,
                    timeout=timeout,
                    retry_on=retry_on,
                )
            )
            return handler

        return declare

    def offer(self, one: Offer) -> None:
        """Offer a capability made with ``agent_runtime.offer``.

        Raises:
            CapabilityError: the agent has one of this name.
        """
        if one.name in self.offers:
            raise CapabilityError(f"agent {self.id} offers {one.name!r} already")
        self.offers[one.name] = one

    def command(self, name: str) -> Callable[[F], F]:
        """Answer the command ``name`` with a function; its parameters are the arguments.

        Raises:
            CapabilityError: the signature cannot be used, or the name is taken.
        """

        def declare(handler: F) -> F:
            if name in self.verbs or name in Runtime.BUILT_IN:
                raise CapabilityError(f"agent {self.id} has a command {name!r} already")
            self.verbs[name] = verb(handler, name)
            return handler

        return declare

    def connect(
        self,
        url: str | None = None,
        fleet: str | None = None,
        hook: Hook | None = None,
        **settings: Any,
    ) -> Runtime:
        """The running agent, to be entered with ``async with``. Settings as ``bus.connect``.

        Raises:
            SettingsError, InvalidName: at once. ``ConnectError``, ``TopologyMissing`` and
                ``DuplicateAgent`` come from entering.
        """
        return Runtime(self, load({"url": url, "fleet": fleet, **settings}), hook)

    def run(self, url: str | None = None, fleet: str | None = None, **settings: Any) -> None:
        """Run until SIGTERM or SIGINT. Blocks.

        Raises:
            FleetError: it could not start; the message says what to mend.
        """
        from agent_runtime.runner import run

        run([self], url=url, fleet=fleet, **settings)


def _site_here() -> str:
    """What the environment says of where this process runs."""
    source = f"{PREFIX}SITE"
    try:
        return token("site", os.environ.get(source) or "default")
    except InvalidName as problem:
        raise SettingsError(f"environment {source}", str(problem)) from None
