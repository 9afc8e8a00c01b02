"""The client of the floors, which redeliver nothing."""

from __future__ import annotations

import pytest

from bench.harness.errors import BenchError
from bench.sides import bare_client


async def test_tasks_that_are_lost_end_the_run(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare_client, "PATIENCE", 0.2)
    with pytest.raises(BenchError, match=r"0 of 3 results had come on lost\.done"):
        await bare_client.submit(
            nats_url, lambda task: (f"lost.task.{task}", {"Id": task}), "lost.done", 3, 3, b"x"
        )
