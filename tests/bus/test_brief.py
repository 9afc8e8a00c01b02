"""A card in brief: the same as the card says, and kept once for all that say it alike."""

from __future__ import annotations

import msgspec
import pytest

from bus import codec
from bus.client import brief
from bus.client.brief import Brief
from bus.errors import DecodeError
from bus.wire.card import Capability, Card


def card(agent: str = "a1", **fields: object) -> Card:
    values: dict[str, object] = {
        "site": "berlin",
        "labels": {"env": "prod", "zone": "b"},
        "slots": 3,
        "capabilities": (
            Capability("echo", description="says it again", input_schema={"type": "object"}),
            Capability("sum"),
        ),
        "host": "h",
        "pid": 7,
    }
    return msgspec.convert(
        {"agent": agent, "incarnation": "i1", **msgspec.to_builtins({**values, **fields})}, Card
    )


def test_says_what_the_card_says() -> None:
    made = card()
    found = brief.decode(codec.encode(made))
    assert found == Brief.of(made)
    assert (found.agent, found.incarnation, found.site, found.slots) == ("a1", "i1", "berlin", 3)
    assert (found.labels, found.capabilities) == (made.labels, ("echo", "sum"))


def test_a_card_of_the_bare_minimum_has_the_same_defaults() -> None:
    made = Card("a1", "i1")
    assert brief.decode(codec.encode(made)) == Brief.of(made)


def test_agents_that_say_the_same_share_it() -> None:
    one, other = (brief.decode(codec.encode(card(name))) for name in ("a1", "a2"))
    assert one.labels is other.labels
    assert one.capabilities is other.capabilities
    assert one.site is other.site


def test_a_capability_that_is_named_twice_counts_once() -> None:
    made = card(capabilities=(Capability("echo"), Capability("sum"), Capability("echo")))
    assert brief.decode(codec.encode(made)).capabilities == ("echo", "sum")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"nonsense", "agent card"),
        (b'{"agent":"a1"}', "incarnation"),
        (b'{"agent":"a 1","incarnation":"i"}', "not a legal name"),
        (b'{"agent":"a1","incarnation":"i","site":"a.b"}', "not a legal name"),
        (b'{"agent":"a1","incarnation":"i","slots":0}', "slots"),
        (b'{"agent":"a1","incarnation":"i","labels":{"x":1}}', "labels"),
        (b'{"agent":"a1","incarnation":"i","capabilities":[{"name":"*"}]}', "not a legal name"),
        (b'{"agent":"a1","incarnation":"i","capabilities":[{}]}', "name"),
        (b'{"agent":"a1","incarnation":"i","capabilities":{}}', "capabilities"),
    ],
)
def test_garbage_is_refused(data: bytes, says: str) -> None:
    # Twice: what was refused once must not be remembered as good.
    for _ in range(2):
        with pytest.raises(DecodeError, match=says):
            brief.decode(data)
