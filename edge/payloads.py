"""Payloads too big for a message, in the fleet's object bucket. Loaded when one comes."""

import binascii
import hashlib

from edge import port
from edge.client import HEADROOM, WRONG_LAST_SEQUENCE, decode
from edge.errors import BusError
from edge.names import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.runtime import Runtime

CHUNK = 4096 if port.MICRO else 131_072
"""Bytes of an object that travel in one message."""


class TooBig(Exception):
    """More than this device takes."""


def _text(data: bytes) -> str:
    """Base64 as object names and digests have it."""
    made = binascii.b2a_base64(data).decode().strip()
    return made.replace("+", "-").replace("/", "_")


async def put(rt: "Runtime", task_id: str, output: "Any") -> str:
    """Store ``output``, bytes or what can be read like a file, however long that takes; the name
    that stands for it."""
    bucket = "PAYLOADS_" + rt.settings["fleet"]
    name = f"out-{task_id}-{rt.now()}"
    unique = port.random_bytes(11).hex()
    digest = hashlib.sha256()
    size = count = sequence = 0
    most = min(CHUNK, rt.client.max_payload - HEADROOM)
    while True:
        is_file = hasattr(output, "read")
        piece = output.read(most) if is_file else output[size : size + most]
        if not piece:
            break
        digest.update(piece)
        size += len(piece)
        sequence = await _piece(rt, bucket, unique, piece, count, sequence)
        count += 1
    if hasattr(output, "close"):
        output.close()
    about = {"name": name, "bucket": bucket, "nuid": unique, "size": size, "chunks": count}
    about["digest"] = "SHA-256=" + _text(digest.digest())
    subject = f"$O.{bucket}.M.{_text(name.encode())}"
    await rt.persist(subject, dumps(about).encode(), [("Nats-Rollup", "sub")])
    return name


async def _piece(
    rt: "Runtime", bucket: str, unique: str, piece: bytes, number: int, after: int
) -> int:
    """Store a piece behind the one at the sequence ``after``, once however often it is sent; its
    own sequence."""
    subject = f"$O.{bucket}.C.{unique}"
    name = f"{unique}-{number}"
    head = [("Nats-Msg-Id", name), ("Nats-Expected-Last-Subject-Sequence", str(after))]
    said = ""
    while True:
        try:
            return int((await rt.client.store(subject, piece, head))["seq"])
        except BusError as problem:
            text, code = str(problem), problem.code
        try:
            if code == WRONG_LAST_SEQUENCE:
                # It was stored, and we have not heard so.
                found = await rt.client.last("OBJ_" + bucket, subject)
                if found is not None and found.headers.get("Nats-Msg-Id") == name:
                    return int(found.headers["Nats-Sequence"])
        except BusError as problem:
            text = str(problem)
        if text != said:
            said = text
            port.log(port.WARNING, text)
        await rt.back(1000)


async def get(rt: "Runtime", name: str) -> bytes:
    """Fetch what ``name`` stands for.

    Raises:
        BusError: it is not there, or is damaged. ``TooBig``: it is more than ``largest``.
    """
    bucket = "PAYLOADS_" + rt.settings["fleet"]
    subject = f"$O.{bucket}.M.{_text(name.encode())}"
    found = await rt.client.last("OBJ_" + bucket, subject)
    about = decode(found.body) if found is not None else None
    if not isinstance(about, dict) or about.get("deleted") or not about.get("nuid"):
        raise BusError(f"payload {name} is not there", 404)
    size = int(about.get("size", 0))
    if size > rt.settings["largest"]:
        raise TooBig(f"{size} bytes: this device takes {rt.settings['largest']}")
    data = b""
    after = 0
    while len(data) < size:
        question = {"next_by_subj": f"$O.{bucket}.C.{about['nuid']}", "seq": after + 1, "batch": 1}
        chunk = await rt.client.stored("OBJ_" + bucket, question, 1)
        if not chunk or not chunk[0].body:
            break
        after = int(chunk[0].headers["Nats-Sequence"])
        data += chunk[0].body
    if "SHA-256=" + _text(hashlib.sha256(data).digest()) != about.get("digest"):
        raise BusError(f"payload {name} is damaged", 404)
    return data
