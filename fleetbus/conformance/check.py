"""What a check is, and how one says that it has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from bus.wire.heartbeat import FleetPolicy
from fleetbus.conformance import contract
from fleetbus.console import to_json

if TYPE_CHECKING:
    from fleetbus.conformance.stage import Stage

Level = Literal["required", "optional"]
"""``optional``: a small device may leave it out."""

SHOWN: Final = 400
"""Characters of what came that are shown."""

Body = Callable[["Stage"], Awaitable[None]]


class Failed(Exception):  # an outcome of a check, not an error of the suite
    """The agent does not do what the rule says.

    Attributes:
        expected: what should have come.
        got: what came instead.
    """

    def __init__(self, expected: str, got: str) -> None:
        self.expected = expected
        self.got = shortened(got)
        super().__init__(f"expected {expected}; got {self.got}")


class Skipped(Exception):  # an outcome of a check, too
    """The check does not apply to this agent or this server; says why."""


class NotStarted(Exception):  # an outcome of the whole run
    """The agent's process did not join the fleet.

    Attributes:
        why: what it did instead.
        output: what it printed last.
    """

    def __init__(self, why: str, output: str = "") -> None:
        self.why = why
        self.output = output
        said = output or "(it printed nothing)"
        super().__init__(f"the agent did not join the fleet: it {why}; it printed last:\n{said}")


class Unfit(Exception):  # an outcome of the whole run
    """The agent was not made for the suite: it offers nothing of the contract."""

    def __init__(self, offered: Iterable[str]) -> None:
        found = ", ".join(sorted(offered)) or "nothing"
        super().__init__(
            f"the agent offers {found}, and none of what the suite asks for "
            f"({', '.join(contract.REQUIRED)}): make one with the same library that does, as "
            "docs/conformance.md says, or choose checks with -k"
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """An agent process in a fleet of its own, in which checks run one after the other."""

    name: str
    policy: FleetPolicy


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, and the function that finds out whether it is kept."""

    id: str
    rule: str
    see: str
    """Where the rule stands."""
    scene: Scene
    body: Body
    level: Level = "required"


@dataclass(slots=True)
class Topic:
    """Checks that belong together; what their ids begin with."""

    name: str
    scene: Scene
    checks: list[Check] = field(default_factory=list)

    def check(
        self, name: str, rule: str, see: str, level: Level = "required"
    ) -> Callable[[Body], Body]:
        """Make a function a check; checks run in the order in which they are declared.

        Args:
            name: the second half of its id.
            rule: one sentence.
            see: the section of docs/subjects.md, with the step where there is one.
        """

        def declare(body: Body) -> Body:
            self.checks.append(Check(f"{self.name}.{name}", rule, see, self.scene, body, level))
            return body

        return declare


def equal(what: str, actual: Any, expected: Any) -> None:
    """Fail unless ``actual`` is what it must be."""
    same = actual == expected and isinstance(actual, bool) == isinstance(expected, bool)
    if not same:
        raise Failed(f"{what} {shown(expected)}", shown(actual))


def holds(good: object, expected: str, got: object) -> None:
    """Fail unless ``good``; ``got`` is what came."""
    if not good:
        raise Failed(expected, shown(got))


def shown(value: object) -> str:
    """A value as a person reads it."""
    if isinstance(value, str | bytes):
        return repr(value)
    try:
        return to_json(value)
    except (TypeError, ValueError):
        return repr(value)


def shortened(text: str) -> str:
    """At most ``SHOWN`` characters of it."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
