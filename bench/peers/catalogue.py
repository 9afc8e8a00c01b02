"""All peers, and we: what each promises, how it is set up, and what to know of its figures.

The promises are what documentation and sources say; :mod:`bench.peers.deaths` tries the second.
"""

from __future__ import annotations

from typing import Final

from bench.peers.peer import Guarantees, Peer, no, yes

SCRIPTS: Final = "bench.peers.scripts"
IN_STREAM: Final = yes("JetStream's file, synced every 2 minutes by default")
IN_LOG: Final = yes("Redis's append-only file, synced every second")
IN_MEMORY: Final = no("in Redis's memory")

OURS: Final = Peer(
    name="ours",
    environment="",
    script="",
    server="fleet",
    guarantees=Guarantees(
        persisted=IN_STREAM,
        survives=yes("0.2 s after its connection is gone"),
        stored=yes("for a day"),
    ),
    settings="defaults; uvloop; two agents with 32 slots, one coordinator.",
    limits="one process more than most peers have, the coordinator, on the same cores.",
)
CELERY: Final = Peer(
    name="Celery + Redis",
    environment="celery",
    script=f"{SCRIPTS}.celery_peer",
    server="redis",
    pool=True,
    guarantees=Guarantees(
        persisted=IN_MEMORY,
        survives=no(
            "acknowledged when begun, so what runs is lost; what was only fetched comes back "
            "after the visibility timeout, an hour by default"
        ),
        stored=IN_MEMORY,
    ),
    settings="one worker with the prefork pool and 2 processes, prefetch multiplier 64, hiredis; "
    "no gossip, mingle, heartbeats, remote control or rate limits; Redis writes no file. Results "
    "are pushed and taken by callbacks in one thread.",
    limits="solo and threads in two workers took as much processor time a task as prefork, "
    "gevent more than twice as much; Celery knows no event loop, so uvloop does not apply.",
)
CELERY_LATE: Final = Peer(
    name="Celery + Redis, acks late",
    environment="celery",
    script=f"{SCRIPTS}.celery_peer",
    server="redis, append-only",
    pool=True,
    late=True,
    guarantees=Guarantees(
        persisted=IN_LOG,
        survives=yes("after the visibility timeout, an hour by default, if its machine is gone"),
        stored=yes("for a day"),
    ),
    settings="as Celery + Redis, with task_acks_late, task_reject_on_worker_lost and Redis's "
    "append-only file.",
    limits="a task that runs for longer than the visibility timeout is run twice.",
)
TASKIQ: Final = Peer(
    name="taskiq-nats",
    environment="taskiq",
    script=f"{SCRIPTS}.taskiq_peer",
    server="nats",
    guarantees=Guarantees(
        persisted=IN_STREAM,
        survives=yes("after the ack wait, 30 s by default"),
        stored=yes("until it is deleted"),
    ),
    settings="PullBasedJetStreamBroker with the documented NATSObjectStoreResultBackend, uvloop, "
    "256 tasks at a time, no validation of parameters, a look for the result every 10 ms.",
    limits="the object store sets the pace: several requests to store a result, several to read "
    "it, and nobody is told when it is there. The plain NATS broker keeps the same pace without "
    "storing the task, so it is not shown. Messages are pulled one at a time: larger batches "
    "stood still, or ended the worker.",
)
FASTSTREAM: Final = Peer(
    name="FastStream",
    environment="faststream",
    script=f"{SCRIPTS}.faststream_peer",
    server="nats",
    guarantees=Guarantees(
        persisted=IN_STREAM,
        survives=yes("after the ack wait, 30 s by default"),
        stored=yes("in a stream of one's own"),
    ),
    settings="JetStream work queue, pull subscriber with batches of 32 that expire after 0.1 s, "
    "acknowledged after the result is stored, uvloop, no logs, apply_types=False (no pydantic).",
    limits="it has no result backend: a second stream, and matching by correlation id, are "
    "written by hand. Pull requests that live longer can leave messages stuck in nats-py for as "
    "long; a push subscriber took half as much processor time again.",
)
FASTSTREAM_TYPED: Final = Peer(
    name="FastStream, typed",
    environment="faststream",
    script=f"{SCRIPTS}.faststream_peer",
    server="nats",
    typed=True,
    guarantees=FASTSTREAM.guarantees,
    settings="as FastStream, with its default apply_types=True: pydantic checks what handlers get.",
    limits="as FastStream.",
)
AUTOGEN: Final = Peer(
    name="AutoGen gRPC",
    environment="autogen",
    script=f"{SCRIPTS}.autogen_peer",
    server="host",
    guarantees=Guarantees(
        persisted=no("in the host's memory"),
        survives=no("the sender waits for ever"),
        stored=no(),
    ),
    settings="a host, two worker runtimes with an agent each, uvloop, tracing off.",
    limits="messages between agents rather than tasks: a type of agent lives in one worker, so "
    "the client takes the two in turn. The project calls this runtime experimental.",
)
ARQ: Final = Peer(
    name="arq",
    environment="arq",
    script=f"{SCRIPTS}.arq_peer",
    server="redis, append-only",
    polls=True,
    guarantees=Guarantees(
        persisted=IN_LOG,
        survives=yes("10 s after the longest time of a job, 310 s by default"),
        stored=yes("for an hour"),
    ),
    settings="256 jobs at a time, a look for jobs every 1 ms and for results every 5 ms (half a "
    "second by default), hiredis, uvloop, no log of results.",
    limits="workers and clients poll; with the default intervals a task takes up to a second. "
    "Its workers are stopped (SIGSTOP) while others are measured, because they poll.",
)
SAQ: Final = Peer(
    name="SAQ",
    environment="saq",
    script=f"{SCRIPTS}.saq_peer",
    server="redis, append-only",
    guarantees=Guarantees(
        persisted=IN_LOG,
        survives=yes(
            "if the job may be retried, which is not the default: with the sweep after its "
            "timeout, 10 s and at most 60 s by default"
        ),
        stored=yes("for 10 minutes"),
    ),
    settings="64 jobs at a time, 100 connections for other requests, a look for the result every "
    "1 ms, hiredis, uvloop.",
    limits="the client polls: being told of results (Job.refresh) misses jobs that end at once.",
)
PEERS: Final = (CELERY, CELERY_LATE, TASKIQ, FASTSTREAM, FASTSTREAM_TYPED, AUTOGEN, ARQ, SAQ)
