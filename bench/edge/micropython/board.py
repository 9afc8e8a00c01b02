"""What a board has and this build of MicroPython has not, made of functions of host.mjs.

Imported before ``main.py`` and by nobody else. MicroPython only.
"""

# mypy: ignore-errors

import asyncio
import binascii
import os
import sys

import board_of_node as node

MOST = 65536
"""Bytes that may wait to be sent before ``drain`` waits."""

status = 0
"""What ``main.py`` would have exited with."""
_begun = []
"""The coroutine of ``asyncio.run``, as a task."""


class Begun(BaseException):
    """Leaves ``main.py``: JavaScript turns the event loop, so ``asyncio.run`` cannot block."""


class Stream:
    """A connection: reader and writer in one."""

    def __init__(self):
        self._event = asyncio.Event()
        self._id = 0

    async def open(self, host, port, tls, name):
        authority = tls.authority if tls else ""
        self._id = node.open(host, port, bool(tls), authority, name, self._event.set)
        while node.state(self._id) == "opening":
            await self._changed()
        self._check()

    async def read(self, most=-1):
        while node.state(self._id) == "up":
            await self._changed()
        self._check()
        if node.state(self._id) == "over":
            return b""
        return bytes.fromhex(node.take(self._id, most if most > 0 else MOST))

    def write(self, data):
        node.send(self._id, bytes(data).hex())

    async def drain(self):
        while node.waiting(self._id) > MOST and node.state(self._id) in ("up", "data"):
            await self._changed()
        self._check()

    def close(self):
        node.close(self._id)
        self._event.set()

    async def wait_closed(self):
        pass

    async def _changed(self):
        self._event.clear()
        await self._event.wait()

    def _check(self):
        kind, _, why = node.state(self._id).partition(" ")
        if kind == "error":
            raise OSError(why)


async def open_connection(host, port, ssl=None, server_hostname=None):
    stream = Stream()
    await stream.open(host, port, ssl, server_hostname or host)
    return stream, stream


class SSLContext:
    """Of module ``ssl``: what ``edge.login`` uses of it."""

    def __init__(self, protocol):
        self.verify_mode = 0
        self.authority = ""

    def load_verify_locations(self, der):
        self.authority = binascii.b2a_base64(der).decode().strip()


class ssl:
    SSLContext = SSLContext
    PROTOCOL_TLS_CLIENT = 0
    CERT_REQUIRED = 2


def run(main):
    _begun.append(asyncio.create_task(main))
    raise Begun


async def main():
    """Run ``main.py``, and what it has begun."""
    global status
    try:
        __import__("main")
    except Begun:
        status = await _begun[0]
    except SystemExit as end:
        status = end.args[0] if end.args else 0


def stop():
    """SIGTERM has come."""
    from edge import port_micro

    for one in port_micro.stops:
        one()


asyncio.open_connection = open_connection
asyncio.run = run
os.getenv = node.env
sys.modules["ssl"] = ssl
