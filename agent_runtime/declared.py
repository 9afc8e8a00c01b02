"""What an agent's author declares about its configuration, and the one that handlers read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent_runtime.callbacks import Callback
from agent_runtime.model import Model, explain
from agent_runtime.secrets import Redactor, Resolver, resolvers
from bus.errors import FleetError

_NONE: Final = object()


class Declared:
    """Model, resolvers and callbacks of one agent.

    Raises:
        CapabilityError: the model cannot be made of a configuration, or a resolver is none.
    """

    def __init__(self, agent: str, hint: Any, secrets: Mapping[str, Resolver]) -> None:
        self.model = Model(hint, f"agent {agent}: config")
        self.resolvers = resolvers(secrets)
        self.callbacks: list[Callback] = []
        self.redactor = Redactor(())
        """For the secrets that are in force, and those that were before."""
        self._agent = agent
        self._view: Any = _NONE

    @property
    def view(self) -> Any:
        """The model's object for what is in force.

        Raises:
            FleetError: nothing is yet.
        """
        if self._view is _NONE:
            raise FleetError(
                f"agent {self._agent} has no configuration yet: it is there when the agent has "
                "joined and a good one has come; what depends on it belongs in @agent.on_config. "
                "In a test without a bus call agent.configure({…}) first"
            )
        return self._view

    @view.setter
    def view(self, new: Any) -> None:
        self._view = new

    def configure(self, values: Mapping[str, Any]) -> None:
        """Make ``values`` the view.

        Raises:
            FleetError: they do not fit the model.
        """
        try:
            self._view = self.model.make(values)
        except Exception as problem:  # a model may run code of its own
            raise FleetError(
                f"agent {self._agent}: configuration: {explain(problem, str)}"
            ) from None

    def redacted(self, text: object) -> str:
        """``text`` without the secrets that handlers have."""
        return self.redactor(text)

    def forget(self) -> None:
        """Nothing is in force."""
        self._view = _NONE
