"""A real MQTT client as a device, for tests of things."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

HOST: Final = "127.0.0.1"

Handler = Callable[[dict[str, Any]], dict[str, Any] | None]
"""From a task to the rest of its result; None for none."""


class Device:
    """An MQTT 3.1.1 client that does what docs/mqtt.md asks of a device.

    Args:
        handle: what its tasks give; None keeps them.
        every: seconds between states; 0 for none but those that a test sends.
        will: whether the broker is to say when it is gone.
    """

    def __init__(
        self,
        port: int,
        fleet: str,
        thing: str,
        *,
        boot: str = "",
        slots: int = 2,
        capabilities: tuple[str, ...] = ("blink",),
        commands: tuple[str, ...] = (),
        every: float = 1.0,
        handle: Handler | None = None,
        will: bool = True,
        password: str = "",
        announce: bool = True,
        confirm: bool = True,
        **more: Any,
    ) -> None:
        self.thing = thing
        self.boot = boot or os.urandom(4).hex()
        self.root = f"fleet/{fleet}/thing/{thing}"
        self.got: list[tuple[str, dict[str, Any], bool]] = []
        """Kind, body, and whether it was retained."""
        self.qualities: list[int] = []
        """Of service, of each of them."""
        self.held: dict[str, dict[str, Any]] = {}
        self.unconfirmed: dict[str, dict[str, Any]] = {}
        self.config = ""
        self.subscribed: list[str] = []
        self.connects = 0
        self.about = {
            "slots": slots,
            "capabilities": [{"name": one} for one in capabilities],
            "commands": list(commands),
            "every": max(1.0, every),
            **more,
        }
        self._every = every
        self._handle = handle
        self._announce = announce
        self._confirm = confirm
        self._port = port
        self._lock = threading.RLock()
        self._beating: asyncio.Task[None] | None = None
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"thing:{fleet}:{thing}",
            clean_session=False,
            protocol=paho.MQTTv311,
        )
        if password:
            self.client.username_pw_set(thing, password)
        if will:
            self.client.will_set(f"{self.root}/up/gone", json.dumps({"boot": self.boot}), 1)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.on_subscribe = self._on_subscribe

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.client.connect, HOST, self._port, 5)
        self.client.loop_start()
        if self._every:
            self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.quiet()
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)

    async def quiet(self) -> None:
        """Send no more states."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None

    async def cut(self) -> None:
        """Lose the connection without a word, as by a power cut, and stay away."""
        await self.quiet()
        await asyncio.to_thread(self._cut)

    def _cut(self) -> None:
        # Without its loop nobody connects again, and without DISCONNECT the will is due.
        client = self.client
        client._thread_terminate = True
        sock = client.socket()
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)
        client.loop_stop()

    def publish(self, kind: str, body: Any, qos: int = 1) -> paho.MQTTMessageInfo:
        """Say something; ``body`` is bytes or becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body)
        return self.client.publish(f"{self.root}/up/{kind}", data, qos)

    def publish_twice(self, kind: str, body: Any) -> None:
        """One packet with QoS 1, sent again with the DUP flag, as after a lost PUBACK."""
        topic, data = f"{self.root}/up/{kind}".encode(), json.dumps(body).encode()
        rest = len(topic).to_bytes(2, "big") + topic + (4711).to_bytes(2, "big") + data
        assert len(rest) < 128
        sock = self.client.socket()
        assert isinstance(sock, socket.socket)
        for flags in (0x32, 0x3A):
            sock.sendall(bytes((flags, len(rest))) + rest)

    def announce(self) -> None:
        with self._lock:
            tasks = [*self.held, *self.unconfirmed]
            body = {"boot": self.boot, **self.about, "config": self.config, "tasks": tasks}
        self.publish("announce", body)

    def state(self, **more: Any) -> None:
        with self._lock:
            tasks = [*self.held, *self.unconfirmed]
        self.publish("state", {"boot": self.boot, "tasks": tasks, "config": self.config, **more}, 0)

    def finish(self, task: str, **result: Any) -> None:
        """Send the result of a task."""
        body = {"task": task, "state": "completed", **result}
        with self._lock:
            self.held.pop(task, None)
            if self._confirm:
                self.unconfirmed[task] = body
        self.publish("result", body)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """What it was told of one kind."""
        return [body for one, body, _ in self.got if one == kind]

    # the inside

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(min(self._every, 0.5))
            if self.client.is_connected():
                self.state()

    def _on_connect(self, client: paho.Client, *rest: Any) -> None:
        if rest[2].is_failure:
            return
        self.connects += 1
        client.subscribe(f"{self.root}/down/+", 1)

    def _on_subscribe(self, client: paho.Client, data: Any, mid: int, codes: Any, _: Any) -> None:
        self.subscribed = [str(one) for one in codes]
        if self._announce:
            self.announce()
            with self._lock:
                again = list(self.unconfirmed.values())
            for body in again:
                self.publish("result", body)

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        kind = message.topic.rsplit("/", 1)[1]
        body = json.loads(message.payload)
        with self._lock:
            self.got.append((kind, body, message.retain))
            self.qualities.append(message.qos)
            if kind == "done":
                self.unconfirmed.pop(body["task"], None)
                return
            if kind == "config":
                self.config = body["hash"]
                return
            if kind == "who" and self._announce:
                self.announce()
                return
            task = body.get("task", "")
            if kind != "task" or body["boot"] != self.boot:
                return
            if task in self.held or task in self.unconfirmed:
                return
            self.held[task] = body
        result = self._handle(body) if self._handle is not None else None
        if result is not None:
            self.finish(task, **result)


def echo(body: dict[str, Any]) -> dict[str, Any]:
    """Give the input back."""
    return {"output": body.get("input"), "run_ms": 1}


def slowly(seconds: float) -> Handler:
    """As ``echo``, after a while."""

    def handle(body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(seconds)
        return echo(body)

    return handle
