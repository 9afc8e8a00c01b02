"""The configuration: layers with overrides, checked, and in force.

``docs/subjects.md`` ("Configure agents") is what this does, ``bus.config`` the same for others.
"""

import asyncio

from edge import port, values
from edge.client import decode
from edge.errors import BusError
from edge.layers import Layers
from edge.names import dumps
from edge.params import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.configured import Configured
    from edge.runtime import Runtime
    from edge.wire import Message

    Entry = tuple[list[str], Any, str, int, int, float]
    """Of an override: path, value, who set it, when, until when, and that in ticks."""

LONGEST = 7 * 86_400
"""Seconds that an override may live."""
HEADLESS = 2000
"""Milliseconds that writes of a batch may wait for their head before the agent asks."""
DOUBTS = 8
"""Answers in a row that are older than what was heard and that no leader contradicts, because it
is not there or may not be asked: then the bucket is another."""
NO_MESSAGE = 10037
"""The server's code for a message that is not there."""


class Configuration:
    """What is in force on one agent."""

    def __init__(self, runtime: "Runtime", source: "Configured") -> None:
        self.started = False
        self._rt = runtime
        self._source = source
        self._prefix = source.prefix
        self._state = Layers(runtime)
        self._kept: Layers | None = None
        """What counted in a bucket that is lost, until something counts in the new one."""
        self._overrides: list[Entry] = []
        self._secrets: list[str] = []
        self._hash = ""
        self._raw: Any = None
        """In force, overrides included and secrets as references; None while nothing is."""
        self._commit = ""
        self._applied_ms = 0
        self._rejected: dict[str, Any] | None = None
        self._lock = asyncio.Lock()
        self._doubts = 0

    # what the agent asks for

    async def start(self) -> None:
        """Fetch, and apply the first.

        Raises:
            BusError: it could not be fetched.
        """
        await self._fetch()
        self.started = True
        await self._settle()

    def clean(self, text: str) -> str:
        """``text`` without secrets."""
        for one in self._secrets:
            text = text.replace(one, "[secret]")
        return text

    def report(self) -> "dict[str, Any]":
        """What the command ``config`` answers."""
        state = "waiting" if self._raw is None else "rejected" if self._rejected else "ok"
        said: dict[str, Any] = {"hash": self._hash, "versions": self._rt.versions()}
        if state != "ok":
            said["state"] = state
            said["rejected"] = self._rejected
        if self._commit and self._raw is not None:
            said["commit"] = self._commit
        if self._applied_ms:
            said["applied_ms"] = self._applied_ms
        made = []
        for path, value, by, since, until, _ in self._overrides:
            one = {"path": values.shown(path), "value": values.plain(value), "by": by}
            one.update({"since_ms": since, "until_ms": until})
            made.append(one)
        if made:
            said["overrides"] = made
        return said

    async def override(self, wanted: "dict[str, Any]", ttl: float, by: str) -> "dict[str, Any]":
        """Lay ``wanted`` over the configuration for ``ttl`` seconds.

        Raises:
            Invalid: there is nothing to set, or the configuration would be bad.
        """
        if not 0 < ttl <= LONGEST:
            raise Invalid("ttl", f"more than 0 and at most {LONGEST} seconds")
        new = values.leaves(wanted, [])
        if not new:
            raise Invalid("values", "nothing to set")
        now = self._rt.now()
        ends = port.ticks() + int(ttl * 1000)
        paths = [path for path, _ in new]
        kept = [one for one in self._overrides if one[0] not in paths]
        until = now + int(ttl * 1000)
        kept += [(path, value, by, now, until, ends) for path, value in new]
        await self._lay(kept)
        return {"set": [values.shown(path) for path in paths], "until_ms": until}

    async def clear(self, keys: "list[str]") -> "list[str]":
        """End the overrides at or below the dotted ``keys``, or all; their paths.

        Raises:
            Invalid: a key is no path, or the configuration would be bad without them.
        """
        wanted = [values.path(key) for key in keys] or [[]]
        gone = [
            one for one in self._overrides if any(one[0][: len(path)] == path for path in wanted)
        ]
        if gone:
            await self._lay([one for one in self._overrides if one not in gone])
        return [values.shown(one[0]) for one in gone]

    # what the bus says

    def on_message(self, message: "Message") -> None:
        """A key of the bucket was written."""
        rt = self._rt
        known = self._state.latest
        changed = self._state.take(message, self._prefix)
        spread = port.uniform(0.0, rt.presence.spread)
        if self._state.sequence <= known:
            # The bucket counts anew, or it was sent twice: see how it is.
            rt.chores.sooner("config", spread, self.ask)
        elif self._state.staged:
            rt.chores.sooner("config", HEADLESS + spread, self.ask)
        if changed:
            if self._state.layers or self._state.head:
                self._kept = None
            rt.chores.spawn(self._settle(), "configuration")

    def ask(self) -> None:
        """Fetch all that matters anew."""
        self._rt.chores.spawn(self._refresh(), "configuration")

    async def _refresh(self) -> None:
        try:
            await self._fetch()
        except BusError as problem:
            port.log(port.WARNING, f"the configuration was not fetched: {problem}")
            self._rt.chores.at("config", port.uniform(1000, 10_000), self.ask)
        else:
            await self._settle()

    async def _fetch(self) -> None:
        """Ask for all that matters, unless what comes is older than what was heard."""
        rt = self._rt
        stream = "KV_CONFIG_" + rt.settings["fleet"]
        found = await self._source.fetch()
        fresh = Layers(rt)
        for one in found:
            fresh.take(one, self._prefix)
        # The head first: which writes of the others count hangs on it.
        for key in sorted(fresh.ignored):
            # Its last write does not count: the one that does is further back.
            question = {"seq": 1, "next_by_subj": self._prefix + key, "batch": 64}
            for one in await rt.client.stored(stream, question, 64):
                fresh.take(one, self._prefix, True)
        if fresh.latest < self._state.latest and not await self._lost(stream):
            rt.chores.sooner("config", port.uniform(1000, 10_000), self.ask)
            return
        if not fresh.layers and not fresh.head and self._state.layers:
            self._kept = self._state
        elif fresh.layers or fresh.head:
            self._kept = None
        self._doubts = 0
        self._state = fresh

    async def _lost(self, stream: str) -> bool:
        """Whether the last write that was heard is in the bucket no more. A replica that lags
        does not know it either, nor that it lags: then the leader is asked, as only it answers
        this.

        Raises:
            BusError: it does not answer.
        """
        self._doubts += 1
        known = self._state.latest
        if self._doubts == 1 or self._doubts > DOUBTS:
            return self._doubts > 1
        question = dumps({"last_by_subj": self._prefix + self._state.key}).encode()
        answer = await self._rt.client.request("$JS.API.STREAM.MSG.GET." + stream, question)
        said = decode(answer.body) or {}
        seq = said.get("message", {}).get("seq", 0)
        if not seq and said.get("error", {}).get("err_code") != NO_MESSAGE:
            raise BusError("its leader does not say what there is")
        if seq >= known:
            self._doubts = 1
        return bool(seq < known)

    # what is in force

    async def _settle(self) -> None:
        """Apply what is wanted; if it is bad, keep the last good one."""
        async with self._lock:
            rt = self._rt
            state = self._kept or self._state
            made = state.made()
            alive = [one for one in self._overrides if one[5] > port.ticks()]
            wanted = values.digest(made)
            try:
                await self._try(made, alive)
            except Invalid as problem:
                self._reject(wanted, state.commit, problem)
            else:
                self._hash, self._commit, self._overrides = wanted, state.commit, alive
                rt.chores.cancel("config retry")
                if state.unfit:
                    # There is no hash of what cannot be hashed: one of the reasons stands for it.
                    why = Invalid("", "; ".join(sorted(state.unfit.values())))
                    self._reject(values.digest(state.unfit), state.commit, why)
                elif self._rejected is not None:
                    self._rejected = None
                    rt.say("config.accepted", {"hash": wanted, "commit": state.commit})
            self._plan_expiry()
            self._stand()

    async def _lay(self, overrides: "list[Entry]") -> None:
        async with self._lock:
            await self._try((self._kept or self._state).made(), overrides)
            self._overrides = overrides
            self._plan_expiry()
            self._stand()

    async def _try(self, made: "dict[str, Any]", overrides: "list[Entry]") -> None:
        """Put ``made`` with ``overrides`` in force.

        Raises:
            Invalid: it is bad; what was in force is so still.
        """
        agent = self._rt.agent
        raw = values.copied(made)
        for one in overrides:
            values.lay(raw, values.nested(one[0], one[1]))
        if self._raw is not None and not values.differ(raw, self._raw):
            return
        found: list[str] = []
        new = await values.resolved(raw, agent.secrets, found)
        old = None if self._raw is None else agent.config
        before, self._secrets = self._secrets, sorted(found + self._secrets, key=len)[::-1]
        called: list[tuple[Any, Any, Any]] = []
        for key, function in agent.callbacks:
            path = values.path(key) if key else []
            after = values.find(new, path)
            previous = values.find(old, path)
            if old is not None and not values.differ(after, previous):
                continue
            try:
                await port.call(function, (after, previous), {}, [])
            except port.RAISED as problem:  # a callback may raise anything
                for again in called[::-1] if old is not None else []:
                    await self._back(again)
                why = self.clean(f"callback for {key or 'any change'}: {port.said(problem)}")
                self._secrets = before
                raise Invalid("", why) from None
            called.append((function, previous, after))
        self._secrets = found
        self._raw, agent.config = raw, new
        self._applied_ms = self._rt.now()

    async def _back(self, call: "tuple[Any, Any, Any]") -> None:
        try:
            await port.call(call[0], call[1:], {}, [])
        except port.RAISED as problem:  # the others are to be called back all the same
            text = f"a callback could not be called back: {port.said(problem)}"
            port.log(port.ERROR, self.clean(text))

    def _reject(self, hash_: str, commit: str, problem: Invalid) -> None:
        rt = self._rt
        before = self._rejected or {}
        said = {"hash": hash_, "reason": str(problem), "commit": commit, "at_ms": rt.now()}
        if problem.field == "secret":
            rt.chores.at("config retry", port.uniform(20_000, 40_000), self.ask)
        if (before.get("hash"), before.get("reason")) != (hash_, said["reason"]):
            self._rejected = said
            rest = "; no tasks are taken until one is good" if self._raw is None else ""
            port.log(port.WARNING, f"configuration {hash_} is not taken: {problem}{rest}")
            rt.say("config.rejected", {"hash": hash_, "commit": commit, "reason": said["reason"]})

    def _plan_expiry(self) -> None:
        now = port.ticks()
        left = [one[5] - now for one in self._overrides if one[5] > now]
        if self._overrides:
            # Those that have ended and are in force still are so because it is bad without them.
            pause = min(left) + 1 if left else port.uniform(20_000, 40_000)
            self._rt.chores.at("overrides", pause, self._expire)
        else:
            self._rt.chores.cancel("overrides")

    def _expire(self) -> None:
        self._rt.chores.spawn(self._settle(), "configuration")

    def _stand(self) -> None:
        """What heartbeats say, and whether tasks are taken."""
        rt = self._rt
        rt.intake.waiting = self._raw is None
        rt.presence.standing = {
            "config": self._hash,
            "commit": self._commit[:12],
            "overrides": len(self._overrides),
            "rejected": self._rejected["hash"] if self._rejected else "",
            "versions": rt.versions(),
        }
        rt.presence.poke(rt.presence.spread)
