"""Files of a configuration repository, read: YAML by the core schema of 1.2, and JSON.

Both have the same limits (``fleetbus.gitops.source``) and say where a mistake is. In YAML ``no``,
``on``, ``12:30`` and ``2026-11-21`` are text. Keys must be text and unique. Anchors and aliases
work; merge keys (``<<``), tags other than the standard ones and several documents are refused.
"""

from __future__ import annotations

from fleetbus.gitops import json_text, source, yaml_text
from fleetbus.gitops.source import Document, InvalidDocument

__all__ = ["Document", "InvalidDocument", "parse", "parse_json"]


def parse(data: bytes, file: str) -> Document:
    """What the YAML ``file`` holds. An empty one holds an empty mapping.

    Raises:
        InvalidDocument: it cannot be read, or goes over a limit.
    """
    return source.Expansion(file).document(yaml_text.node(source.text(data, file), file))


def parse_json(data: bytes, file: str) -> Document:
    """What the JSON ``file`` holds.

    Raises:
        InvalidDocument: it cannot be read, or goes over a limit.
    """
    return source.Expansion(file).document(json_text.node(source.text(data, file), file))
