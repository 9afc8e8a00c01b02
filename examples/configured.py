"""An agent whose prompt and model come from the fleet's configuration.

fleetbus agent run examples/configured.py:writers

examples/config-repo is a repository that configures it.
"""

import re
from typing import Annotated

import msgspec

from agent_runtime import Agent


class Model(msgspec.Struct, frozen=True):
    name: str = "tiny"
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] = 0.0


class Settings(msgspec.Struct, frozen=True):
    """What of the fleet's configuration these agents look at; the rest is ignored."""

    prompt: str = "In short:"
    max_words: Annotated[int, msgspec.Meta(ge=1)] = 12
    model: Model = Model()


def writer(agent_id: str, site: str, **labels: str) -> Agent[Settings]:
    """An agent that stands in for one with a language model."""
    agent = Agent(agent_id, site=site, labels=labels, slots=2, config=Settings)

    @agent.on_config("model")
    def load(new: Model, old: Model | None) -> None:
        """Refuse what cannot be loaded: the agent then keeps what it has, and the fleet sees it."""
        if new.name not in ("tiny", "small", "large"):
            raise ValueError(f"there is no model {new.name!r}: use tiny, small or large")

    @agent.capability("write", version="1.0.0")
    async def write(text: str) -> str:
        """Summarize a text as the configuration says."""
        config = agent.config
        words = re.findall(r"\S+", text)
        return f"{config.prompt} {' '.join(words[: config.max_words])} ({config.model.name})"

    return agent


writers = [
    writer("writer-1", "berlin"),
    writer("writer-2", "berlin", gpu="a100"),
    writer("writer-3", "lagos", gpu="l4"),
]
