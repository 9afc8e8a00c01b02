"""A hub and one site, linked: servers, each with a JetStream domain, and the proxy between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.servers import FLEET
from bench.sites.proxy import LinkProxy
from bench.sites.server import configured_server, free_ports
from bus import sites
from bus.subjects import CONNECTS, DISCONNECTS, Subjects

SITE: Final = "berlin"
LOGIN: Final = ("leaf", "leaf")
"""User and password of the site's leaf at the hub."""


@dataclass(frozen=True, slots=True)
class Land:
    """Where everything is."""

    hub: str
    """URL of the hub's server."""
    site: str
    """URL of the site's."""
    link: LinkProxy


@asynccontextmanager
async def land(directory: Path) -> AsyncIterator[Land]:
    """Both servers, their stores in ``directory``. They have no streams yet: coordinators make
    them.

    Raises:
        ChildFailed: a server did not start.
    """
    hub, leaf, site = free_ports(3)
    config = directory / "hub.conf"
    logins = {SITE: f"user: {LOGIN[0]}, password: {LOGIN[1]}"}
    config.write_text(hub_config(directory, hub, leaf, FLEET, logins))
    async with configured_server(config), LinkProxy(leaf) as link:
        config = directory / "leaf.conf"
        config.write_text(leaf_config(directory, site, link.port))
        async with configured_server(config):
            yield Land(f"nats://127.0.0.1:{hub}", f"nats://127.0.0.1:{site}", link)


def hub_config(
    directory: Path, port: int, leaf: int, fleet: str, logins: Mapping[str, str], tls: str = ""
) -> str:
    """The hub's, as deploy/nats/hub.conf has it. Pure.

    Args:
        logins: by site, the user and what proves it, as in the server's list of users.
        tls: a block for the port of links.
    """
    subjects = Subjects(fleet)
    users = "\n      ".join(sites.render_user(subjects, *one) for one in logins.items())
    return f"""
server_name: hub
listen: "127.0.0.1:{port}"
no_auth_user: fleet
jetstream {{ domain: hub, store_dir: "{directory}/hub", max_file_store: 100GB }}
leafnodes {{
  listen: "127.0.0.1:{leaf}"
  no_advertise: true
  {tls}
  isolate_leafnode_interest: true
}}
system_account: SYS
accounts {{
  SYS {{
    exports: [
      {{ stream: "$SYS.ACCOUNT.FLEET.CONNECT", accounts: [FLEET] }}
      {{ stream: "$SYS.ACCOUNT.FLEET.DISCONNECT", accounts: [FLEET] }}
    ]
  }}
  FLEET {{
    jetstream: enabled
    users: [
      {{ user: fleet, password: fleet }}
      {users}
    ]
    imports: [
      {{ stream: {{ account: SYS, subject: "$SYS.ACCOUNT.FLEET.CONNECT" }}
        to: "{CONNECTS}" }}
      {{ stream: {{ account: SYS, subject: "$SYS.ACCOUNT.FLEET.DISCONNECT" }}
        to: "{DISCONNECTS}" }}
    ]
  }}
}}
"""


def leaf_config(directory: Path, port: int, link: int) -> str:
    """The site's, as ``fleetbus site init`` writes it, but with a password for a key. Pure."""
    return sites.render_leaf(
        SITE,
        f"nats-leaf://{':'.join(LOGIN)}@127.0.0.1:{link}",
        "",
        store=str(directory / "site"),
        listen=f"127.0.0.1:{port}",
        password="",
    )
