"""What the two sides of a site's link say to each other, and what is kept of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from bus.wire.card import Card
from bus.wire.heartbeat import Count, Heartbeat, Promise

Spill = Literal["never", "when-full", "always"]
"""When a task that others could do goes to a site: only if nobody else offers it or it names the
site; if nobody else has room; or by load, as to any agent."""


class SitePolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a site may be given and may give. The value of the key ``spill.<site>``."""

    spill: Spill = "never"
    """When the hub's tasks go to the site."""
    accepts: tuple[str, ...] = ("hub",)
    """From where they may come: ``hub``, and the names of other sites."""
    up: Literal["never", "when-full"] = "never"
    """When the site's own tasks go to the hub: only if nobody there offers them, or also if
    nobody there has room."""
    by: str = ""
    """Who set it."""
    at_ms: int = 0


class SiteRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The link to a site. As coordinators of the hub see it, the value of the key ``site.<site>``
    there; as the site's own see it, that of ``site.hub`` at the site."""

    site: str
    connected: bool = False
    since_ms: int = 0
    """Since when that is so, in Unix milliseconds."""
    why: str = ""
    """How the end of the link was noticed."""
    by: str = ""
    """The coordinator that says so."""


class SiteReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """All agents of a site in one message: what has changed since the one before."""

    site: str
    coordinator: str
    seq: int
    """Counts up from 1 in each coordinator of the site; a gap is a reason to ask for all."""
    next_in: Promise = 0.0
    """Seconds until the next one at the latest; 0: there will be none."""
    full: bool = False
    """It is one of a series that names all agents."""
    first: bool = False
    """The first of such a series."""
    last: bool = False
    """The last of such a series: agents that none of it has named are gone."""
    cards: tuple[Card, ...] = ()
    """Of agents that are new or have changed."""
    gone: tuple[str, ...] = ()
    """Agents that have left or were lost."""
    beats: tuple[Heartbeat, ...] = ()
    """Heartbeats that say something new."""
    waiting: Count = 0
    """Tasks in the site's queue, held ones included."""
    lag: dict[str, Count] = {}
    """By stream: messages of it that the hub does not have yet."""
    config: int = 0
    """Revision at the hub of the configuration that the site has copied."""
    sent_ms: int = 0


class SiteNews(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the hub tells a site: the answer to a report, and between reports what is new."""

    hub: str
    """The coordinator that answers."""
    full: bool = False
    """Report all agents anew."""
    linked: bool = False
    """The link was made anew: what was under way may have been lost."""
    config: int = 0
    """Revision of the hub's configuration."""
    policy: SitePolicy | None = None


class SiteWants(msgspec.Struct, frozen=True, omit_defaults=True):
    """A site asks for the results of tasks that it has handed up, which of the hub's tasks that it
    has were canceled, or for a payload. Results are sent to the reply subject: of ``tasks`` as they
    come, until the site asks again; of ``held`` at once, and only of those that were canceled. A
    payload comes in parts, the last of them empty."""

    tasks: tuple[str, ...] = ()
    payload: str = ""
    held: tuple[str, ...] = ()
