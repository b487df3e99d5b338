"""`python -m analytics`: fold every arena into one DuckDB file and answer SQL about it."""

import mesh.safe_path  # noqa: F401  before all others

# isort: split

import argparse
import sys
from pathlib import Path

from analytics.sql_server import fold_and_answer
from mesh import settings
from mesh.daemon import run_daemon
from mesh.jetstream import connect
from mesh.server import find_url


def main() -> int:
    """Parse the command line and run."""
    args = _parser().parse_args()

    async def analytics() -> None:
        home = (args.home or settings.home()).resolve()
        path = args.db.resolve() if args.db else settings.database(home)
        url, credentials = find_url(args.nats, home), settings.credentials(args.nats)
        async with connect(url, name="analytics", outage_s=600, credentials=credentials) as hub:
            ready = f"analytics: {path} is up to date"
            await fold_and_answer(hub, path, on_ready=lambda: print(ready, file=sys.stderr))

    return run_daemon(analytics, name="analytics")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analytics",
        description="Fold every arena into one DuckDB file and answer SQL about it.",
        epilog="example: python -m analytics --db /tmp/mesh.duckdb",
    )
    parser.add_argument("--nats", metavar="URL", help="NATS server (default: MESH_NATS, else the one of `mesh up`)")
    parser.add_argument("--home", type=Path, help="folder of the mesh (default: the nearest .mesh)")
    parser.add_argument("--db", type=Path, metavar="FILE", help="DuckDB file (default: mesh.duckdb in the home)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
