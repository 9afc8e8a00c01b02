"""Celery over Redis, with Redis as its result backend. Its client is not asynchronous: the driver
keeps the tally itself, from callbacks, in one thread."""
# Celery is in an environment of its own:
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import sys
import time
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from bench.peers.scripts.loop import Order, Tally
from bench.peers.scripts.script import Setup, note_begun, ready

PACKAGES = ("celery", "kombu", "redis")
NAME = "answer"
PREFETCH = 64
"""Tasks a process has waiting; the documentation has 64 or 128 for many short tasks."""


def application(setup: Setup) -> Any:
    """The Celery application, with the task in it."""
    app = Celery("bench", broker=setup.server, backend=setup.server)
    app.conf.update(
        task_acks_late=setup.late,
        task_reject_on_worker_lost=setup.late,
        worker_prefetch_multiplier=setup.hands or PREFETCH,
        # What a worker does beside tasks is left out: no remote control, no rate limits.
        worker_enable_remote_control=False,
        worker_disable_rate_limits=True,
        worker_redirect_stdouts=False,
    )
    if setup.recovery:
        app.conf.broker_transport_options = {
            "visibility_timeout": setup.recovery,
            # Seconds between two looks for what is overdue; 100 by default.
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }

    def answer(data: str) -> str:
        time.sleep(note_begun(data))
        return data

    app.task(name=NAME)(answer)
    return app


def work(setup: Setup) -> None:
    """A worker with its pool of processes."""
    app = application(setup)
    worker_ready.connect(lambda **_: ready(*PACKAGES), weak=False)
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={setup.processes}",
            f"--hostname=worker{setup.number}@localhost",
            "--loglevel=ERROR",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def loop(app: Any, order: Order) -> Tally:
    """The closed loop. A callback only says that one more may begin: submitting from within it
    would nest."""
    tally = Tally(order)
    data = order.data
    task = app.tasks[NAME]
    more = 0

    def begin() -> None:
        began = time.perf_counter()

        def end(result: Any) -> None:
            nonlocal more
            tally.end(began, result.result)
            more += 1

        task.delay(data).then(end, on_error=end)

    for _ in range(order.outstanding):
        if tally.begin():
            begin()
    while tally.pending and not tally.overdue:
        try:
            app.backend.result_consumer.drain_events(timeout=1)
        except TimeoutError:  # nothing came within that second
            continue
        while more:
            more -= 1
            if tally.begin():
                begin()
    return tally


def drive(setup: Setup) -> None:
    """The driver."""
    app = application(setup)
    ready(*PACKAGES)
    while line := sys.stdin.readline():
        print("\n".join(loop(app, Order(**json.loads(line))).lines()), flush=True)


if __name__ == "__main__":
    read = Setup.read()
    drive(read) if read.role == "driver" else work(read)
