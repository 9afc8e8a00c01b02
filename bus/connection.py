"""One connection to the bus of one fleet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from nats import errors as nats_errors
from nats.aio.subscription import Subscription

from bus import codec
from bus.answers import Answer, Expected
from bus.backoff import full_jitter
from bus.credentials import credentials, explain, shown
from bus.errors import BusError, ConnectError, Disconnected, FeatureMissing, FleetError
from bus.settings import BusSettings, load
from bus.subjects import Subjects
from bus.telemetry import NOBODY, Dropped, Hook
from bus.transport import Handler, Inbound, Transport

log = logging.getLogger("fleetbus.bus")

SWEEP: Final = 0.25
"""Seconds between looks for replies that are overdue."""

QUIET: Final = 60.0
"""Seconds between two log lines about bad messages on the same subject."""


DENIALS: Final = 256
"""Refusals of the server that ``denied`` remembers; the oldest go first."""


class Bus:
    """A connection, typed and hardened: reconnects for ever, loses nothing in silence.

    ::

        async with connect("nats://127.0.0.1:4222", fleet="dev") as bus:
            await bus.request("$JS.API.INFO", b"")

    What is published while the connection is down waits in a bounded buffer and is sent after
    the reconnect; when the buffer is full, or the bus is closed first, that raises.
    """

    def __init__(self, settings: BusSettings, hook: Hook | None = None) -> None:
        self.settings = settings
        self.subjects = Subjects(settings.fleet)
        self.hook: Hook = hook or NOBODY
        self.reconnected: list[Callable[[], None]] = []
        """Called after each reconnect, once all subscriptions are back."""
        self.dropped = 0
        """Messages from the wire that could not be handled."""
        self.generation = 0
        """Counts reconnects."""
        self.loop: asyncio.AbstractEventLoop
        """The one that it was opened on. To ask for the running one costs a system call before
        Python 3.12."""
        self.nc = Transport(self.drop)
        self.send = self.nc.send
        """Publish without waiting; see ``Transport.send``."""
        self._inbox = ""
        self._expected: dict[str, Expected] = {}
        self._tokens = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._quiet: dict[str, float] = {}
        self._denied: deque[str] = deque(maxlen=DENIALS)

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # publishing and subscribing

    async def listen(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Call ``handler`` with each message. It is a plain function and must not block.

        A ``FleetError`` or any other exception it raises is counted and logged once a minute
        per subject; the message is dropped and the next one is handled.
        """
        return await self.nc.listen(subject, handler, queue)

    async def unlisten(self, subscription: Subscription) -> None:
        """End what ``listen`` began."""
        if not self.nc.is_closed:
            await self.nc.unlisten(subscription)

    async def retire(self, subscription: Subscription) -> None:
        """End what ``listen`` began, after the last message that the server has sent there."""
        if self.nc.is_closed:
            return
        await subscription.unsubscribe()
        if self.connected:  # otherwise nothing is on its way
            with contextlib.suppress(Disconnected):
                await self.flush()
        self.nc.forget(subscription)

    async def flush(self, timeout: float | None = None) -> None:
        """Return when the server has processed all that was sent before.

        Raises:
            Disconnected: it did not answer in ``timeout`` seconds.
        """
        wait = timeout or self.settings.request_timeout
        try:
            async with asyncio.timeout(wait):
                await self.nc.flush(timeout=3600)
        except (TimeoutError, nats_errors.Error) as problem:
            raise Disconnected(f"the server did not answer within {wait} s") from problem

    # asking

    def expect(self, expected: Expected, timeout: float | None = None) -> str:
        """A reply subject for one answer, which ``expected`` is told of.

        It counts as lost when none came in ``timeout`` seconds (default: the setting), or when
        the connection broke after the question was sent, since the answer may have gone down
        with it.
        """
        self._tokens += 1
        token = f"{self._inbox}{self._tokens}"
        expected.until = time.monotonic() + (timeout or self.settings.request_timeout)
        expected.epoch = self.nc.epoch
        self._expected[token] = expected
        return token

    def forget(self, reply: str) -> None:
        """Stop waiting for an answer that ``expect`` was promised."""
        self._expected.pop(reply, None)

    async def request(
        self, subject: str, data: bytes = b"", block: bytes = b"", timeout: float | None = None
    ) -> Inbound:
        """Ask and wait for one answer; a 503 (nobody listens) is an answer too.

        Raises:
            TimeoutError: no answer in ``timeout`` seconds (default: the setting).
            Disconnected: the connection broke while waiting.
        """
        wait = timeout or self.settings.request_timeout
        answer = Answer(self.loop)
        reply = self.expect(answer, wait + 60)
        # Cheaper than a timeout scope, which would interrupt the task that waits.
        timer = self.loop.call_later(wait, answer.on_timeout)
        try:
            self.send(subject, data, reply, block)
            message = await answer.future
        except TimeoutError:
            raise TimeoutError(f"no answer on {subject} within {wait:g} s") from None
        finally:
            timer.cancel()
            self.forget(reply)
        if message is None:
            raise Disconnected(f"the connection broke while waiting for {subject}")
        return message

    def ask(self, subject: str, data: bytes, block: bytes) -> asyncio.Future[Inbound | None]:
        """Ask with the usual timeout, give or take ``SWEEP``; the future is None where
        ``request`` raises. It has no timer of its own, for what is asked very often.
        """
        answer = Answer(self.loop)
        reply = self.expect(answer)
        try:
            self.send(subject, data, reply, block)
        except BusError:
            self.forget(reply)
            raise
        return answer.future

    async def api(
        self, verb: str, body: Any = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Call the JetStream API: ``verb`` is the subject after ``$JS.API.``.

        Raises:
            ApiError: the server refused; ``code`` says why.
            BusError: JetStream is not enabled.
            DecodeError: the answer is not an object.
            TimeoutError, Disconnected: as for ``request``.
        """
        payload = b"" if body is None else codec.encode(body)
        message = await self.request(f"$JS.API.{verb}", payload, timeout=timeout)
        if message.status == "503":
            raise BusError("JetStream is not enabled on this server (start nats-server with -js)")
        return ApiError.unless_refused(verb, message.data)

    async def api_level(self) -> int:
        """The server's JetStream API level: 1 is nats-server 2.11, 2 is 2.12, 0 is older."""
        info = await self.api("INFO")
        level = info.get("api", {}).get("level", 0)
        return level if isinstance(level, int) else 0

    async def require(self, feature: str, level: int) -> int:
        """Return the server's API level if it is at least ``level``.

        Raises:
            FeatureMissing: it is not.
        """
        has = await self.api_level()
        if has < level:
            raise FeatureMissing(feature, level, has)
        return has

    @property
    def connected(self) -> bool:
        return self.nc.is_connected

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message that the server takes, headers included."""
        return self.nc.max_payload

    def denied(self, subject: str) -> bool:
        """True if the server has refused this connection the right to ``subject`` lately."""
        # nats-py hands on the server's words in lower case.
        return any(subject.lower() in text.lower() for text in self._denied)

    async def close(self) -> None:
        """Send what waits, then close.

        Raises:
            Disconnected: the connection is down and unsent bytes would be lost.
        """
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self.nc.is_closed:
            self._lose_all()
            return
        unsent = 0
        try:
            if self.nc.is_connected:
                await self.flush()
        finally:
            if not self.nc.is_connected:
                # nats-py would write it to the connection that is gone, and fail half closed.
                unsent = self.nc.discard()
            await self.nc.close()
            self._lose_all()
        if unsent:
            raise Disconnected(f"closed while disconnected: {unsent} bytes were never sent")

    # the inside

    def _lose_all(self) -> None:
        """Nothing will be answered any more: tell all who wait."""
        lost, self._expected = self._expected, {}
        for expected in lost.values():
            expected.on_lost()

    async def _connect(self) -> None:
        self.loop = asyncio.get_running_loop()
        s = self.settings
        problem: list[Exception] = []

        async def on_error(error: Exception) -> None:
            problem[:] = [error]
            text = str(error)
            if "permissions violation" in text.lower():
                self._denied.append(text)
                log.error("the server refused: %s", text)
            elif self.generation:
                log.debug("nats: %s", error)

        async def on_disconnect() -> None:
            if not self.nc.is_closed:
                log.warning("disconnected from %s; reconnecting", shown(s.url))

        async def on_reconnect() -> None:
            self.generation += 1
            log.warning("reconnected to %s", shown(s.url))
            lost = [t for t, e in self._expected.items() if e.epoch < self.nc.epoch]
            waiting = [self._expected.pop(token).on_lost for token in lost]
            for callback in [*waiting, *self.reconnected]:
                try:
                    callback()
                except Exception as error:  # the others must hear of it all the same
                    log.error("after the reconnect: %s", error, exc_info=error)

        rng = random.Random()

        def next_server(pool: list[Any], _: dict[str, Any]) -> tuple[Any, float]:
            server = rng.choice(pool)
            tries = min((one.reconnects for one in pool), default=0)
            return server, full_jitter(tries, s.reconnect_min, s.reconnect_max, rng)

        servers = [u.strip() for u in s.url.split(",") if u.strip()]
        options: dict[str, Any] = {
            "servers": servers,
            "name": s.name or None,
            "connect_timeout": s.connect_timeout,
            "ping_interval": s.ping_interval,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0.01,
            "pending_size": s.buffer_bytes,
            "error_cb": on_error,
            "disconnected_cb": on_disconnect,
            "reconnected_cb": on_reconnect,
            "reconnect_to_server_handler": next_server,
            **credentials(s),
        }
        try:
            # One that does not answer must not use up the time of the others.
            async with asyncio.timeout(s.connect_timeout * max(1, len(servers))):
                await self.nc.connect(**options)
        except (nats_errors.Error, OSError, TimeoutError, ValueError) as error:
            await self._abandon()
            cause = problem[0] if problem and not isinstance(error, ValueError) else error
            raise ConnectError(shown(s.url), explain(cause)) from None
        except Exception as error:
            await self._abandon()
            if not s.creds and not s.nkey:
                raise
            # What nkeys makes of a file that holds no key is no error of nats-py's.
            raise ConnectError(
                shown(s.url), f"the keys in {s.creds or s.nkey} cannot be used: {error}"
            ) from None
        except BaseException:
            await self._abandon()
            raise
        self.nc.options["max_reconnect_attempts"] = -1
        self._inbox = f"{self.nc.new_inbox()}."
        await self.listen(f"{self._inbox}*", self._on_reply)
        self._sweeper = asyncio.create_task(self._sweep(), name="bus-sweeper")

    async def _abandon(self) -> None:
        """Close a client that never got through."""
        if not self.nc.begun:
            return
        try:
            await self.nc.close()
        except (nats_errors.Error, OSError) as error:
            log.debug("closing a connection that never was: %s", error)

    def _on_reply(self, message: Inbound) -> None:
        expected = self._expected.pop(message.subject, None)
        if expected is not None:
            expected.on_reply(message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            now = time.monotonic()
            late = [t for t, e in self._expected.items() if e.until < now]
            for token in late:
                expected = self._expected.pop(token, None)
                if expected is not None:
                    expected.on_lost()

    def drop(self, subject: str, reason: Exception) -> None:
        """Count a message that could not be handled; log it once a minute per sender."""
        self.dropped += 1
        self.hook.on_event(Dropped(subject, str(reason)))
        now = time.monotonic()
        # The sender is named by the first five tokens at most; the rest may be its random part.
        key = ".".join(subject.split(".")[:5])[:200]
        if now < self._quiet.get(key, 0.0):
            return
        if len(self._quiet) > 10_000:
            self._quiet.clear()
        self._quiet[key] = now + QUIET
        expected = isinstance(reason, FleetError | ValueError | LookupError)
        log.warning(
            "dropped a message on %s: %s (further ones from there are counted, not logged, "
            "for a minute)",
            subject[:200],
            reason,
            exc_info=None if expected else reason,
        )


class ApiError(BusError):
    """The JetStream API refused a request.

    Attributes:
        code: the server's error code (``err_code``), for example 10059 for no such stream.
        status: the HTTP-like status beside it.
    """

    NO_STREAM: Final = 10059
    NO_CONSUMER: Final = 10014
    NO_MESSAGE: Final = 10037
    WRONG_LAST_SEQUENCE: Final = 10071
    FULL: Final = frozenset((10047, 10077, 10122))
    """The ways to say that a stream has no room: store, messages or bytes."""

    def __init__(self, verb: str, code: int, status: int, description: str) -> None:
        self.code = code
        self.status = status
        self.description = description
        super().__init__(f"JetStream {verb}: {description} (error {code})")

    @classmethod
    def unless_refused(cls, verb: str, data: bytes) -> dict[str, Any]:
        """Read an answer of JetStream's to ``verb``.

        Raises:
            ApiError: it is a refusal.
            DecodeError: it is not an object.
        """
        answer = codec.decode(dict[str, Any], data, f"answer to {verb}")
        error = answer.get("error")
        if isinstance(error, dict):
            raise cls(
                verb,
                int(error.get("err_code", 0)),
                int(error.get("code", 0)),
                str(error.get("description", "")),
            )
        return answer


def connect(
    url: str | None = None, fleet: str | None = None, hook: Hook | None = None, **settings: Any
) -> Bus:
    """A bus to be opened with ``async with``.

    Args:
        url: server URL or URLs; by default ``FLEETBUS_URL``, the settings file, localhost.
        fleet: the fleet's name; likewise.
        hook: told of what happens; see ``bus.telemetry``.
        **settings: any field of ``BusSettings``.

    Raises:
        SettingsError, InvalidName: at once. ``ConnectError`` comes from entering.
    """
    return Bus(load({"url": url, "fleet": fleet, **settings}), hook)
