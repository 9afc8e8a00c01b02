"""A camera: pictures too big for a message, which travel as files.

On this machine:  FLEETBUS_AGENT=gate python -m edge examples/edge/camera.py
For a device:     fleetbus edge bundle examples/edge/camera.py --agent gate --url nats://…
Take a picture:   fleetbus task submit snapshot width=3200 height=2400 > gate.jpg
"""

import asyncio

from edge import Agent

PICTURE = "picture.jpg"
BLOCK = 1024

agent = Agent(labels={"kind": "camera"}, slots=1)


class Sensor:
    """Stands in for the driver of a camera module: gives grey, in the frame of a JPEG."""

    def __init__(self, width, height):
        self.left = width * height // 4
        self.begun = False

    def read(self):
        """The next block of the picture; empty after the last."""
        if not self.begun:
            self.begun = True
            return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
        if self.left <= 0:
            return b""
        self.left -= BLOCK
        return b"\x80" * BLOCK if self.left > 0 else b"\x80" * (BLOCK + self.left) + b"\xff\xd9"


@agent.capability(
    "snapshot",
    params={"width": (int, 800), "height": (int, 600)},
    description="A JPEG picture",
    timeout=60.0,
)
async def snapshot(task, width, height):
    if not 16 <= width <= 4096 or not 16 <= height <= 4096:
        raise ValueError("width and height are 16 to 4096")
    sensor = Sensor(width, height)
    size = width * height // 4
    done = 0
    told = 0
    # A block at a time: no device has room for the whole picture in its memory.
    with open(PICTURE, "wb") as file:
        while True:
            block = sensor.read()
            if not block:
                break
            file.write(block)
            done += len(block)
            if done * 4 // size > told:
                told = done * 4 // size
                task.progress({"bytes": done}, fraction=min(1.0, done / size))
            await asyncio.sleep(0)
    # A file is sent in pieces, as an object that the result names.
    return open(PICTURE, "rb")


if __name__ == "__main__":
    agent.run()
