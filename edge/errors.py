"""What can go wrong on the bus."""


class ProtocolError(Exception):
    """What came is not the NATS protocol: the connection is of no more use."""


class BusError(Exception):
    """The bus did not do what was asked. ``code`` is the server's own, if it gave one."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class DuplicateAgent(Exception):
    """Another process has the agent's id, and answers."""


class Garbage(Exception):
    """A message that cannot be read. It is counted and dropped."""
