"""Submits a task, follows another one's progress, and calls a third.

python examples/submit.py        (with examples/summarizer.py running in fleet dev)
"""

import asyncio

from bus import Client


async def main() -> None:
    async with Client.connect() as client:
        handle = await client.submit(
            "summarize", {"text": "Buses carry people. Message buses carry work.", "max_words": 3}
        )
        print("summary:", await handle.result(timeout=30))

        counting = await client.submit("count", {"to": 3, "pause": 0.05})
        async for progress in counting.progress():
            print("progress:", progress.value)
        print("counted to", await counting.result(timeout=30))

        print("call:", await client.call("summarize", {"text": "Now."}, timeout=5))


if __name__ == "__main__":
    asyncio.run(main())
