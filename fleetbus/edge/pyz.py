"""One file that CPython runs: a zip archive with a line in front. Pure."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Final

SHEBANG: Final = b"#!/usr/bin/env python3\n"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""When every file in it was changed, so that the same input makes the same bytes."""


def archive(files: Mapping[str, str]) -> bytes:
    """The archive of ``files``, by path; ``__main__.py`` is what runs."""
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(files):
            made.writestr(zipfile.ZipInfo(name, EPOCH), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def is_archive(data: bytes) -> bool:
    """Whether ``data`` is such an archive."""
    return data.startswith(SHEBANG) and zipfile.is_zipfile(io.BytesIO(data))
