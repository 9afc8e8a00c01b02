"""Names and rights of a site: a leaf node with a JetStream domain of its own.

Everything that may cross a link is listed here, beside what is said across it: the permissions
of the leaf's user at the hub are rendered from the same functions as the subjects.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from bus.errors import InvalidName
from bus.subjects import DISCONNECTS, RESERVED_FLEET, Subjects, token
from bus.topology import SECOND

HUB: Final = "hub"
"""The hub as one of the sides of a link: no site may have this name."""

NEEDS_LEVEL: Final = 4
"""API level of nats-server 2.14: consumers can be reset, leaf nodes isolated."""

PORT: Final = 7422
"""Where a hub listens for sites, as a rule."""

_SYSTEM: Final = f"{Subjects(RESERVED_FLEET).root}.>"
"""What only servers may say: their events, as their configurations import them."""

WAIT: Final = 60
"""Seconds until a message that was not acknowledged across a link is sent again by itself. What
notices a broken link is quicker; this is for what nothing notices."""


class Side(NamedTuple):
    """One end of links, as the other end names it."""

    name: str
    domain: str

    @property
    def api(self) -> str:
        """Begins its JetStream API, seen from the other side."""
        return f"$JS.{self.domain}.API"


def site_name(name: str) -> str:
    """``name`` if a site may have it.

    Raises:
        InvalidName: it is no token, or the hub's.
    """
    if token("site", name) == HUB:
        raise InvalidName("site", name, "it means the hub itself; choose another")
    # The domain is a token, too, and has a prefix.
    token("site domain", f"site-{name}")
    return name


def side(name: str) -> Side:
    """The side with this name."""
    return Side(name, HUB if name == HUB else f"site-{name}")


def up_consumer(site: str) -> str:
    """On each stream of a site: what the hub has of it. Named after the site, because ack
    subjects do not have the domain in them and those of two sites must differ."""
    return f"up-{site}"


def down_consumer(site: str) -> str:
    """On the hub's stream of tasks that were handed over: what the site has of its own."""
    return f"down-{site}"


def down_inbox(subjects: Subjects, site: str) -> str:
    """Begins the reply subjects that the hub answers a site on."""
    return f"{subjects.site_down(site)[:-1]}in"


def up_inbox(subjects: Subjects, site: str) -> str:
    """Begins the reply subjects that a site's server answers the hub on."""
    return f"{subjects.site_up(site)[:-1]}in"


def consumer(subjects: Subjects, stream: str, site: str) -> dict[str, Any]:
    """The configuration of the consumer by which the other side has a stream, here or there.
    Pure."""
    sites = stream == subjects.sites_stream
    config: dict[str, Any] = {
        "durable_name": up_consumer(site),
        # A work queue takes nothing else; elsewhere one ack for many costs less of the link.
        "ack_policy": "explicit" if sites else "all",
        "ack_wait": WAIT * SECOND,
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": 512,
    }
    if sites:
        config["filter_subject"] = subjects.site_tasks(HUB)
    elif stream == subjects.results_stream:
        config["filter_subject"] = subjects.results
    return config


def hub_consumer(subjects: Subjects, site: str) -> dict[str, Any]:
    """The configuration of the consumer by which a site has what was handed over to it. Pure."""
    return {
        **consumer(subjects, subjects.sites_stream, site),
        "durable_name": down_consumer(site),
        "filter_subject": subjects.site_tasks(site),
    }


def up_streams(subjects: Subjects) -> tuple[str, ...]:
    """What the hub has of each site, the most urgent first."""
    return (
        subjects.results_stream,
        subjects.sites_stream,
        subjects.events_stream,
        subjects.dead_stream,
        subjects.audit_stream,
        subjects.telemetry_stream,
    )


class Rights(NamedTuple):
    """Allow lists of the hub-side user of a site's leaf."""

    publish: tuple[str, ...]
    """What the site may send to the hub."""
    subscribe: tuple[str, ...]
    """What the site may get from the hub."""


def rights(subjects: Subjects, site: str) -> Rights:
    """All that may cross the link of ``site``. Pure."""
    hub, own = side(HUB), side(site)
    stream, down = subjects.sites_stream, down_consumer(site)
    return Rights(
        publish=(
            subjects.site_up(site),
            # For clients at the hub whose tasks run here. Only what they have subscribed crosses.
            f"{subjects.root}.progress.*.*",
            # Replies to commands, and of the site's server to tools at the hub.
            "_INBOX.>",
            f"{hub.api}.CONSUMER.MSG.NEXT.{stream}.{down}",
            f"{hub.api}.CONSUMER.RESET.{stream}.{down}",
            f"$JS.ACK.{stream}.{down}.>",
            f"{hub.api}.DIRECT.GET.{subjects.config_stream}",
        ),
        subscribe=(
            subjects.site_down(site),
            subjects.commands,
            subjects.all_cancels,
            f"{own.api}.>",
            f"$JS.ACK.*.{up_consumer(site)}.>",
        ),
    )


def render_user(subjects: Subjects, site: str, login: str) -> str:
    """The site's user, to be put among the users of the fleet's account at the hub.

    Args:
        login: how it proves itself, for example ``nkey: U…``.
    """
    allowed = rights(subjects, site)

    def shown(names: tuple[str, ...]) -> list[str]:
        return [f'        "{one}"' for one in names]

    return "\n".join(
        [
            "{",
            f"  # The link of site {site}: it can do nothing but what is listed here.",
            f"  {login}",
            '  allowed_connection_types: ["LEAFNODE"]',
            "  permissions: {",
            "    publish: {",
            "      allow: [",
            *shown(allowed.publish),
            "      ]",
            "    }",
            "    subscribe: {",
            "      allow: [",
            *shown(allowed.subscribe),
            "      ]",
            "    }",
            "  }",
            "}",
            "",
        ]
    )


def render_leaf(site: str, url: str, login: str, *, store: str, listen: str, password: str) -> str:
    """The configuration of a site's server: one account, its own domain, one link. Pure.

    Args:
        url: the hub's leaf node port, for example ``tls://hub.example:7422``.
        login: lines that prove who the site is, for example ``nkey: "…"``; may be empty if
            ``url`` has user and password.
        store: where its streams are kept.
        listen: ``host:port`` for the site's own agents and clients.
        password: of the site's own agents and clients; empty for none, on loopback only.
    """
    user = f'user: fleet, password: "{password or "fleet"}"'
    anybody = "" if password else "# Anybody on this machine may use it.\nno_auth_user: fleet\n"
    return f"""# The nats-server of site {site}: nats-server -c leaf.conf (2.14 or newer).

server_name: "site-{site}"
listen: "{listen}"
{anybody}
jetstream {{
  # Names this side of the link. The hub's is "hub".
  domain: "site-{site}"
  store_dir: "{store}"
  max_file_store: 50GB
}}

leafnodes {{
  # Tries again after one to two seconds, for ever.
  reconnect: "1s"
  remotes: [
    {{
      url: "{url}"
      account: FLEET
{login}
      # Or it would reconnect to the hub's own address, past a proxy or load balancer.
      ignore_discovered_servers: true
      # For slow links.
      first_info_timeout: "5s"
      # The site's own guard. What binds it are the hub's permissions.
      deny_imports: ["{_SYSTEM}"]
      deny_exports: ["{_SYSTEM}"]
    }}
  ]
}}

# A link that is silent is given up after two pings without an answer. Shorter = noticed sooner,
# more traffic.
ping_interval: "20s"
ping_max: 2

max_payload: 1MB
# Monitoring, on a port that nothing else on this machine has.
# http: "127.0.0.1:8223"

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
    users: [{{ {user}, permissions: {{ publish: {{ deny: ["{_SYSTEM}"] }} }} }}]
    imports: [
      {{
        stream: {{ account: SYS, subject: "$SYS.ACCOUNT.FLEET.DISCONNECT" }}
        to: "{DISCONNECTS}"
      }}
    ]
  }}
}}
"""
