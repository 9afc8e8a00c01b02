"""References to secrets: only they are on the bus, and each agent resolves its own.

A value ``secret://<scheme>/<rest>`` is a reference; ``env`` and ``file`` are built in, and an
agent may bring resolvers of its own for other schemes.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

PREFIX: Final = "secret://"
_REFERENCE: Final = re.compile(r"secret://(?P<scheme>[a-z][a-z0-9+-]*)/(?P<rest>.+)", re.DOTALL)


class Reference(NamedTuple):
    """Where a secret is to be found."""

    scheme: str
    rest: str


def is_reference(value: Any) -> bool:
    """True if ``value`` is meant as a reference, well formed or not."""
    return isinstance(value, str) and value.startswith(PREFIX)


def parse(value: str) -> Reference | None:
    """The reference in ``value``; None if it is not well formed."""
    found = _REFERENCE.fullmatch(value)
    return None if found is None else Reference(found["scheme"], found["rest"])
