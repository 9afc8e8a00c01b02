"""Stands for the configuration while there is none: many devices have none, and applying one takes
much code, which is loaded when the first layer comes."""

from edge import port
from edge.errors import BusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.config import Configuration
    from edge.runtime import Runtime
    from edge.wire import Message

EMPTY = "44136fa355b3678a"
"""The hash of a configuration without values."""


class Configured:
    """The way to the configuration of one agent."""

    def __init__(self, runtime: "Runtime") -> None:
        self._rt = runtime
        self._whole: Configuration | None = None

    @property
    def prefix(self) -> str:
        """What the subjects of the bucket's keys begin with."""
        return f"$KV.CONFIG_{self._rt.settings['fleet']}."

    def patterns(self) -> "list[str]":
        """Of the keys that matter to this agent."""
        names = ("global", "fleet", "group.*", "instance." + self._rt.id)
        return ["layer." + name for name in names] + ["head"]

    async def start(self) -> None:
        """See what there is, and apply it.

        Raises:
            BusError: it could not be fetched.
        """
        rt = self._rt
        # A callback is called with the first one, even if that is empty.
        if rt.agent.callbacks or await self.fetch():
            await self.whole().start()
        else:
            rt.presence.standing = {"config": EMPTY, "versions": rt.versions()}
        rt.client.on_connect.append(self._on_connect)

    async def fetch(self) -> "list[Message]":
        """The last write of each key that matters.

        Raises:
            BusError: the server did not answer.
        """
        stream = "KV_CONFIG_" + self._rt.settings["fleet"]
        stored = self._rt.client.stored
        subjects = [self.prefix + key for key in self.patterns()]
        try:
            return await stored(stream, {"multi_last": subjects, "batch": 1024}, 1024)
        except BusError as problem:
            if problem.code != 413:
                raise
        # More than the server answers for at once: not at one moment then, so the head comes
        # first, and what a later one has written waits for that one to be heard.
        found: list[Message] = []
        for subject in subjects[::-1]:
            seq = 1
            while True:
                question = {"seq": seq, "next_by_subj": subject, "batch": 256}
                page = await stored(stream, question, 256)
                found += page
                if len(page) < 256:
                    break
                seq = int(page[-1].headers["Nats-Sequence"]) + 1
        return found

    def whole(self) -> "Configuration":
        """All of it. To be started if it was not there."""
        if self._whole is None:
            from edge.config import Configuration

            self._whole = Configuration(self._rt, self)
        return self._whole

    async def started(self) -> "Configuration":
        """The same, started.

        Raises:
            BusError: it could not be fetched.
        """
        whole = self.whole()
        if not whole.started:
            await whole.start()
        return whole

    def on_message(self, message: "Message") -> None:
        """A key of the bucket was written."""
        if self._whole is None or not self._whole.started:
            spread = self._rt.presence.spread
            self._rt.chores.sooner("config", port.uniform(0.0, spread), self._ask)
        else:
            self._whole.on_message(message)

    def clean(self, text: str) -> str:
        """``text`` without the secrets that handlers have."""
        return text if self._whole is None else self._whole.clean(text)

    def _on_connect(self) -> None:
        # All agents come back together; their questions must not.
        interval = self._rt.presence.policy["interval"]
        delay = 1000 * interval * port.uniform(0.05, 0.5)
        ask = self._ask if self._whole is None else self._whole.ask
        self._rt.chores.at("config", delay, ask)

    def _ask(self) -> None:
        self._rt.chores.spawn(self._look(), "configuration")

    async def _look(self) -> None:
        try:
            if self._whole is not None or await self.fetch():
                await self.started()
        except BusError as problem:
            port.log(port.WARNING, f"the configuration was not fetched: {problem}")
            self._rt.chores.at("config", port.uniform(1000, 10_000), self._ask)
