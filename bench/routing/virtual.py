"""Our routing in virtual time: what the policy is worth, without the noise of a machine.

The real load book-keeping of agents, the real view and the real router, in a discrete-event
simulation: messages take ``HOP``, handlers a little longer than they sleep, and nothing else
costs anything. Beside the real run it tells what the machine adds; alone it is how the policy
is tuned, for its figures are the same each time.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from agent_runtime.load import FEEDBACK, Load, feedback
from bench.routing.ideal import Outcome, Server
from bench.routing.mix import Job
from bus.client.brief import Brief
from bus.wire.heartbeat import Heartbeat
from coordinator import router
from coordinator.entry import AgentEntry
from coordinator.puller import RENEW
from coordinator.view import FleetView

HOP: Final = 0.0003
"""Seconds from one process by way of the broker to another, or to the broker and its answer."""
OVERHEAD: Final = 0.0003
"""Seconds that an agent spends on a task beside its length."""
INTERVAL: Final = 1.0
"""Seconds between heartbeats of an agent whose load does not change."""
REFUSAL_WAIT: Final = 1.0
"""Seconds after which a coordinator expects no refusal any more."""
COORDINATOR: Final = "c1"
CAPABILITY: Final = "work"


def simulate(jobs: Sequence[Job], fleet: Sequence[Server], seed: int, hop: float = HOP) -> Outcome:
    """Run ``jobs``, which come in the order of their arrival, through our routing."""
    world = _World(hop, seed)
    agents = {f"a{number}": _Agent(f"a{number}", one) for number, one in enumerate(fleet)}
    coordinator = _Coordinator(world, agents, jobs)
    for agent in agents.values():
        agent.join(world, coordinator)
    for number, job in enumerate(jobs):
        world.at(job.at + hop, partial(coordinator.submit, number))
    while coordinator.left:
        world.step()
    count = max(1, len(jobs))
    share = [agent.load.done / count for agent in agents.values()]
    return Outcome(coordinator.took, world.now, share)


class _World:
    """Time, and what is to happen in it."""

    def __init__(self, hop: float, seed: int) -> None:
        self.now = 0.0
        self.hop = hop
        self.rng = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def step(self) -> None:
        self.now, _, what = heapq.heappop(self._events)
        what()


class _Agent:
    """Its load is the real one."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.server = server
        self.load = Load(server.slots)
        self._queue: deque[int] = deque()
        self._seq = 0
        self._last = self._due = 0.0

    def join(self, world: _World, coordinator: _Coordinator) -> None:
        self._world, self._coordinator = world, coordinator
        self.load.feedback = feedback(2 * world.hop)
        self._beat()

    def hear(self, job: int) -> None:
        """A task arrives, or waits in the socket until the agent is awake."""
        self._awake(partial(self._take, job))

    def _awake(self, what: Callable[[], None]) -> None:
        now = self._world.now
        awake = self.server.awake(now)
        if awake > now:
            self._world.at(awake, partial(self._awake, what))
        else:
            what()

    def _take(self, job: int) -> None:
        if self.load.room <= 0:
            refused = partial(self._coordinator.refused, self, job)
            self._world.at(self._world.now + self._world.hop, refused)
            self._poke()
            return
        self.load.accept(COORDINATOR)
        self._queue.append(job)
        self._start()

    def _start(self) -> None:
        while self._queue and self.load.running < self.load.slots:
            job, now = self._queue.popleft(), self._world.now
            self.load.queued -= 1
            self.load.running += 1
            length = self._coordinator.jobs[job].length * self.server.slowness + OVERHEAD
            self._world.at(now + length, partial(self._awake, partial(self._end, job, now)))

    def _end(self, job: int, begun: float) -> None:
        tell = self.load.finish(CAPABILITY, self._world.now - begun)
        self._coordinator.done(job)
        self._start()
        if tell:
            self._poke()

    def _poke(self) -> None:
        self._plan(max(self._world.now, self._last + FEEDBACK))

    def _plan(self, when: float) -> None:
        if not self._world.now < self._due <= when:
            self._due = when
            self._world.at(when, partial(self._awake, partial(self._is_due, when)))

    def _is_due(self, planned: float) -> None:
        if planned == self._due:
            self._beat()

    def _beat(self) -> None:
        world, load = self._world, self.load
        self._last, self._due = world.now, 0.0
        self._plan(world.now + INTERVAL * world.rng.uniform(0.8, 1.2))
        load.reported(1.0 + world.now)
        self._seq += 1
        beat = Heartbeat(
            agent=self.name,
            incarnation="i",
            seq=self._seq,
            slots=load.slots,
            window=load.window,
            running=load.running,
            queued=load.queued,
            accepted=dict(load.accepted),
            service_ms=dict(load.service_ms),
            failing=dict(load.failing),
            next_in=INTERVAL,
        )
        world.at(world.now + world.hop, partial(self._coordinator.heard, beat))


class _Coordinator:
    """The real view and router, with the broker's queue at its side."""

    def __init__(self, world: _World, agents: dict[str, _Agent], jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.left = len(jobs)
        self.took = [0.0] * len(jobs)
        self._world = world
        self._agents = agents
        self._view = FleetView(COORDINATOR)
        self._pool = self._view.pool(CAPABILITY)
        for number, agent in enumerate(agents.values()):
            brief = Brief(agent.name, "i", "default", {}, agent.load.slots, (CAPABILITY,))
            self._view.put(brief, number + 1)
        self._stored: deque[int] = deque()
        self._standing = 0
        """Tasks on order, as the broker knows."""
        self._asked = 0
        """The same, as the coordinator knows."""
        self._waiting: deque[int] = deque()

    def submit(self, job: int) -> None:
        """A task has reached the broker."""
        self._stored.append(job)
        self._give()

    def done(self, job: int) -> None:
        """Its result goes to the broker, and from there to the client."""
        self.left -= 1
        self.took[job] = self._world.now + 2 * self._world.hop - self.jobs[job].at

    def heard(self, beat: Heartbeat) -> None:
        """A heartbeat has come."""
        self._view.beat(self._view.agents[beat.agent], beat)
        self._fill()
        self._pull()

    def refused(self, agent: _Agent, job: int) -> None:
        """An agent had less room than was thought."""
        entry = self._view.agents[agent.name]
        entry.forwarded -= 1
        entry.reported = entry.window
        entry.settle()
        self._waiting.appendleft(job)
        self._fill()

    def _pull(self) -> None:
        want = self._pool.room - len(self._waiting)
        if want > 0 and self._asked <= want * RENEW:
            count = want - self._asked
            self._asked += count
            self._world.at(self._world.now + self._world.hop, partial(self._order, count))

    def _order(self, count: int) -> None:
        self._standing += count
        self._give()

    def _give(self) -> None:
        while self._stored and self._standing:
            self._standing -= 1
            came = partial(self._came, self._stored.popleft())
            self._world.at(self._world.now + self._world.hop, came)

    def _came(self, job: int) -> None:
        self._asked = max(0, self._asked - 1)
        self._waiting.append(job)
        self._fill()
        self._pull()

    def _fill(self) -> None:
        while self._waiting:
            entry = router.pick(self._pool.free.tiers(), CAPABILITY, self._world.rng)
            if entry is None:
                return
            entry.forwarded += 1
            entry.fresh += 1
            entry.sent_at = time.monotonic()  # the view's clock is the real one
            entry.settle()
            now = self._world.now
            arrives = partial(self._agents[entry.id].hear, self._waiting.popleft())
            self._world.at(now + self._world.hop, arrives)
            self._world.at(now + REFUSAL_WAIT, partial(_settled, entry))


def _settled(entry: AgentEntry) -> None:
    entry.fresh -= 1
