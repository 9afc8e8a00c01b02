"""Ed25519 and SHA-512 in plain Python, held to the RFC and to other implementations."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from edge import ed25519
from edge.ed25519 import Key
from edge.sha512 import sha512

# RFC 8032, section 7.1: secret key, public key, message, signature.
VECTORS = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
        "1cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
        "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
        "984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c6"
        "6431e0303dca179c138ac17ad9bef1177331a704",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_the_rfc(name: str) -> None:
    seed, public, message, signature = (bytes.fromhex(text) for text in VECTORS[name])
    key = Key(seed)
    assert key.public == public
    assert key.sign(message) == signature


@settings(max_examples=60, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_same_as_libsodium(seed: bytes, message: bytes) -> None:
    key, other = Key(seed), SigningKey(seed)
    assert key.public == bytes(other.verify_key)
    assert key.sign(message) == other.sign(message).signature


def test_same_as_cryptography() -> None:
    found = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    rng = random.Random(1)
    for _ in range(50):
        seed, message = rng.randbytes(32), rng.randbytes(rng.randrange(100))
        other = found.Ed25519PrivateKey.from_private_bytes(seed)
        assert Key(seed).public == other.public_key().public_bytes_raw()
        assert Key(seed).sign(message) == other.sign(message)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 2**252, 2**255 - 1, ed25519._ORDER - 1])
def test_multiples_at_the_edges(n: int) -> None:
    """By doubling and adding, which the table of sixteen is not."""
    sum_, power = (0, 1, 1, 0), ed25519._BASE
    for bit in range(n.bit_length()):
        if n >> bit & 1:
            sum_ = ed25519._add(sum_, power)
        power = ed25519._add(power, power)
    x, y, z, _ = sum_
    inverse = pow(z, -1, ed25519._P)
    expected = y * inverse % ed25519._P | (x * inverse % ed25519._P & 1) << 255
    assert ed25519._multiple(n) == expected.to_bytes(32, "little")


def test_without_sha512_in_hashlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on MicroPython."""
    monkeypatch.setattr(ed25519, "_sha512", None)
    for name in VECTORS:
        test_vectors_of_the_rfc(name)


def test_sha512_at_every_length() -> None:
    data = random.Random(2).randbytes(301)
    for length in range(301):
        assert sha512(data[:length]) == hashlib.sha512(data[:length]).digest(), length


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=2000))
def test_sha512_of_anything(data: bytes) -> None:
    assert sha512(data) == hashlib.sha512(data).digest()
