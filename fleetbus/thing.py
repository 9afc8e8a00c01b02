"""``fleetbus thing``: devices that speak only MQTT, and the rights that they need."""

import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bus.errors import FleetError
from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run

if TYPE_CHECKING:
    from coordinator.things.record import Record

HELP = """Devices that speak only MQTT: what the fleet knows of them, and their rights.

To everybody else a thing is an agent: 'fleetbus agents', 'fleetbus broadcast' and
'fleetbus task submit' work as ever. docs/mqtt.md says what a device must do.

Examples:

  fleetbus thing list

  fleetbus thing show relay-1

  fleetbus thing permissions relay-1 --fleet prod
"""


def register(app: typer.Typer) -> None:
    """Add ``thing`` to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("permissions")(permissions)
    app.add_typer(group, name="thing")


def list_(as_json: Json = False, url: Url = None, fleet: Fleet = None) -> None:
    """List all things that were heard of in the last 7 days."""
    run(_list(as_json, url, fleet))


def show(
    thing: Annotated[str, typer.Argument(metavar="ID", help="The thing's id.")],
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    """Show one thing's record, as JSON."""
    run(_show(thing, url, fleet))


def permissions(
    thing: Annotated[str, typer.Argument(metavar="ID", help="The thing's id.")],
    password: Annotated[
        str | None,
        typer.Option(
            "--password",
            show_default=False,
            help="What it is to connect with, or a variable such as $RELAY_1. Else a new one.",
        ),
    ] = None,
    fleet: Fleet = None,
) -> None:
    """Print a device's entry for the list of users in the server's configuration."""
    from bus.server_config import Thing, thing_user
    from bus.settings import load

    try:
        chosen = load({"fleet": fleet}).fleet
        print(thing_user(Thing(chosen, thing, password or secrets.token_hex(16))))
    except FleetError as problem:
        raise console.fail(problem) from None


async def _list(as_json: bool, url: str | None, fleet: str | None) -> None:
    from coordinator.things.records import Records

    async with connected(url, fleet) as client:
        rows = [_row(thing, record) async for thing, record in Records(client.bus).known()]
        rows.sort(key=lambda row: row["thing"])
        if as_json:
            console.print_document(rows)
            return
        if not rows:
            console.hint(
                f"fleet {client.bus.subjects.fleet!r} has no things: "
                "docs/mqtt.md says how a device joins"
            )
            return
        table = console.table("thing", "site", "state", "capabilities", ">holds", ">heard", "boot")
        for row in rows:
            table.add_row(
                row["thing"],
                row["site"],
                row["state"],
                console.clean(" ".join(row["capabilities"])),
                f"{row['holds']}/{row['slots']}",
                f"{console.age(row['heard_ms'])} ago",
                row["boot"],
            )
        console.stdout().print(table)


def _row(thing: str, record: "Record") -> dict[str, Any]:
    card = record.card
    return {
        "thing": thing,
        "site": record.site,
        "state": record.state,
        "capabilities": [one.name for one in card.capabilities] if card else [],
        "holds": len(record.held),
        "slots": record.slots,
        "heard_ms": record.last_ms,
        "boot": record.boot,
    }


async def _show(thing: str, url: str | None, fleet: str | None) -> None:
    from bus.subjects import token
    from coordinator.things.record import NOTHING
    from coordinator.things.records import Records

    async with connected(url, fleet) as client:
        record, revision = await Records(client.bus).read(token("thing", thing))
        if record == NOTHING:
            raise FleetError(
                f"fleet {client.bus.subjects.fleet!r} has heard of no thing {thing!r} in 7 days: "
                "'fleetbus thing list' lists all"
            )
        console.print_document({"thing": thing, "revision": revision, "record": record})
