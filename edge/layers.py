"""The layers of the configuration that count, from writes as they are heard or read back."""

from edge import port, values
from edge.client import decode
from edge.names import is_token
from edge.selector import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.runtime import Runtime
    from edge.wire import Message


class Layers:
    """The layers that count, from writes in any order of keys."""

    def __init__(self, runtime: "Runtime") -> None:
        self._rt = runtime
        self.layers: dict[str, dict[str, Any]] = {}
        self.staged: dict[str, tuple[int, Any]] = {}
        """Writes of a batch that wait for their head: revision and value, by key."""
        self.ignored: list[str] = []
        """Keys whose last write cannot be read."""
        self.unfit: dict[str, str] = {}
        """Why this device cannot take their last write, by key."""
        self.head: Any = None
        self.head_at = 0
        self.commit = ""
        self.latest = 0
        self.key = ""
        """Of the write with the highest revision,"""
        self.sequence = 0
        """and the revision of what was taken last."""
        self._revisions: dict[str, int] = {}

    def made(self) -> "dict[str, Any]":
        """All layers in one."""
        made: dict[str, Any] = {}
        for name in sorted(self.layers, key=_order):
            values.lay(made, self.layers[name])
        return made

    def take(self, message: "Message", prefix: str, past: bool = False) -> bool:
        """A write; whether it changes what counts. ``past``: it may be older than what is known."""
        head = message.headers
        subject = head.get("Nats-Subject", "")
        if not subject.startswith(prefix):
            return False
        key = subject[len(prefix) :]
        self.sequence = revision = int(head.get("Nats-Sequence", "0"))
        if revision > self.latest:
            self.latest, self.key = revision, key
        if not past and revision <= self._revisions.get(key, 0):
            return False
        self._revisions[key] = max(revision, self._revisions.get(key, 0))
        batched = "Nats-Batch-Id" in head
        if key == "head":
            value = decode(message.body)
            commit = value.get("commit") if isinstance(value, dict) else None
            if not batched or not isinstance(commit, str) or not commit:
                self._ignore(key)
                return False
            self.head, self.head_at, self.commit = value, revision, commit
            for one, (at, layer) in list(self.staged.items()):
                if at <= revision:
                    del self.staged[one]
                    self._set(one, layer)
            return True
        name = key[6:]
        layer = None if "KV-Operation" in head else self._read(message.body)
        if message.body is None:
            most = self._rt.settings["largest"]
            text = f"configuration {key}: {message.size} bytes: this device takes {most}"
            port.log(port.WARNING, text)
        if not past:
            self.unfit.pop(key, None)
        if not _legal(name) or isinstance(layer, str):
            self._ignore(key)
            if layer and not past:
                self.unfit[key] = f"{key}: {layer}"
            return key in self.unfit
        if batched and revision > self.head_at:
            if not past:
                self.staged[key] = (revision, layer)
                self._ignore(key)
            return False
        if not past:
            self.staged.pop(key, None)
        return self._set(key, layer)

    def _ignore(self, key: str) -> None:
        if key not in self.ignored:
            self.ignored.append(key)

    def _read(self, body: "bytes | None") -> "Any":
        """The layer's values if they are for this agent, else None; a text if it does not count:
        why not, empty for garbage."""
        rt = self._rt
        try:
            value = values.loads(body or b"")
            found, selector = value["values"], value.get("selector", "")
            if not isinstance(found, dict):
                return ""
            deep = values.deep(value, values.DEEPEST + 1)
            meant = matches(selector, rt.id, rt.agent.site, rt.agent.labels, rt.offers)
        except (ValueError, KeyError, AttributeError, TypeError):
            return ""
        except (RuntimeError, MemoryError) as problem:
            return f"this device cannot take it: {problem}"
        if deep and meant:
            return f"this device takes {values.DEEPEST} levels, and it has more"
        return found if meant else None

    def _set(self, key: str, layer: "Any") -> bool:
        if key in self.ignored:
            self.ignored.remove(key)
        before = self.layers.pop(key[6:], None)
        if layer is not None:
            self.layers[key[6:]] = layer
        return values.differ(before, layer)


def _order(name: str) -> str:
    """What comes later wins."""
    return str(["global", "fleet", "group", "instance"].index(name.split(".")[0])) + name


def _legal(name: str) -> bool:
    if name in ("global", "fleet"):
        return True
    kind, _, rest = name.partition(".")
    if kind == "group":
        return rest[:2].isdigit() and rest[2:3] == "-" and is_token(rest) and len(rest) > 3
    return kind == "instance" and is_token(rest)
