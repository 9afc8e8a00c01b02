"""Ed25519 signatures (RFC 8032) in plain Python, for one signature at each connect.

Not constant-time: the steps do not depend on the key, but Python's arithmetic on large numbers
takes longer for some values than for others. Whoever can measure many signatures to fractions
of a microsecond, on the same machine or next to the device, might learn about the key. Over a
network the noise is a thousand times larger, and a connection gets one signature. Where others
share the machine, import ``cryptography`` before the agent starts: it is used then.
"""

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    Point = tuple[int, int, int, int]
    """(X, Y, Z, T) with x = X / Z, y = Y / Z, x * y = T / Z."""

# MicroPython has only SHA-256.
_sha512 = getattr(hashlib, "sha512", None)

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493


def _hash(data: bytes) -> bytes:
    if _sha512:
        digest: bytes = _sha512(data).digest()
        return digest
    from edge.sha512 import sha512

    return sha512(data)


def _inverse(n: int) -> int:
    """1 / n modulo P, by Euclid: pow() with three arguments is not on every port."""
    a, b, x, y = n, _P, 1, 0
    while b:
        q = a // b
        a, b, x, y = b, a - q * b, y, x - q * y
    return x % _P


_TWICE_D = -121665 * _inverse(121666) * 2 % _P

_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_Y = 4 * _inverse(5) % _P
_BASE = (_X, _Y, 1, _X * _Y % _P)


def _add(p: "Point", q: "Point") -> "Point":
    """The sum of two points, which may be equal or zero."""
    x, y, z, t = p
    u, v, w, s = q
    a = (y - x) * (v - u) % _P
    b = (y + x) * (v + u) % _P
    c = t * _TWICE_D % _P * s % _P
    d = 2 * z * w % _P
    e = b - a
    f = d - c
    g = d + c
    h = b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiple(n: int) -> bytes:
    """``n`` times the base point, encoded; four bits of ``n`` a step."""
    table: list[Point] = [(0, 1, 1, 0)]
    for _ in range(15):
        table.append(_add(table[-1], _BASE))
    p = table[0]
    for byte in n.to_bytes(32, "big"):
        for digit in (byte >> 4, byte & 15):
            for _ in range(4):
                p = _add(p, p)
            p = _add(p, table[digit])
    x, y, z, _ = p
    z = _inverse(z)
    return (y * z % _P | (x * z % _P & 1) << 255).to_bytes(32, "little")


class Key:
    """A private key.

    Args:
        seed: its 32 bytes. The caller has checked that.
    """

    def __init__(self, seed: bytes) -> None:
        digest = _hash(seed)
        self._scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self._prefix = digest[32:]
        # From the seed, always: a signature with another public key would give the key away.
        self.public = _multiple(self._scalar)
        """The public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, 64 bytes."""
        r = int.from_bytes(_hash(self._prefix + message), "little") % _ORDER
        point = _multiple(r)
        k = int.from_bytes(_hash(point + self.public + message), "little")
        return point + ((r + k * self._scalar) % _ORDER).to_bytes(32, "little")
