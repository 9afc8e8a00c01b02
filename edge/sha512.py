"""SHA-512 (FIPS 180-4) for platforms whose hashlib does not have it. Only loaded there.

Slow, and written to be small: some milliseconds a block on a microcontroller. A signature
needs four blocks.
"""

_MASK = (1 << 64) - 1


def _root(n: int, power: int) -> int:
    """The first 64 bits of the fraction of the square (2) or cube (3) root of ``n``."""
    target = n << 64 * power
    guess = 1 << 69
    while True:
        # Newton from above: falls until it has the floor of the root.
        closer = ((power - 1) * guess + target // guess ** (power - 1)) // power
        if closer >= guess:
            return guess & _MASK
        guess = closer


def _constants() -> "tuple[list[int], bytes]":
    """The start values and the 80 round constants, computed: a table would be more source."""
    primes: list[int] = []
    n = 2
    while len(primes) < 80:
        if all(n % prime for prime in primes):
            primes.append(n)
        n += 1
    # One bytes object: 80 integers of 64 bits would be 80 objects on MicroPython's heap.
    rounds = b"".join([_root(prime, 3).to_bytes(8, "big") for prime in primes])
    return [_root(prime, 2) for prime in primes[:8]], rounds


_START, _ROUNDS = _constants()


def _turn(x: int, n: int) -> int:
    """Rotate right; bits above the 64th are left for the caller to mask."""
    return x >> n | x << 64 - n


def sha512(data: bytes) -> bytes:
    """The digest of ``data``, 64 bytes."""
    state = list(_START)
    size = len(data)
    data += b"\x80" + bytes(-(size + 17) % 128) + (size * 8).to_bytes(16, "big")
    for block in range(0, len(data), 128):
        w = [int.from_bytes(data[i : i + 8], "big") for i in range(block, block + 128, 8)]
        a, b, c, d, e, f, g, h = state
        for i in range(80):
            now = w[i % 16]
            k = int.from_bytes(_ROUNDS[8 * i : 8 * i + 8], "big")
            s = (_turn(e, 14) ^ _turn(e, 18) ^ _turn(e, 41)) & _MASK
            t = h + s + (e & f ^ ~e & g) + k + now
            s = (_turn(a, 28) ^ _turn(a, 34) ^ _turn(a, 39)) & _MASK
            h, g, f, e = g, f, e, (d + t) & _MASK
            d, c, b, a = c, b, a, (t + s + (a & b ^ a & c ^ b & c)) & _MASK
            # The schedule in a ring of 16: what i + 16 will need takes the place of i.
            x, y = w[(i + 1) % 16], w[(i + 14) % 16]
            x = (_turn(x, 1) ^ _turn(x, 8) ^ x >> 7) & _MASK
            y = (_turn(y, 19) ^ _turn(y, 61) ^ y >> 6) & _MASK
            w[i % 16] = (now + x + y + w[(i + 9) % 16]) & _MASK
        for i, x in enumerate((a, b, c, d, e, f, g, h)):
            state[i] = (state[i] + x) & _MASK
    return b"".join([x.to_bytes(8, "big") for x in state])
