"""Being there: the registry lease, and heartbeats that carry the load."""

from edge import port
from edge.client import WRONG_LAST_SEQUENCE, decode
from edge.errors import BusError, DuplicateAgent, Garbage
from edge.names import dumps, shaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.runtime import Runtime
    from edge.wire import Message

JITTER = 0.2
"""Share of the interval by which each heartbeat is moved: herds must not form."""
FEEDBACK = 4
"""Milliseconds between two heartbeats at the least."""
SYNCED = 5000
"""Agents of a large fleet that report a second when something happens to all at once."""
TWIN_TIMEOUT = 2.0
"""Seconds that another process with our id has to say that it is alive."""

BOUNDS = (
    ("interval", 1.0, 0.05, 86_400),
    ("lease", 10, 1, 604_800),
    ("grace", 0.2, 0, 86_400),
    ("ack_wait", 10.0, 0.1, 86_400),
    ("agents", 0, 0, 1e9),
)
"""Of a fleet's policy: name, default, least and most."""


class Presence:
    """Registers one agent and reports its load until it leaves."""

    def __init__(self, runtime: "Runtime") -> None:
        self.policy: dict[str, Any] = {name: default for name, default, _, _ in BOUNDS}
        self.standing: dict[str, Any] = {}
        """What heartbeats say of the configuration."""
        self._rt = runtime
        self._seq = 0
        self._revision = 0
        self._last: float = 0
        self._joined = False
        self._missed = False
        self._said: Any = None
        self._pause = 0.0
        self._asked: float = 0
        self._learned = 0
        """The connection by which the policy was read."""

    async def join(self) -> None:
        """Register, then send the first heartbeat.

        Raises:
            BusError: the registry cannot be written.
        """
        await self._register()
        self._joined = True
        await self._rt.tell("joined", once=True)
        self._plan_renewal()
        self._rt.intake.extend()
        self.beat()

    async def leave(self) -> None:
        """Send the last heartbeat, and delete the registry entry.

        Raises:
            BusError: the lease has to run out by itself.
        """
        self._joined = False
        for name in ("beat", "lease", "extend", "back"):
            self._rt.chores.cancel(name)
        self._heartbeat(0.0)
        head = [
            ("KV-Operation", "DEL"),
            ("Nats-TTL", "60s"),
            # Another process may have taken the id over; its entry must stay.
            ("Nats-Expected-Last-Subject-Sequence", str(self._revision)),
        ]
        try:
            await self._rt.client.store(self._key(), b"", head)
        except BusError as problem:
            if problem.code != WRONG_LAST_SEQUENCE:
                raise
        await self._rt.tell("left", once=True)

    async def check_twin(self) -> None:
        """Look whether another process has this id.

        Raises:
            DuplicateAgent: one has, and answers.
            BusError: the registry could not be read.
        """
        rt = self._rt
        found = await rt.client.last("KV_REGISTRY_" + rt.settings["fleet"], self._key())
        other = decode(found.body) if found is not None else None
        if found is not None and found.body is None:
            other = {"incarnation": "of a card that is too large to be read"}
        if not isinstance(other, dict) or other.get("incarnation") in (None, rt.incarnation):
            return
        holder = f"process {other.get('pid', '?')} on {other.get('host', '?')}"
        try:
            head = [("Fleet-Probe", rt.incarnation)]
            subject = rt.root + "dispatch." + rt.agent.id
            answer = await rt.client.request(subject, b"", head, TWIN_TIMEOUT)
        except BusError:
            # Stopped, or cut off: when it comes back it sees our entry and gives way.
            port.log(port.WARNING, f"agent id {rt.agent.id}: {holder} does not answer: replaced")
            return
        if answer.headers.get("Status") != "503":
            raise DuplicateAgent(f"agent id {rt.agent.id} is in use by {holder}: choose another id")

    @property
    def spread(self) -> float:
        """Milliseconds in which all of the fleet may do what each has a reason for now."""
        return float(1000 * min(self.policy["interval"], self.policy["agents"] / SYNCED))

    def poke(self, spread: float = 0.0) -> None:
        """The load has changed, or something has for all agents at once: report it soon."""
        if self._joined:
            soon = port.uniform(0.0, spread)
            delay = max(soon, self._last + FEEDBACK - port.ticks(), 0)
            self._rt.chores.sooner("beat", delay, self.beat)

    def beat(self) -> None:
        """Send a heartbeat, and plan the next."""
        interval = self.policy["interval"]
        said = dict(self._rt.load.report())
        # They fade by themselves; when there is something new, ``done`` says so.
        del said["service_ms"], said["failing"]
        said.update(self.standing)
        said["state"] = self._rt.intake.state
        # Nothing has changed, and the broker says when we go: no need to say it often.
        idle = self._rt.settings["idle"]
        same = said == self._said
        self._pause = min(max(self._pause * 2, interval), max(idle, interval)) if same else interval
        self._said = said
        delay = self._pause * port.uniform(1 - JITTER, 1 + JITTER)
        self._rt.chores.at("beat", delay * 1000, self.beat)
        self._heartbeat(delay)

    def on_policy(self, message: "Message") -> None:
        """The fleet's policy has changed."""
        if message.body:
            self.adopt(decode(message.body))

    async def learn(self) -> None:
        """Read the policy, and go by it.

        Raises:
            BusError: it could not be read.
        """
        client, fleet = self._rt.client, self._rt.settings["fleet"]
        generation = client.generation
        found = await client.last("KV_CONFIG_" + fleet, f"$KV.CONFIG_{fleet}.policy")
        try:
            self.adopt((found and decode(found.body)) or {})
        except Garbage as problem:
            port.log(port.WARNING, str(problem))
        self._learned = generation

    def adopt(self, new: "Any") -> None:
        """Go by ``new`` from now on.

        Raises:
            Garbage: it is no policy.
        """
        if not isinstance(new, dict):
            raise Garbage("fleet policy is not an object")
        made = {}
        for name, default, least, most in BOUNDS:
            value = made[name] = new.get(name, default)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise Garbage(f"fleet policy: {name} is not a number")
            if not least <= value <= most or (name == "lease" and value != int(value)):
                raise Garbage(f"fleet policy: {name} is {value}")
        if self._joined:
            # By the old one too: it says whether this device stood still.
            self._rt.intake.extend()
        self.policy = made
        if self._joined:
            self._rt.intake.extend()
            delay = 1000 * made["interval"] * port.uniform(1 - JITTER, 1 + JITTER)
            self._rt.chores.sooner("beat", delay, self.beat)

    def on_advert(self, message: "Message") -> None:
        """Somebody has written our registry entry: we ourselves, the broker, or a rival."""
        rt = self._rt
        if message.headers.get("Nats-Time-Stamp"):
            rt.date(message.headers["Nats-Time-Stamp"], self._asked)
        if not self._joined:
            return
        if message.body is None:
            return  # our own card is larger than what is taken
        if not message.body:
            # We were taken for dead. Saying otherwise at once is cheaper than being avoided.
            self._missed = True
            rt.chores.at("lease", 0, self._renewal)
            self.poke()
            return
        card = shaped("advert", decode(message.body), incarnation=str, started_ms=(int, 0))
        theirs = (card["started_ms"], card["incarnation"])
        if theirs > (rt.started_ms, rt.incarnation):
            holder = f"process {card.get('pid', '?')} on {card.get('host', '?')}"
            rt.fail(f"agent {rt.agent.id} was taken over by {holder}; stopping")

    def on_connect(self) -> None:
        """The connection is back: report, but not with all the others."""
        if self._joined:
            delay = 1000 * self.policy["interval"] * port.uniform(0.05, 0.15)
            self._rt.chores.at("back", delay, self._report_back)

    def renew(self) -> None:
        """Register again at once: the card has changed."""
        self._rt.chores.at("lease", 0, self._renewal)

    def _report_back(self) -> None:
        self._rt.chores.at("lease", 0, self._renewal)
        self.beat()

    def _lease(self) -> int:
        return int(max(self.policy["lease"], self._rt.settings["lease"]))

    def _key(self) -> str:
        return f"$KV.REGISTRY_{self._rt.settings['fleet']}.{self._rt.agent.id}"

    async def _register(self) -> None:
        self._asked = port.ticks()
        head = [("Nats-TTL", f"{self._lease()}s")]
        body = dumps(self._rt.card()).encode()
        self._revision = int((await self._rt.client.store(self._key(), body, head))["seq"])

    def _plan_renewal(self) -> None:
        third = self._lease() / 3 * port.uniform(1 - JITTER, 1.0)
        self._rt.chores.at("lease", third * 1000, self._renewal)

    def _renewal(self) -> None:
        self._plan_renewal()
        self._rt.chores.spawn(self._renew(), "the lease was not renewed, trying on")

    async def _renew(self) -> None:
        if self._learned != self._rt.client.generation:
            # Nobody has told us what was written meanwhile.
            await self.learn()
        await self._register()
        if self._missed:
            self._missed = False
            await self._rt.tell("returned")

    def _heartbeat(self, delay: float) -> None:
        rt = self._rt
        now = port.ticks()
        rt.load.told(now - self._last)
        self._last = now
        self._seq += 1
        card = rt.agent
        beat: dict[str, Any] = {"agent": card.id, "incarnation": rt.incarnation, "seq": self._seq}
        more: dict[str, Any] = {"site": card.site, "state": rt.intake.state if delay else "stopped"}
        more.update(rt.load.report())
        more.update(self.standing)
        more.update(port.usage())
        more["version"] = rt.version
        more["next_in"] = round(delay, 3)
        more["interval"] = self.policy["interval"]
        more["sent_ms"] = rt.now()
        if rt.outbox is not None:
            more.update(rt.outbox.report())
        for name, value in more.items():
            # What has its default is left out.
            if value and value != DEFAULTS.get(name):
                beat[name] = value
        if rt.load.window == 0:
            beat["window"] = 0
        # While disconnected it would only be stale when it is sent at last.
        rt.client.pub(f"{rt.root}hb.{card.site}.{card.id}", dumps(beat).encode())


DEFAULTS = {"site": "default", "state": "ready", "slots": 1, "window": 1}
"""Of a heartbeat's fields, those that are not empty or 0."""
