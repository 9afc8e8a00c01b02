"""When a scheduled task is due, in the words of people and in those of the broker. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from bus.errors import TaskRejected

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_NAMED: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def seconds(text: str) -> float:
    """A duration as people write it, ``90s``, ``1h30m``, ``1.5d``, in seconds.

    Raises:
        ValueError: it is something else.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m, 1h30m or 2d")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def once(at: datetime) -> str:
    """The pattern that fires at one time. A time without a zone is local time."""
    utc = at.astimezone(UTC).replace(tzinfo=None)
    return f"@at {utc.isoformat(timespec='milliseconds')}Z"


def repeated(every: float | str) -> str:
    """The pattern that fires every so often.

    ``every`` is a number of seconds, a duration (``5m``), a name (``@hourly``), or a cron
    expression in UTC with five fields, or six if the first is seconds.

    Raises:
        TaskRejected: it is none of these, or less than a second.
    """
    if isinstance(every, str):
        text = every.strip()
        if text in _NAMED:
            return text
        if len(fields := text.split()) in (5, 6):
            return " ".join(fields if len(fields) == 6 else ["0", *fields])
        try:
            period = seconds(text.removeprefix("@every "))
        except ValueError:
            raise TaskRejected(
                "",
                f"every {every!r} is neither a duration such as 5m, nor one of "
                f"{', '.join(_NAMED)}, nor cron with 5 or 6 fields",
                field="every",
            ) from None
    else:
        period = float(every)
    if not 1 <= period < 1e9:
        raise TaskRejected("", f"every {every!r} is not at least a second", field="every")
    return f"@every {period:.3f}".rstrip("0").rstrip(".") + "s"


def unix_time(text: str) -> float:
    """Unix seconds of an RFC 3339 time with any number of decimals, as the server writes it.

    Raises:
        ValueError: it is not one.
    """
    # The server writes up to nine decimals; Python reads six.
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if dot:
        text = f"{head}.{digits[:6]:0<6}{rest[len(digits) :]}"
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} names no zone")
    return found.timestamp()


def milliseconds(text: str) -> int:
    """The same in Unix milliseconds.

    Raises:
        ValueError: it is not a time.
    """
    return round(unix_time(text) * 1000)
