"""Who this agent is to the server: an nkey, alone or with the JWT of a user.

The server sends a nonce, and CONNECT answers with its signature and the public key or the JWT.
The seed stays in this process; no error shows it.
"""

import binascii
import sys

from edge.ed25519 import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SEED = 18 << 3
_USER = 20 << 3
_FIX = "write the file anew: nsc generate creds, or nk -gen user for a seed alone"


class CredentialsError(ValueError):
    """A file of credentials can not be used; says which, why, and what to do."""


class Nkey:
    """One user's key.

    Args:
        raw: the 32 bytes behind the seed.
    """

    def __init__(self, raw: bytes) -> None:
        self._key = _signer(raw)
        self.public = _encode(bytes([_USER]) + self._key.public)
        """The public key as NATS writes it: U and 55 more characters."""

    def sign(self, nonce: bytes) -> str:
        """The signature of the server's nonce, as CONNECT wants it: base64url, no padding."""
        text = binascii.b2a_base64(self._key.sign(nonce)).decode()
        return text.rstrip("=\n").replace("+", "-").replace("/", "_")


def credentials(path: str) -> "tuple[str, Nkey]":
    """JWT and key in a user's creds file, as nsc writes them.

    Raises:
        CredentialsError: it can not be read, or does not hold one of each.
    """
    jwt, key = parse(_read(path), path)
    if not jwt:
        raise CredentialsError(f"credentials {path}: there is no JWT, only a seed; {_FIX}")
    return jwt, key


def seed(path: str) -> Nkey:
    """The key whose seed is in a file; a creds file will do, its JWT is left alone.

    Raises:
        CredentialsError: it can not be read, or holds no usable seed.
    """
    return parse(_read(path), path)[1]


def parse(data: bytes, name: str) -> "tuple[str, Nkey]":
    """JWT ("" if there is none) and key in the content of a file; ``name`` is for errors.

    What a line is, its marker or else its shape tells, so that files without markers, with
    comments (``#``) or with Windows' line ends are read too.

    Raises:
        CredentialsError: there is no usable seed, or two of something.
    """
    jwt = seed = label = ""
    try:
        lines = data.decode().split("\n")
    except ValueError:  # UnicodeError, which quotes the bytes
        raise CredentialsError(f"credentials {name}: not a text file; {_FIX}") from None
    for line in lines:
        line = line.strip("\ufeff \t\r")
        if line.startswith("---"):
            label = line if "BEGIN" in line else ""
        elif not line or line[0] in "#*":
            continue
        elif "JWT" in label or (line.startswith("ey") and line.count(".") == 2):
            if jwt and jwt != line:
                raise CredentialsError(f"credentials {name}: two JWTs; keep one")
            jwt = line
        elif "SEED" in label or (line[0] == "S" and " " not in line):
            if seed and seed != line:
                raise CredentialsError(f"credentials {name}: two seeds; keep one")
            seed = line
    try:
        return jwt, Nkey(decode_seed(seed))
    except ValueError as problem:
        raise CredentialsError(f"credentials {name}: {problem}; {_FIX}") from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as problem:
        raise CredentialsError(
            f"credentials {path}: can not be read ({problem}); "
            "name a file that this process may read"
        ) from None


def decode_seed(text: str) -> bytes:
    """The 32 bytes in the seed of a user's nkey, written SU and 56 more characters.

    Raises:
        ValueError: which rule it breaks; the text itself is not in it.
    """
    if not text:
        raise ValueError("there is no seed (a line that begins with SU)")
    if len(text) != 58:
        raise ValueError(f"a seed has 58 characters, this one {len(text)}")
    number = 0
    for letter in text:
        digit = _ALPHABET.find(letter)
        if digit < 0:
            raise ValueError("a seed has only A-Z and 2-7 in it")
        number = number << 5 | digit
    # 58 letters are 290 bits, 36 bytes are 288.
    data = (number >> 2).to_bytes(36, "big")
    if number & 3 or _crc16(data[:34]) != data[34:]:
        raise ValueError("the seed's checksum is wrong: a letter is missing or mistaken")
    if data[0] & 0xF8 != _SEED or (data[0] & 7) << 5 | data[1] >> 3 != _USER:
        raise ValueError("the seed is not that of a user (SU), but of another kind of key")
    return data[2:34]


def _encode(data: bytes) -> str:
    """``data``, 33 bytes, and its checksum in base 32."""
    number = int.from_bytes(data + _crc16(data), "big")
    return "".join([_ALPHABET[number >> shift & 31] for shift in range(275, -1, -5)])


def _crc16(data: bytes) -> bytes:
    """CRC-16/XMODEM, the low byte first."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (0x1021 if crc & 0x8000 else 0)
        crc &= 0xFFFF
    return crc.to_bytes(2, "little")


class _Fast:
    """The key in the ``cryptography`` library, which signs in constant time."""

    def __init__(self, module: "Any", seed: bytes) -> None:
        key = module.Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = key.public_key().public_bytes_raw()
        self.sign = key.sign


def _signer(seed: bytes) -> "Key | _Fast":
    # Only if something has imported it already: that takes 9 MB and 14 ms, and plain Python
    # needs 3 ms for key and signature. (CPython 3.11, cryptography 50.) MicroPython has no C module
    # for Ed25519 that is common.
    module = sys.modules.get("cryptography.hazmat.primitives.asymmetric.ed25519")
    return _Fast(module, seed) if module else Key(seed)
