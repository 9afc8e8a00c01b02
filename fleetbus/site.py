"""``fleetbus site``: set up sites, see them, and say what they may be given."""

from typing import Annotated, Any, Literal

import typer

from fleetbus.connection import Fleet, Json, Url, connected, run

HELP = """Sites: places with a server of their own, linked to the hub.

A site goes on while its link is down and loses nothing: its agents, coordinator and clients
talk to the site's own nats-server, a leaf node of the hub's.

Examples:

  fleetbus site init berlin --hub tls://hub.example:7422

  fleetbus site list

  fleetbus site spill berlin when-full --from hub --from paris
"""

Name = Annotated[str, typer.Argument(metavar="SITE", help="The site's name.")]


def register(app: typer.Typer) -> None:
    """Add ``site`` to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command("init")(init)
    group.command("list")(list_)
    group.command("spill")(spill)
    group.command("forget")(forget)
    app.add_typer(group, name="site")


def init(
    name: Name,
    hub: Annotated[
        str,
        typer.Option(
            "--hub",
            metavar="URL",
            show_default=False,
            help="The hub's port for leaf nodes, such as tls://hub.example:7422.",
        ),
    ],
    directory: Annotated[
        str,
        typer.Option(
            "--directory", "-d", metavar="DIR", show_default=False, help="Else ./site-<SITE>."
        ),
    ] = "",
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="HOST:PORT", help="For the site's agents and clients."),
    ] = "127.0.0.1:4222",
    fleet: Fleet = None,
) -> None:
    """Write a folder with all that a site's machine needs, and what the hub needs to know of it.

    Overwrites nothing.
    """
    run(_init(name, hub, directory, listen, fleet))


def list_(as_json: Json = False, url: Url = None, fleet: Fleet = None) -> None:
    """List the sites: for how long they are connected or away, agents, tasks that wait, lag.

    To be asked at the hub. At a site's own server it shows the link to the hub.
    """
    run(_list(as_json, url, fleet))


def spill(
    name: Name,
    when: Annotated[
        Literal["never", "when-full", "always"],
        typer.Argument(
            help="When the site gets tasks that others could do: only if nobody else offers "
            "them, if nobody else has room, or by load."
        ),
    ],
    accepts: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="NAME",
            show_default=False,
            help="From where it takes tasks: 'hub' and names of sites. Else what it was; hub.",
        ),
    ] = None,
    up: Annotated[
        Literal["never", "when-full"] | None,
        typer.Option(
            "--up",
            show_default=False,
            help="When its own tasks go to the hub: if nobody there offers them, or also if "
            "nobody there has room. Else what it was; never.",
        ),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Also for sites that were never connected yet.")
    ] = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    """Say which work a site may be given, and give."""
    run(_spill(name, when, accepts, up, new, url, fleet))


def forget(name: Name, url: Url = None, fleet: Fleet = None) -> None:
    """Forget a site that will not come back: its record, its agents and its policy.

    Tasks that it has, or that wait for it, have failed then.
    """
    run(_forget(name, url, fleet))


async def _init(name: str, hub: str, directory: str, listen: str, fleet: str | None) -> None:
    from pathlib import Path

    from bus.settings import load
    from fleetbus import console
    from fleetbus.site_folder import write

    chosen = load({"fleet": fleet}).fleet
    path = Path(directory or f"site-{name}")
    for line in write(path, name, hub, listen, chosen):
        console.stdout().print(line, soft_wrap=True)


async def _list(as_json: bool, url: str | None, fleet: str | None) -> None:
    from fleetbus import console, site_link
    from fleetbus.site_list import read, table

    async with connected(url, fleet) as client:
        record = await site_link.own(client.bus)
        if record is not None:
            link = await site_link.look(client.bus, record)
            if as_json:
                console.print_document([link.summary()])
            else:
                console.stdout().print(f"site {console.clean(record.site)}")
                console.stdout().print(site_link.table(link))
            return
        rows = await read(client.bus)
        if as_json:
            console.print_document([one.summary() for one in rows])
        elif rows:
            console.stdout().print(table(rows))
        else:
            console.hint(
                f"fleet {client.bus.subjects.fleet!r} has no sites: "
                "'fleetbus site init NAME --hub URL' makes one"
            )


async def _spill(
    name: str,
    when: Any,
    accepts: list[str] | None,
    up: Any,
    new: bool,
    url: str | None,
    fleet: str | None,
) -> None:
    import time

    import msgspec

    from bus import codec, store
    from bus.client import records
    from bus.errors import FleetError
    from bus.sites import HUB, site_name
    from bus.subjects import SPILL
    from bus.wire.site import SitePolicy
    from fleetbus.site_link import not_here
    from fleetbus.site_list import records_of

    async with connected(url, fleet) as client:
        bus, subjects = client.bus, client.bus.subjects
        await not_here(bus)
        key = f"{subjects.config_keys}{SPILL}{site_name(name)}"
        known = await records_of(bus)
        for one in (name, *(one for one in accepts or () if one != HUB)):
            if site_name(one) not in known and not new:
                raise FleetError(
                    f"there is no site {one!r}: 'fleetbus site list' shows all; with --new it may "
                    "be one that is still to come"
                )
        stored = await store.last(bus, subjects.config_stream, key)
        old = SitePolicy()
        if stored is not None and stored.data:
            old = codec.decode(SitePolicy, stored.data, f"policy of site {name}")
        policy = msgspec.structs.replace(
            old,
            spill=when,
            accepts=tuple(accepts) if accepts else old.accepts,
            up=up or old.up,
            by=records.person(),
            at_ms=time.time_ns() // 1_000_000,
        )
        await store.publish(bus, key, codec.encode(policy))
        shown = {"spill": policy.spill, "accepts": list(policy.accepts), "up": policy.up}
        await records.audit(bus, "site-spill", actor=policy.by, target=name, data=shown)
        print(
            f"site {name}: spill {policy.spill} from {', '.join(policy.accepts) or 'nobody'}; "
            f"up {policy.up}"
        )


async def _forget(name: str, url: str | None, fleet: str | None) -> None:
    from bus.client import records
    from bus.errors import FleetError
    from bus.sites import site_name
    from fleetbus.site_forget import forget
    from fleetbus.site_link import not_here
    from fleetbus.site_list import read

    async with connected(url, fleet) as client:
        await not_here(client.bus)
        known = {one.name: one for one in await read(client.bus, listen=False)}
        if site_name(name) not in known:
            raise FleetError(f"there is no site {name!r}: 'fleetbus site list' shows all")
        if known[name].connected:
            raise FleetError(f"site {name} is connected: stop its coordinator and its server first")
        gone = await forget(client.bus, name)
        await records.audit(client.bus, "site-forget", actor=records.person(), target=name)
        print(f"site {name} and its {gone.agents} agents are forgotten; {gone.tasks} tasks failed")
