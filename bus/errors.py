"""Every error that fleetbus raises on purpose.

FleetError
├── SettingsError          a setting (argument, environment, file) is unusable
├── InvalidName            a subject token breaks the naming rule
├── InvalidSelector        a label expression cannot be parsed
├── DecodeError            bytes from the wire are not what they must be
├── IllegalTransition      a task was asked to take a step its state forbids
├── ServerError            the embedded nats-server could not be run
├── BusError               talking to NATS failed
│   ├── ConnectError       no connection could be made
│   ├── Disconnected       the connection is gone and what was sent may be lost
│   ├── MessageTooBig      a message is larger than the server takes
│   ├── FeatureMissing     the server is too old for what was asked
│   ├── TopologyMissing    the fleet's streams do not exist
│   └── TopologyConflict   a stream exists with an incompatible configuration
├── TaskError              a task could not be taken or did not complete
│   ├── QueueFull          the task stream is at its size limit
│   ├── NoAgent            no agent of the fleet matches
│   ├── NoCoordinator      nobody routes calls in this fleet
│   ├── TaskTimeout        no result within the caller's patience; the task goes on
│   ├── TaskNotFound       neither a task nor a result with this id
│   ├── TaskFailed         the handler failed, or attempts ran out
│   ├── TaskRejected       the input does not fit the capability
│   ├── TaskCanceled       somebody canceled it
│   └── TaskExpired        its deadline passed
├── ConfigError            configuration cannot be read, is wrong, or was not taken
│   ├── InvalidPath        a dotted path cannot be parsed
│   ├── InvalidLayer       there is no layer of this name
│   └── ConfigConflict     somebody else wrote at the same time
├── InvalidInput           a payload does not fit a capability's signature
├── CapabilityError        a function cannot be offered as a capability
└── DuplicateAgent         the agent id is in use by a live process
"""

from __future__ import annotations

from collections.abc import Sequence


class FleetError(Exception):
    """Root of the tree: catch it to catch everything that fleetbus raises on purpose."""


class SettingsError(FleetError):
    """A setting is unusable.

    Args:
        source: where it came from, for example ``environment FLEETBUS_URL``.
        problem: what is wrong and how to mend it.
    """

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"{source}: {problem}")


class InvalidName(FleetError):
    """A fleet, site, agent, capability or client name is not a legal subject token, or is one that
    ``rule`` reserves."""

    def __init__(self, kind: str, name: object, rule: str = "") -> None:
        self.kind = kind
        self.name = name
        shown = repr(name)
        if len(shown) > 80:
            shown = f"{shown[:77]}..."
        super().__init__(
            f"{kind} name {shown} is not allowed: "
            f"{rule or 'use 1 to 64 characters of A-Z a-z 0-9 _ -'}"
        )


class InvalidSelector(FleetError):
    """A label expression cannot be parsed. ``position`` counts characters from 0."""

    def __init__(self, expression: str, position: int, problem: str) -> None:
        self.expression = expression
        self.position = position
        self.problem = problem
        super().__init__(
            f"selector {expression!r}, character {position + 1}: {problem} "
            "(example: env=prod,zone in (a,b),!gpu)"
        )


class DecodeError(FleetError):
    """Bytes from the wire do not hold what their subject promises."""

    def __init__(self, what: str, problem: str) -> None:
        self.what = what
        self.problem = problem
        super().__init__(f"{what}: {problem}")


class IllegalTransition(FleetError):
    """A task was asked to take a step that its state does not allow."""

    def __init__(self, state: str, to: str) -> None:
        self.state = state
        self.to = to
        super().__init__(f"a task that is {state} cannot become {to}")


class ServerError(FleetError):
    """The embedded nats-server could not be found, started or stopped."""


class BusError(FleetError):
    """Talking to NATS failed."""


class ConnectError(BusError):
    """No connection to any server in ``url``."""

    def __init__(self, url: str, problem: str) -> None:
        self.url = url
        self.problem = problem
        super().__init__(f"cannot connect to NATS at {url}: {problem}")


class Disconnected(BusError):
    """The connection is gone; what was still to be sent has not reached the server."""


class MessageTooBig(BusError):
    """A message, headers included, is larger than the server takes; it was not sent.

    The server would close the connection over it. ``size`` and ``limit`` are in bytes.
    """

    def __init__(self, subject: str, size: int, limit: int) -> None:
        self.subject = subject
        self.size = size
        self.limit = limit
        super().__init__(
            f"a message to {subject[:200]} has {size} bytes with its headers, and this server "
            f"takes {limit}: shorten the headers or raise max_payload"
        )


class FeatureMissing(BusError):
    """The server's JetStream API level is below what a feature needs."""

    def __init__(self, feature: str, needs: int, has: int) -> None:
        self.feature = feature
        self.needs = needs
        self.has = has
        super().__init__(
            f"{feature} needs JetStream API level {needs}, this server has {has}: "
            "upgrade nats-server"
        )


class TopologyMissing(BusError):
    """The fleet's streams do not exist on this server."""

    def __init__(self, fleet: str) -> None:
        self.fleet = fleet
        super().__init__(
            f"fleet {fleet!r} has no streams here: start a coordinator or run "
            f"'fleetbus up --fleet {fleet}', or check the fleet's name"
        )


class TopologyConflict(BusError):
    """A stream exists with a configuration that cannot be changed into ours in place."""

    def __init__(self, stream: str, differences: Sequence[str]) -> None:
        self.stream = stream
        self.differences = tuple(differences)
        shown = "; ".join(differences)
        super().__init__(
            f"stream {stream} exists and is incompatible: {shown}. "
            "Change the setting back, or move its messages to a new stream"
        )


class TaskError(FleetError):
    """A task could not be taken, or did not complete."""

    def __init__(self, task_id: str, message: str) -> None:
        self.task_id = task_id
        super().__init__(f"task {task_id}: {message}" if task_id else message)


class QueueFull(TaskError):
    """The task stream is at its size limit; the task was not stored."""


class NoAgent(TaskError):
    """No agent of the fleet offers the capability or matches the selector."""


class NoCoordinator(TaskError):
    """No coordinator answers calls in this fleet."""


class TaskTimeout(TaskError, TimeoutError):
    """No result in time. The task itself goes on; ask its handle again."""


class TaskNotFound(TaskError):
    """The bus knows neither a task nor a result with this id."""


class TaskFailed(TaskError):
    """The handler failed for good.

    Attributes:
        kind: the error's type as the agent named it, for example ``ValueError``.
        attempt: how many times it was tried.
        agent: the agent that tried last.
    """

    def __init__(
        self, task_id: str, message: str, *, kind: str = "", attempt: int = 0, agent: str = ""
    ) -> None:
        self.kind = kind
        self.attempt = attempt
        self.agent = agent
        super().__init__(task_id, f"{kind}: {message}" if kind else message)


class TaskRejected(TaskError):
    """The task was refused without running. ``field`` names the input at fault, if one is."""

    def __init__(self, task_id: str, message: str, *, field: str = "") -> None:
        self.field = field
        super().__init__(task_id, message)


class TaskCanceled(TaskError):
    """Somebody canceled the task."""


class TaskExpired(TaskError):
    """The task's deadline passed before it completed."""


class InvalidInput(FleetError):
    """A payload does not fit a capability's signature. ``field`` is empty for the whole."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}" if field else problem)


class CapabilityError(FleetError):
    """A function cannot be offered as a capability; the message says what to change."""


class DuplicateAgent(FleetError):
    """Another live process holds this agent id."""

    def __init__(self, agent: str, holder: str) -> None:
        self.agent = agent
        self.holder = holder
        super().__init__(
            f"agent id {agent!r} is in use by {holder}: stop that process or choose another id"
        )


class ConfigError(FleetError):
    """Configuration cannot be read, is wrong, or was not taken. What was in force stays so."""


class InvalidPath(ConfigError):
    """A dotted path into a configuration cannot be parsed."""

    def __init__(self, text: str, problem: str) -> None:
        self.text = text
        self.problem = problem
        super().__init__(
            f"key {text[:200]!r}: {problem} (write names with dots between, and a name that has "
            'dots or blanks itself in quotes: llm.model, hosts."db.local".port)'
        )


class InvalidLayer(ConfigError):
    """There is no layer of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"layer {name[:120]!r}: write global, fleet, group.<nn>-<name> (two digits, which "
            "order the groups) or instance.<agent>"
        )


class ConfigConflict(ConfigError):
    """Somebody else wrote to the fleet's configuration at the same time; nothing was written."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was changed by somebody else just now: look again and retry")
