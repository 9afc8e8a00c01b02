"""How far the hub is behind a site, by the consumers that it has there."""

from __future__ import annotations

from bus import sites
from bus.connection import ApiError, Bus


async def behind(bus: Bus, site: str) -> dict[str, int]:
    """By stream: messages that the hub does not have yet, where there are some. To be asked at
    the site.

    Raises:
        BusError, TimeoutError: as for ``Bus.api``.
    """
    lag: dict[str, int] = {}
    for stream in sites.up_streams(bus.subjects):
        try:
            one = await bus.api(f"CONSUMER.INFO.{stream}.{sites.up_consumer(site)}")
        except ApiError as error:
            if error.code not in (ApiError.NO_CONSUMER, ApiError.NO_STREAM):
                raise
            continue  # the hub has not been here yet
        count = int(one["num_pending"]) + int(one["num_ack_pending"])
        if count:
            lag[stream] = count
    return lag
