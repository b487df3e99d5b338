"""`mesh config`: the settings in force."""

from cyclopts import App

from mesh_cli.app import Json, app, print_json
from mesh_cli.exit import run

config = App(name="config", help="Show the settings in force.")
app.command(config)


@config.command(name="show")
def show_config(*, json: Json = False) -> int:
    """Show every setting with its value and its source.

    Example: mesh config show
    """

    async def work() -> None:
        from mesh import settings
        from mesh.config import hide

        rows = [
            {"setting": key, "value": hide(found.value), "source": found.source}
            for key, found in settings.values().items()
        ]
        found = {"setting": "home", "value": str(settings.home()), "source": "found"}
        rows = [found if row["setting"] == "home" and not row["value"] else row for row in rows]
        if json:
            print_json(rows)
            return
        for row in rows:
            print(f"{row['setting']:<12} {row['value'] or '-':<40} {row['source']}")

    return run(work)
