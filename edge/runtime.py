"""An agent while it runs: one connection, and what is wired to it."""

import asyncio

from edge import micro, port
from edge.chores import Chores
from edge.client import Client
from edge.clock import Clock
from edge.configured import Configured
from edge.errors import BusError, DuplicateAgent
from edge.intake import Intake
from edge.link import TOO_LARGE
from edge.load import Load
from edge.names import BUILT_IN, VERSION, dumps
from edge.presence import Presence
from edge.work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from edge.agent import Agent
    from edge.commands import Commands
    from edge.outbox import Outbox
    from edge.sampling import Sampling
    from edge.task import Task
    from edge.wire import Message

WRONG = 60_000
"""Milliseconds by which a device's clock may differ from the broker's."""
SET = 1_700_000_000_000
"""Unix milliseconds: a clock that says less has not been set."""
PAUSE = 2000
"""Milliseconds of the longest pause between two tries to join."""
GOODBYE = 3.0
"""Seconds for leaving the registry: without a server the process must end all the same."""


class Runtime:
    """One run of an agent."""

    def __init__(self, agent: "Agent", settings: "dict[str, Any]") -> None:
        self.agent = agent
        self.id = agent.id
        self.settings = _settings(settings)
        self.root = f"fleet.{self.settings['fleet']}."
        self.incarnation = port.random_bytes(6).hex()
        # The server's disconnect event carries this name: it is how a loss is recognised.
        self.client = Client(self.settings, f"agent:{agent.id}:{self.incarnation}")
        self.clock = Clock()
        self.chores = Chores(agent.watchdog, agent.watchdog_every)
        self.load = Load(agent.slots, agent.queue)
        self.offers = agent.offers
        self.version = f"fleetbus-edge/{VERSION} {port.RUNTIME}"
        self._begun = port.ticks()
        self.started_ms = self.now()
        self.stopping = asyncio.Event()
        self.failure = ""
        self.intake = Intake(self)
        self.work = Work(self)
        self.presence = Presence(self)
        self._commands: Commands | None = None
        self._sampling: Sampling | None = None
        self.outbox: Outbox | None = None
        """There if there is something to be kept or measured."""
        self.config = Configured(self)
        self._heard = self._configured = self.joined = False

    # what the parts ask for

    def now(self) -> int:
        """Unix time in milliseconds, by the broker's clock once it is known."""
        return self.clock.now()

    def clean(self, text: str) -> str:
        """``text`` without the secrets that handlers have."""
        return self.config.clean(text)

    def card(self) -> "dict[str, Any]":
        """What the registry says of the agent."""
        agent = self.agent
        card: dict[str, Any] = {"agent": agent.id, "incarnation": self.incarnation}
        more = {
            "site": agent.site if agent.site != "default" else "",
            "labels": agent.labels,
            "slots": agent.slots if agent.slots != 1 else 0,
            "capabilities": [one.card for one in agent.offers.values()],
            "commands": self.verbs(),
            "host": port.host(),
            "pid": port.pid(),
            # Unknown until the broker has told the time; the next card says it.
            "started_ms": self.started_ms if self.started_ms > SET else 0,
            "runtime": self.version,
            "idle": self.settings["idle"],
        }
        card.update({name: value for name, value in more.items() if value})
        return card

    def verbs(self) -> "list[str]":
        """The commands that it answers."""
        return sorted(list(self.agent.verbs) + list(BUILT_IN))

    def status(self) -> "dict[str, Any]":
        """What the command ``status`` answers."""
        made = self.load.report()
        for name in ("accepted", "service_ms", "failing"):
            del made[name]
        made["state"] = self.intake.state
        made["canceled"] = self.load.canceled
        made["adopted"] = self.intake.adopted
        made["lapsed"] = self.work.lapsed
        made["refused_results"] = self.work.refused
        made["dropped_messages"] = self.client.dropped
        made["tasks"] = list(self.intake.held)[:100]
        made["uptime_s"] = int(port.ticks() - self._begun) // 1000
        made["version"] = self.version
        made.update(port.usage())
        if self.outbox is not None:
            made.update(self.outbox.report())
            made["spool"] = self.outbox.trouble
        return made

    def versions(self) -> "dict[str, str]":
        """Of each capability."""
        return {name: one.card.get("version", "0.0.0") for name, one in self.offers.items()}

    def say(self, kind: str, data: "dict[str, Any]") -> None:
        """Publish an event soon, but not with all others that have the same to tell."""
        self.chores.spawn(self._say(kind, data), "event " + kind)

    async def _say(self, kind: str, data: "dict[str, Any]") -> None:
        await asyncio.sleep(port.uniform(0.0, self.presence.spread) / 1000)
        await self.tell(kind, data)

    def short_of_memory(self) -> bool:
        """Whether no task should be taken for want of heap."""
        reserve = self.settings["heap_reserve"]
        return bool(reserve) and port.usage().get("heap_free", reserve) < reserve

    def progress(self, task: "Task", body: bytes) -> None:
        """Send progress of a task that still runs."""
        subject = self.root + "progress." + task.id
        port.at_home(lambda: self._progress(task, subject, body))

    def _progress(self, task: "Task", subject: str, body: bytes) -> None:
        if task.stage == 1:
            try:
                self.client.pub(subject, body)
            except BusError as problem:
                port.log(port.WARNING, str(problem))

    async def tell(
        self, kind: str, data: "dict[str, Any] | None" = None, once: bool = False
    ) -> None:
        """Publish an event about this agent.

        Raises:
            BusError: it was not stored.
        """
        about = {"site": self.agent.site}
        about.update(data or {})
        said = {
            "kind": kind,
            "subject_id": self.id,
            "at_ms": self.now(),
            "by": self.id,
            "data": about,
        }
        # Of these there is one an incarnation, whoever says it.
        unique = f"{kind}:{self.id}:{self.incarnation}" if once else port.random_bytes(8).hex()
        subject = f"{self.root}event.{kind}.{self.id}"
        await self.client.store(subject, dumps(said).encode(), [("Nats-Msg-Id", unique)])

    async def persist(self, subject: str, body: bytes, head: "list[tuple[str, str]]") -> None:
        """Store a message, however long that takes. Why it is not is logged once.

        Raises:
            BusError: it is larger than the server takes.
        """
        said = ""
        while True:
            try:
                await self.client.store(subject, body, head)
                return
            except BusError as problem:
                if problem.code == TOO_LARGE:
                    raise
                if str(problem) != said:
                    said = str(problem)
                    port.log(port.WARNING, said)
            await self.back(1000)

    async def back(self, pause: int) -> None:
        """Return after ``pause`` milliseconds, or once there is a connection again."""
        if self.client.connected:
            await asyncio.sleep(pause / 1000)
        else:
            await self.client.up.wait()

    def date(self, stamp: str, asked: float) -> None:
        """Go by the broker's time from now on, see ``Clock.heard``. If ours was wrong, so were the
        times of readings in memory, and when we started: that decides between two processes with
        one id."""
        before = self.now()
        self.clock.heard(stamp, asked)
        for one in self.agent.series:
            one.shift(self.now() - before)
        started = self.now() - int(port.ticks() - self._begun)
        if abs(started - self.started_ms) > WRONG:
            self.started_ms = started
            self.presence.renew()

    def fail(self, why: str) -> None:
        """Another process has taken over: stop, and say why."""
        port.log(port.ERROR, why)
        self.failure = why
        self.stopping.set()

    # lifecycle

    async def serve(self, on_signal: "Callable[[Callable[[], None]], None]") -> int:
        """Run until a signal or a command; the exit status.

        Raises:
            ValueError: a file that a setting names, or the spool's folder, cannot be used.
        """
        on_signal(self.stopping.set)
        self._keep()
        tasks = [
            asyncio.create_task(self.client.run()),
            asyncio.create_task(self.chores.run()),
        ]
        joining = self.chores.spawn(self._join(), "joining")
        try:
            await self.stopping.wait()
            joining.cancel()
            if self.joined:
                await self._leave()
                port.say(f"agent {self.id} stopped")
            elif self._sampling is not None:
                self._sampling.keep()
        finally:
            self.chores.stop()
            await self.client.close()
            if self.outbox is not None:
                self.outbox.close()
            for task in tasks:
                task.cancel()
        return 1 if self.failure else 0

    def _keep(self) -> None:
        """Make what is needed for readings, and for what must outlive the power.

        Raises:
            ValueError: a file that a setting names, or the spool's folder, cannot be used.
        """
        # Here, and not in ``serve``: what that imports could never be unloaded.
        from edge.login import readable

        readable(self.settings)
        folder = self.settings["spool"]
        if folder or self.agent.series:
            from edge.outbox import Outbox
            from edge.sampling import Sampling

            spool = None
            if folder:
                from edge.spool import Spool

                spool = Spool(folder, self.settings["spool_bytes"])
            self.outbox = Outbox(self, spool)
            self.outbox.open()
            self._sampling = Sampling(self, self.outbox)
            if folder and port.unix_ms() > SET:
                # Without a link too; a device without a clock has to wait for the broker's.
                self._sampling.start()

    def _on_command(self, message: "Message") -> None:
        if self._commands is None:
            from edge.commands import Commands

            self._commands = Commands(self)
        self._commands.on_command(message)

    async def _join(self) -> None:
        """Join the fleet, however long that takes."""
        said = ""
        tries = 0
        while not self.joined:
            try:
                await self.client.up.wait()
                await self._try()
                self.joined = True
            except DuplicateAgent as problem:
                self.fail(str(problem))
                return
            except Exception as problem:  # whatever it is, it may pass: memory, garbage, the bus
                text = str(problem)
                if not isinstance(problem, BusError):
                    text = port.trace(problem)
                if text != said:
                    said = text
                    port.log(port.WARNING, "the agent waits: " + said)
                pause = min(PAUSE, 100 * 2 ** min(tries, 10))
                tries += 1
                await asyncio.sleep(0.05 + port.uniform(0.0, pause) / 1000)
        port.say(f"agent {self.id} ready: {', '.join(sorted(self.offers)) or 'nothing'}")

    async def _try(self) -> None:
        await self.presence.learn()
        if not self._heard:
            # Before we listen there ourselves, and would answer too.
            await self.presence.check_twin()
            # Before the broker gives their tasks to us again.
            if self.outbox is not None:
                await self.outbox.results()
            self._listen()
            self._heard = True
        # Ready means subscribed, then flushed, then announced.
        await self.client.flush()
        if not self._configured:
            await self.config.start()
            self._configured = True
        await self.presence.join()
        if self._sampling is not None:
            # Not before: a device may have learned the time only by joining.
            self._sampling.start()

    def _listen(self) -> None:
        agent, root, sub = self.agent, self.root, self.client.sub
        sub(root + "config.policy", self.presence.on_policy)
        for key in self.config.patterns():
            sub(root + "config." + key, self.config.on_message)
        sub(root + "advert." + agent.id, self.presence.on_advert)
        sub(root + "dispatch." + agent.id, self.intake.on_dispatch)
        command = self._on_command
        for where in ("all", "site." + agent.site, "agent." + agent.id):
            sub(f"{root}cmd.{where}", command)
        for name in agent.offers:
            sub(f"{root}cancel.{name}.*.*", self.intake.on_cancel)
            sub(f"{root}cmd.cap.{name}", command)
        micro.listen(self)
        self.client.on_connect.append(self.presence.on_connect)

    async def _leave(self) -> None:
        """Stop intake, let what runs end, hand back the rest, leave the registry."""
        self.intake.drained = True
        self.presence.poke()
        self.work.hand_back(False)
        await self.intake.emptied(self.agent.grace)
        self.work.hand_back(True)
        await self.intake.emptied(2.0)
        try:
            await port.within(self._part(), GOODBYE)
        except (BusError, asyncio.TimeoutError) as problem:
            port.log(port.WARNING, f"the lease will run out by itself: {problem}")

    async def _part(self) -> None:
        if self._sampling is not None:
            await self._sampling.stop()
        await self.presence.leave()


def _settings(given: "dict[str, Any]") -> "dict[str, Any]":
    from edge.settings import load

    found = load(given)
    port.unload("settings")
    return found
