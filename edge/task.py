"""A task or call that the agent has taken, as its handler sees it."""

from edge import port
from edge.errors import Garbage
from edge.names import dumps, is_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.wire import Message

QUEUED, RUNNING, ENDING = 0, 1, 2

OURS = ("fleet-", "nats-", "content-type", "traceparent", "status")


class Retry(Exception):  # a request, not the report of an error
    """Raised by a handler: try again, here or elsewhere.

    Args:
        reason: shown if the attempts run out.
        after: seconds to wait; None for a delay that grows with the attempts.
    """

    def __init__(self, reason: str = "retry requested", after: "float | None" = None) -> None:
        if after is not None and not (isinstance(after, (int, float)) and 0 <= after <= 604_800):
            raise ValueError(f"Retry(after={after}): seconds, from 0 to a week")
        super().__init__(reason)
        self.after = after


class Task:
    """What a handler is given first.

    ``id``, ``capability``, ``attempt`` (1 the first time), ``max_attempts``, ``caller``,
    ``traceparent``, ``deadline`` (Unix milliseconds, 0 for none), ``content_type``, and
    ``canceled``, at which a plain function has to look now and then.
    """

    def __init__(
        self, message: "Message", capability: str, agent: "Any", now: float, lease: int
    ) -> None:
        """Read a dispatch.

        Raises:
            Garbage: a header is missing or holds what it must not.
        """
        fields = message.headers
        self.capability = capability
        self.id = fields.get("Fleet-Task", "")
        client, _, seq = self.id.partition(".")
        self.ack = fields.get("Fleet-Ack", "")
        self.reply = fields.get("Fleet-Reply", "")
        if not is_token(client) or not is_token(seq):
            raise Garbage("dispatch: Fleet-Task is not two names joined by a dot")
        if len((self.ack or self.reply).split()) != 1:
            raise Garbage("dispatch: neither a good Fleet-Ack nor a good Fleet-Reply")
        self.attempt = _number(fields, "Fleet-Attempt", 1)
        self.max_attempts = _number(fields, "Fleet-Max-Attempts", 3)
        self.deadline = _number(fields, "Fleet-Deadline", 0)
        delivered, self.stored_ms = _delivery(self.ack) if self.ack else (1, 0)
        self.redelivered = delivered > 1
        self.data = message.body
        self.size = message.size
        self.content_type = fields.get("Content-Type", "application/json")
        self.payload = fields.get("Fleet-Payload", "")
        self.caller = fields.get("Fleet-Caller") or client
        self.via = fields.get("Fleet-Via", "")
        self.traceparent = fields.get("traceparent", "")
        self.headers = {
            name: value for name, value in fields.items() if not name.lower().startswith(OURS)
        }
        self.leased_until = now + lease
        self.queued_ms = 0
        self.stage = QUEUED
        self.begun = False
        self.canceled = False
        self.why = ""
        """How it is to end, once it is interrupted: canceled, deadline, timeout or stop."""
        self.reason = ""
        self.usages: dict[str, float] = {}
        self.runner: Any = None
        self.runs: list[Any] = []
        self._agent = agent
        self._sent = 0

    @property
    def time_left(self) -> "float | None":
        """Seconds to the deadline, by the broker's clock; None if there is none."""
        return (self.deadline - self._agent.now()) / 1000 if self.deadline else None

    def usage(self, **amounts: float) -> None:
        """Add to what the task has used (``tokens=812``); it travels on the result.

        Raises:
            ValueError: more than 32 names, or one of more than 64 characters.
        """
        for name, amount in amounts.items():
            if len(name) > 64 or (name not in self.usages and len(self.usages) >= 32):
                raise ValueError(f"usage {name[:80]}: at most 32 names of 64 characters")
            self.usages[name] = self.usages.get(name, 0) + amount

    def progress(self, value: "Any" = None, message: str = "", fraction: float = -1.0) -> None:
        """Tell whoever follows the task. Best effort, not stored.

        Args:
            value: any JSON value. message: for people. fraction: 0 to 1, negative for unknown.

        Raises:
            TypeError, ValueError: it cannot be JSON.
        """
        self._sent += 1
        said: dict[str, Any] = {"agent": self._agent.id, "attempt": self.attempt, "seq": self._sent}
        if value is not None:
            said["value"] = value
        if message:
            said["message"] = message
        if fraction >= 0:
            said["fraction"] = fraction
        self._agent.progress(self, dumps(said).encode())

    def log(self, text: str, level: int = port.INFO) -> None:
        """Write a line that names the task."""
        port.log(level, f"[{self.id}] {text}")


def _number(fields: "dict[str, str]", name: str, default: int) -> int:
    value = fields.get(name, "")
    if value and not _is_number(value):
        raise Garbage(f"dispatch: {name} is not a number")
    return int(value or default)


def _is_number(text: str) -> bool:
    # isdigit() is true for more than int() takes.
    return 0 < len(text) < 20 and all(one in "0123456789" for one in text)


def _delivery(ack: str) -> "tuple[int, int]":
    """How often the broker has given it out, and when it was stored, in Unix milliseconds."""
    # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<seq>.<seq>.<stored ns>.…
    words = ack.split(".")
    first = 4 if len(words) == 9 else 6
    if ack[:8] != "$JS.ACK." or len(words) < 9 or not _is_number(words[first]):
        raise Garbage("dispatch: Fleet-Ack is not an ack subject")
    stored = words[first + 3]
    return int(words[first]), int(stored) // 1_000_000 if _is_number(stored) else 0
