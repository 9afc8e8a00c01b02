"""The only home of subjects, stream names, KV buckets and keys.

Everything that talks about a place on the bus asks here, so that a subject and the right to
use it cannot drift apart. ``docs/subjects.md`` documents the same table for other languages.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

from bus.errors import DecodeError, InvalidName

POLICY: Final = "policy"
"""Key of the fleet policy in the configuration bucket."""
HEAD: Final = "head"
"""Key of the commit that the agents' configuration comes from."""
LAYERS: Final = "layer."
"""Begins the keys of its layers."""
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
TASK_ID: Final = re.compile(rf"{TOKEN.pattern}\.{TOKEN.pattern}", re.ASCII)
PRIORITIES: Final = ("p0", "p1", "p2")
RESERVED_FLEET: Final = "sys"
DISCONNECTS: Final = f"fleet.{RESERVED_FLEET}.disconnect"
"""Where the server's own disconnect events arrive, if its configuration exports them."""
CONNECTS: Final = f"fleet.{RESERVED_FLEET}.connect"
"""The same for connections that are made: the hub hears of a site's link by it."""
SITE: Final = "site."
"""Begins the keys of what coordinators know of the links to sites, in the configuration bucket."""
SPILL: Final = "spill."
"""Begins the keys of what operators allow sites to give to each other."""


def token(kind: str, name: str) -> str:
    """Return ``name`` if it may be one token of a subject.

    Raises:
        InvalidName: naming ``kind`` and the rule.
    """
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise InvalidName(kind, name)
    return name


def task_tokens(task_id: str) -> tuple[str, str]:
    """Split a task id ``<client>.<seq>`` into its two tokens.

    Raises:
        InvalidName: it is not two legal tokens.
    """
    client, dot, seq = task_id.partition(".") if isinstance(task_id, str) else ("", "", "")
    if not dot or not TOKEN.fullmatch(client) or not TOKEN.fullmatch(seq):
        raise InvalidName("task id (two names joined by a dot)", task_id)
    return client, seq


class Subjects:
    """The subjects, streams and buckets of one fleet.

    Methods that are given a name check it only where a person could have written it; the hot
    path passes names that came off the bus through ``parse_*`` and are checked already.
    """

    def __init__(self, fleet: str) -> None:
        self.fleet = token("fleet", fleet)
        self.root = f"fleet.{fleet}"
        # Prefixes are joined once: these are on the task path.
        self._task = f"{self.root}.task."
        self._dispatch = f"{self.root}.dispatch."
        self._result = f"{self.root}.result."
        self._progress = f"{self.root}.progress."

    # presence

    def heartbeat(self, site: str, agent: str) -> str:
        return f"{self.root}.hb.{site}.{agent}"

    @property
    def heartbeats(self) -> str:
        return f"{self.root}.hb.*.*"

    def advert(self, agent: str) -> str:
        return f"{self.root}.advert.{agent}"

    @property
    def adverts(self) -> str:
        return f"{self.root}.advert.*"

    def coordinator(self, coordinator: str) -> str:
        return f"{self.root}.coordinator.{coordinator}"

    @property
    def coordinators(self) -> str:
        return f"{self.root}.coordinator.*"

    # the task path

    def task(self, capability: str, priority: str, task_id: str) -> str:
        return f"{self._task}{capability}.{priority}.{task_id}"

    def lane(self, capability: str, priority: str) -> str:
        """All tasks of one capability and priority: what one consumer filters on."""
        return f"{self._task}{capability}.{priority}.>"

    def task_anywhere(self, task_id: str) -> str:
        return f"{self._task}*.*.{task_id}"

    @property
    def tasks(self) -> str:
        return f"{self._task}*.*.*.*"

    def parse_task(self, subject: str) -> tuple[str, str, str]:
        """``(capability, priority, task id)`` of a task subject.

        Raises:
            DecodeError: it is not a task subject of this fleet, or has an illegal token.
        """
        parts = subject.split(".")
        if (
            len(parts) != 7
            or not subject.startswith(self._task)
            or not TOKEN.fullmatch(parts[3])
            or parts[4] not in PRIORITIES
            or not TOKEN.fullmatch(parts[5])
            or not TOKEN.fullmatch(parts[6])
        ):
            raise DecodeError("task subject", f"{subject[:200]!r} is not {self.tasks}")
        return parts[3], parts[4], f"{parts[5]}.{parts[6]}"

    def schedule(self, task_id: str) -> str:
        """Where the broker keeps a task that is to be published later, or again and again."""
        return f"{self.root}.schedule.{task_id}"

    @property
    def schedules(self) -> str:
        return f"{self.root}.schedule.*.*"

    def due(self, capability: str, priority: str, task_id: str) -> str:
        """Where a scheduled task appears when its time has come, on its way to ``task``."""
        return f"{self.root}.due.{capability}.{priority}.{task_id}"

    @property
    def dues(self) -> str:
        return f"{self.root}.due.*.*.*.*"

    @property
    def fired(self) -> str:
        """Where the broker hands out what is due, each to one coordinator."""
        return f"{self.root}.fired"

    def call(self, capability: str) -> str:
        return f"{self.root}.call.{capability}"

    @property
    def calls(self) -> str:
        return f"{self.root}.call.*"

    def dispatch(self, agent: str) -> str:
        return self._dispatch + agent

    def result(self, task_id: str) -> str:
        return self._result + task_id

    @property
    def results(self) -> str:
        return f"{self._result}*.*"

    def done(self, task_id: str) -> str:
        """Where the broker announces a result once it is stored."""
        return f"{self.root}.done.{task_id}"

    def done_of(self, client: str) -> str:
        return f"{self.root}.done.{client}.*"

    @property
    def dones(self) -> str:
        return f"{self.root}.done.*.*"

    def attempt(self, task_id: str) -> str:
        return f"{self.root}.attempt.{task_id}"

    @property
    def attempts(self) -> str:
        return f"{self.root}.attempt.*.*"

    def progress(self, task_id: str) -> str:
        return self._progress + task_id

    def progress_of(self, client: str) -> str:
        return f"{self._progress}{client}.*"

    def cancel(self, capability: str, task_id: str) -> str:
        return f"{self.root}.cancel.{capability}.{task_id}"

    def cancels(self, capability: str) -> str:
        return f"{self.root}.cancel.{capability}.*.*"

    @property
    def all_cancels(self) -> str:
        return f"{self.root}.cancel.*.*.*"

    def dead(self, capability: str, task_id: str) -> str:
        return f"{self.root}.dead.{capability}.{task_id}"

    @property
    def deads(self) -> str:
        return f"{self.root}.dead.*.*.*"

    # commands, configuration, records

    @property
    def command_all(self) -> str:
        return f"{self.root}.cmd.all"

    def command_site(self, site: str) -> str:
        return f"{self.root}.cmd.site.{site}"

    def command_capability(self, capability: str) -> str:
        return f"{self.root}.cmd.cap.{capability}"

    def command_agent(self, agent: str) -> str:
        return f"{self.root}.cmd.agent.{agent}"

    @property
    def commands(self) -> str:
        return f"{self.root}.cmd.>"

    def config(self, key: str) -> str:
        """Where the broker announces that ``key`` of the configuration bucket has changed."""
        return f"{self.root}.config.{key}"

    @property
    def configs(self) -> str:
        return f"{self.root}.config.>"

    def event(self, kind: str, subject_id: str) -> str:
        """``kind`` may have dots (``config.synced``); ``subject_id`` is one token."""
        return f"{self.root}.event.{kind}.{subject_id}"

    @property
    def events(self) -> str:
        return f"{self.root}.event.>"

    def telemetry(self, site: str, agent: str, series: str) -> str:
        return f"{self.root}.telemetry.{site}.{agent}.{series}"

    @property
    def telemetries(self) -> str:
        return f"{self.root}.telemetry.*.*.*"

    # things: devices that speak only MQTT, where a topic has slashes for the dots

    def thing_up(self, thing: str, kind: str) -> str:
        """What a thing says."""
        return f"{self.root}.thing.{thing}.up.{kind}"

    def thing_ups(self, thing: str) -> str:
        """All that one thing may publish."""
        return f"{self.root}.thing.{thing}.up.*"

    @property
    def things_up(self) -> str:
        return f"{self.root}.thing.*.up.*"

    def thing_down(self, thing: str, kind: str) -> str:
        """What a thing is told."""
        return f"{self.root}.thing.{thing}.down.{kind}"

    def thing_downs(self, thing: str) -> str:
        """All that one thing may subscribe."""
        return f"{self.root}.thing.{thing}.down.*"

    def thing_known(self, thing: str) -> str:
        """Where one coordinator tells the others of a thing that it has heard of."""
        return f"{self.root}.thing.{thing}.known"

    @property
    def things_known(self) -> str:
        return f"{self.root}.thing.*.known"

    @property
    def things(self) -> str:
        """Where the broker hands out what things have said, each message to one coordinator."""
        return f"{self.root}.things"

    def thing_client(self, thing: str) -> str:
        """The MQTT client id of a thing."""
        return f"thing:{self.fleet}:{thing}"

    def audit(self, actor: str, verb: str) -> str:
        return f"{self.root}.audit.{actor}.{verb}"

    @property
    def audits(self) -> str:
        return f"{self.root}.audit.*.*"

    # sites

    def site_task(self, site: str, capability: str, priority: str, task_id: str) -> str:
        """A task that was handed over to a site, or by a site to the hub (``hub``)."""
        return f"{self.root}.site.{site}.task.{capability}.{priority}.{task_id}"

    def site_tasks(self, site: str) -> str:
        return f"{self.root}.site.{site}.task.>"

    @property
    def all_site_tasks(self) -> str:
        return f"{self.root}.site.*.task.*.*.*.*"

    def site_report(self, site: str) -> str:
        """What a site says of its agents, all of them in one message."""
        return f"{self.root}.site.{site}.up.report"

    @property
    def site_reports(self) -> str:
        return f"{self.root}.site.*.up.report"

    def site_wants(self, site: str) -> str:
        """Where a site asks for the results of tasks that it has handed up, and for payloads."""
        return f"{self.root}.site.{site}.up.wants"

    def site_asked(self, site: str) -> str:
        """Where the hub asks a site for payloads."""
        return f"{self.root}.site.{site}.down.wants"

    @property
    def all_site_wants(self) -> str:
        return f"{self.root}.site.*.up.wants"

    def site_nudge(self, site: str) -> str:
        """Where the hub tells a site that something is new: link, configuration, policy."""
        return f"{self.root}.site.{site}.down.nudge"

    def site_up(self, site: str) -> str:
        """All that a site sends to the hub under its own name."""
        return f"{self.root}.site.{site}.up.>"

    def site_down(self, site: str) -> str:
        """All that the hub sends to one site under its name."""
        return f"{self.root}.site.{site}.down.>"

    # JetStream names

    @cached_property
    def tasks_stream(self) -> str:
        return f"TASKS_{self.fleet}"

    @cached_property
    def schedules_stream(self) -> str:
        return f"SCHEDULES_{self.fleet}"

    @cached_property
    def results_stream(self) -> str:
        return f"RESULTS_{self.fleet}"

    @cached_property
    def events_stream(self) -> str:
        return f"EVENTS_{self.fleet}"

    @cached_property
    def dead_stream(self) -> str:
        return f"DEAD_{self.fleet}"

    @cached_property
    def audit_stream(self) -> str:
        return f"AUDIT_{self.fleet}"

    @cached_property
    def telemetry_stream(self) -> str:
        return f"TELEMETRY_{self.fleet}"

    @cached_property
    def things_stream(self) -> str:
        return f"THINGS_{self.fleet}"

    @cached_property
    def thing_records_stream(self) -> str:
        return f"KV_THINGS_{self.fleet}"

    @cached_property
    def thing_keys(self) -> str:
        return f"$KV.THINGS_{self.fleet}."

    @cached_property
    def sites_stream(self) -> str:
        return f"SITES_{self.fleet}"

    @cached_property
    def registry_stream(self) -> str:
        return f"KV_REGISTRY_{self.fleet}"

    @cached_property
    def registry_keys(self) -> str:
        return f"$KV.REGISTRY_{self.fleet}."

    @cached_property
    def config_stream(self) -> str:
        return f"KV_CONFIG_{self.fleet}"

    @cached_property
    def config_keys(self) -> str:
        return f"$KV.CONFIG_{self.fleet}."

    @cached_property
    def payload_bucket(self) -> str:
        return f"PAYLOADS_{self.fleet}"

    def consumer(self, capability: str, priority: str) -> str:
        """The durable consumer of one lane; ack rights are granted by its name."""
        return f"{capability}-{priority}"

    # connection names, read back from the server's disconnect events

    @staticmethod
    def connection_name(kind: str, name: str, incarnation: str) -> str:
        return f"{kind}:{name}:{incarnation}"
