"""Takes readings when it is time, and has them sent."""

from edge import port
from edge.errors import BusError
from edge.names import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.outbox import Outbox
    from edge.runtime import Runtime
    from edge.telemetry import Series


class Sampling:
    """The telemetry of one agent."""

    def __init__(self, runtime: "Runtime", outbox: "Outbox") -> None:
        self._rt = runtime
        self._outbox = outbox
        self._started = False
        self._reading: list[str] = []
        """Series that are being read: a sensor that hangs is not asked again."""

    def start(self) -> None:
        """Read from now on, and send what an earlier run has kept. The second call does
        nothing."""
        rt = self._rt
        if self._started:
            return
        self._started = True
        rt.client.on_connect.append(self._resend)
        self._resend()
        for series in rt.agent.series:
            # Not all at once, and not all devices together.
            first = port.uniform(0, 1000 * series.every)
            rt.chores.at("series " + series.name, first, self._tick(series))

    async def stop(self) -> None:
        """Read no more, and send the rest of each batch; keep what cannot be sent."""
        try:
            for series in self._rt.agent.series:
                self._rt.chores.cancel("series " + series.name)
                await self._publish(series)
        finally:
            self.keep()

    def keep(self) -> None:
        """Keep the rest of each batch, where there is a spool."""
        for series in self._rt.agent.series:
            subject, body = self._message(series)
            if body:
                self._outbox.keep(subject, body)

    def _resend(self) -> None:
        rt = self._rt
        soon = port.uniform(0, 500)
        rt.chores.at("outbox", soon, lambda: rt.chores.spawn(self._replay(), "readings"))

    async def _replay(self) -> None:
        try:
            await self._outbox.replay()
        except BusError as problem:
            port.log(port.WARNING, f"kept readings wait on: {problem}")
            self._rt.chores.sooner("outbox", port.uniform(5000, 15_000), self._resend)

    def _tick(self, series: "Series") -> "Callable[[], None]":
        chores = self._rt.chores

        def tick() -> None:
            # Planned first: how long a reading takes must not move the next one.
            chores.at("series " + series.name, 1000 * series.every, tick)
            if series.name not in self._reading:
                self._reading.append(series.name)
                chores.spawn(self._read(series), "telemetry " + series.name)

        return tick

    async def _read(self, series: "Series") -> None:
        try:
            value = await port.call(series.read, (), {}, [])
            due = series.take(value, self._rt.now())
        except port.RAISED as problem:  # a sensor must not end the agent
            text = f"telemetry {series.name}: {type(problem).__name__}: {port.said(problem)}"
            if text != series.failure:
                series.failure = text
                port.log(port.WARNING, self._rt.clean(text))
            due = series.take(None, self._rt.now())
        finally:
            self._reading.remove(series.name)
        if due:
            await self._publish(series)

    async def _publish(self, series: "Series") -> None:
        subject, body = self._message(series)
        if body:
            rt = self._rt
            await self._outbox.send(subject, body)
            if rt.client.connected and self._outbox.report().get("spooled"):
                # One was not answered, although the link is there.
                rt.chores.sooner("outbox", port.uniform(5000, 15_000), self._resend)

    def _message(self, series: "Series") -> "tuple[str, bytes]":
        """Subject and body of the batch as it is; empty if there is none."""
        said = series.batched()
        if not said:
            return "", b""
        agent = self._rt.agent
        said["agent"], said["site"] = agent.id, agent.site
        subject = f"{self._rt.root}telemetry.{agent.site}.{agent.id}.{series.name}"
        return subject, dumps(said).encode()
