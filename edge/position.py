"""What a spool knows beside its records: its id, a limit below which numbers may have been given,
and up to where each kind is done. It is a small file, ``state``, which is replaced.
"""

import binascii
import struct

from edge.files import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.files import Files

_STATE = "<4sQQQ"


def load(
    files: "Files", folder: str, survived: "Callable[[OSError], None]"
) -> "tuple[str, int, int, int] | None":
    """Id, limit, and the numbers up to which results and telemetry are done; None if there is no
    state that can be read. ``survived`` is told why not, unless there is none."""
    for name in ("/state.tmp", "/state"):
        try:
            file = files.open(folder + name, "rb")
            try:
                data = file.read(64)
            finally:
                file.close()
        except OSError as problem:
            if problem.errno not in MISSING:
                survived(problem)
            continue
        if len(data) == 32 and struct.pack("<I", binascii.crc32(data[:28])) == data[28:]:
            ident, limit, results, telemetry = struct.unpack(_STATE, data[:28])
            return ident.hex(), limit, results, telemetry
    return None


def save(files: "Files", folder: str, ident: str, limit: int, results: int, telemetry: int) -> None:
    """Store the same.

    Raises:
        OSError: it is not stored; what was there before still is.
    """
    data = struct.pack(_STATE, binascii.unhexlify(ident), limit, results, telemetry)
    files.replace(folder + "/state", data + struct.pack("<I", binascii.crc32(data)))
