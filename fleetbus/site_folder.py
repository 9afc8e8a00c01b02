"""The folder that makes a machine a site: configuration, key, units, and what the hub must know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bus import sites
from bus.errors import SettingsError
from bus.server_config import is_loopback
from bus.subjects import Subjects


def write(directory: Path, name: str, hub: str, listen: str, fleet: str) -> Iterator[str]:
    """Write the folder; yields lines for people, the last of them what to do next.

    Raises:
        InvalidName: the site may not be called so.
        SettingsError: the hub's URL or the address cannot be used, or something is there already.
    """
    sites.site_name(name)
    url = _hub(hub)
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError("--listen", f"{listen!r} is not host:port")
    if directory.exists() and any(directory.iterdir()):
        raise SettingsError(
            "--directory", f"{directory} is not empty, and nothing is overwritten: choose another"
        )
    seed, public = _key()
    password = "" if is_loopback(host) else os.urandom(16).hex()
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "leaf.conf": _leaf(name, url, listen, password),
        "leaf.env": f"# The site's secret: who has it is the site.\nSITE_SEED={seed}\n",
        "hub-user.conf": sites.render_user(Subjects(fleet), name, f"nkey: {public}"),
        f"nats-site-{name}.service": _server_unit(name),
        f"fleetbus-site-{name}.service": _coordinator_unit(name, fleet, listen, password),
    }
    for file, text in files.items():
        # The seed and the password are for their owner only.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(directory / file, flags, 0o600), "w", encoding="utf-8") as opened:
            opened.write(text)
        yield f"wrote {directory / file}"
    yield ""
    yield f"1. At the hub, put {directory / 'hub-user.conf'} among the users of its account FLEET"
    yield "   (deploy/nats/hub.conf shows where) and reload it: nats-server --signal reload"
    yield f"2. Copy {directory} to the site's machine, and there:"
    yield f"   cd {directory} && set -a && . ./leaf.env && nats-server -c leaf.conf"
    yield f"   fleetbus coordinator --fleet {fleet} --site {name} --url nats://{listen}"
    yield f"3. Start agents there with site={name!r}. At the hub: fleetbus site list"


def _hub(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"tls://{url}")
    wrong = SettingsError("--hub", f"{url!r} is no URL such as tls://hub.example:7422")
    try:
        port = parts.port or sites.PORT
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("tls", "nats", "nats-leaf") or not parts.hostname:
        raise wrong
    if parts.username is not None:
        raise SettingsError(
            "--hub", "the URL has a user: a site proves who it is with the key that is made here"
        )
    scheme = "nats-leaf" if parts.scheme == "nats" else parts.scheme
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}:{port}"


def _key() -> tuple[str, str]:
    """A new seed and the public key that belongs to it."""
    import nkeys

    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    pair = nkeys.from_seed(bytearray(seed))
    public: bytes = pair.public_key
    return bytes(seed).decode(), bytes(public).decode()


def _leaf(name: str, url: str, listen: str, password: str) -> str:
    return sites.render_leaf(
        name, url, "      nkey: $SITE_SEED", store="store", listen=listen, password=password
    )


def _server_unit(name: str) -> str:
    return f"""[Unit]
Description=nats-server of site {name}
After=network-online.target

[Service]
WorkingDirectory=/etc/fleetbus/site-{name}
EnvironmentFile=/etc/fleetbus/site-{name}/leaf.env
ExecStart=/usr/local/bin/nats-server -c leaf.conf
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def _coordinator_unit(name: str, fleet: str, listen: str, password: str) -> str:
    login = f"Environment=FLEETBUS_USER=fleet FLEETBUS_PASSWORD={password}\n" if password else ""
    return f"""[Unit]
Description=fleetbus coordinator of site {name}
After=nats-site-{name}.service

[Service]
Environment=FLEETBUS_URL=nats://{listen.replace("0.0.0.0", "127.0.0.1")} FLEETBUS_FLEET={fleet}
{login}ExecStart=/opt/fleetbus/bin/fleetbus coordinator --site {name}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
