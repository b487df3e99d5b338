"""`mesh doctor`: what a mesh needs here."""

from mesh_cli.app import Json, Nats, app, print_json
from mesh_cli.exit import ExitCode, run


@app.command
def doctor(*, nats: Nats = None, json: Json = False) -> int:
    """Check this machine: server, store, versions, disk, clock, sandbox, GPU. Every problem is printed with its cure.

    Example: mesh doctor
    """
    failed = False

    async def work() -> None:
        nonlocal failed
        from mesh.text import printable
        from mesh_cli.setup.checks import worst
        from mesh_cli.setup.doctor import examine

        findings = await examine(nats)
        failed = worst(findings) == "fail"
        if json:
            print_json(findings)
            return
        for finding in findings:
            print(f"{finding.state:<5} {finding.name:<12} {printable(finding.what)}")
            if finding.cure:
                print(f"{'':<18} cure: {printable(finding.cure)}")

    code = run(work)
    return code or (ExitCode.FAILED if failed else ExitCode.OK)
