"""A function that an agent offers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agent_runtime.signature import Interface, inspect_handler
from bus.errors import CapabilityError
from bus.subjects import token
from bus.wire.card import Capability

TRANSIENT: Final = (ConnectionError, TimeoutError)
"""Errors that are retried unless the capability says otherwise: they often pass."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A capability as this agent runs it."""

    name: str
    handler: Callable[..., Any]
    interface: Interface
    version: str = "0.0.0"
    description: str = ""
    tags: tuple[str, ...] = ()
    cost: float = 0.0
    timeout: float | None = None
    """Seconds that one run may take."""
    retry_on: tuple[type[BaseException], ...] = TRANSIENT

    def advert(self) -> Capability:
        """What the agent card says of it."""
        return Capability(
            name=self.name,
            version=self.version,
            description=self.description,
            input_schema=self.interface.input_schema,
            output_schema=self.interface.output_schema,
            tags=self.tags,
            cost=self.cost,
        )


def offer(
    handler: Callable[..., Any],
    name: str | None = None,
    *,
    version: str = "0.0.0",
    description: str | None = None,
    tags: tuple[str, ...] = (),
    cost: float = 0.0,
    timeout: float | None = None,
    retry_on: tuple[type[BaseException], ...] = TRANSIENT,
) -> Offer:
    """Make a function a capability. Its name is the function's unless ``name`` is given.

    Raises:
        CapabilityError: the function's signature cannot be offered, or ``timeout`` is not
            more than 0.
        InvalidName: the name is not a legal token.
    """
    chosen = token("capability", name or str(getattr(handler, "__name__", "")))
    if timeout is not None and not timeout > 0:
        raise CapabilityError(f"capability {chosen}: timeout {timeout!r} is not more than 0 s")
    return Offer(
        name=chosen,
        handler=handler,
        interface=inspect_handler(handler),
        version=version,
        description=description if description is not None else inspect.getdoc(handler) or "",
        tags=tags,
        cost=cost,
        timeout=timeout,
        retry_on=retry_on,
    )
