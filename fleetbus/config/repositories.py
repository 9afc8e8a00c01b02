"""Which repository a command means."""

from typing import TYPE_CHECKING, Annotated

import typer

from fleetbus import console

if TYPE_CHECKING:
    from bus import Bus
    from fleetbus.gitops.repository import Repository

Repo = Annotated[
    str,
    typer.Option(
        "--repo",
        "-r",
        metavar="PATH|URL",
        envvar="FLEETBUS_REPO",
        show_default=False,
        help="The repository. Else the one of the last sync, or the working directory.",
    ),
]
Ref = Annotated[
    str, typer.Option(metavar="REF", help="Branch, tag or commit of the configuration.")
]


async def repository_of(bus: "Bus", repo: str) -> "Repository":
    """The repository ``repo``, or the one that the fleet's configuration comes from.

    Raises:
        RepositoryError: it cannot be used.
    """
    from bus.client import config
    from fleetbus.gitops.repository import Repository

    if not repo:
        head = (await config.current(bus)).layers.head
        repo = head.source if head is not None and head.source else "."
        if repo != ".":
            console.hint(f"repository {repo}, that of the last sync")
    return Repository.open(repo)
