"""`mesh propose`: a person, or somebody's agent, proposes a change."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, AuthorOption, Json, Nats, app, print_json
from mesh_cli.exit import ExitCode, run


@app.command
def propose(
    folder: Annotated[
        Path,
        Parameter(
            help="A checkout, or a folder with the editable files, or with --commit a git repository; default: this "
            "folder.",
            show_default=False,
        ),
    ] = Path(),
    *,
    patch: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True, help="Propose the parent with this diff in it: a file, or - for standard input."
        ),
    ] = None,
    commit: Annotated[str | None, Parameter(help="Propose this commit of a git repository.")] = None,
    title: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="Say in one line what changes; default: the commit's message, else what differs.",
        ),
    ] = "",
    text: Annotated[
        str, Parameter(name=["--text", "--why"], allow_leading_hyphen=True, help="Say why it should be better.")
    ] = "",
    parent: Annotated[
        str | None,
        Parameter(help="The proposal that it changes; default: what was checked out, else the champion or baseline."),
    ] = None,
    gain: Annotated[
        float | None,
        Parameter(
            name=["--gain", "--predict"],
            allow_leading_hyphen=True,
            help="Predict the gain over the parent, in units of the metric.",
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        Parameter(help="How sure you are of a gain, from 0 to 1.", validator=Number(gte=0, lte=1)),
    ] = None,
    arena: ArenaOption = None,
    nats: Nats = None,
    name: AuthorOption = None,
    model: Annotated[str, Parameter(help="The model that made it; default: a person did.")] = "",
    wait: Annotated[bool, Parameter(negative="", help="Wait for the verdict, and end as `mesh wait` does.")] = False,
    json: Json = False,
) -> int:
    """Propose changed files, and print the tree hash. The swarm runs them before those of its samplers.

    What cannot be proposed is refused before anything is posted. The same files are one proposal, however often they
    are proposed.

    Example: mesh propose ./work --title "warm up longer" --text "the loss jumps in the first steps"
    """
    ended = ExitCode.OK

    async def work() -> None:
        import sys

        import msgspec

        from gateway.checkout_folder import read_note, write_note
        from gateway.propose import propose as post
        from gateway.proposed_files import from_checkout, from_commit, from_folder, from_patch
        from mesh.errors import BadInput
        from mesh.text import printable, short
        from mesh_cli.connect import own_author, reach_door
        from mesh_cli.proposals.patch_text import patch_text
        from mesh_cli.proposals.waiting import EXIT_CODES, outcome_lines, waited

        nonlocal ended
        if patch is not None and commit is not None:
            raise BadInput("--patch and --commit cannot be used together; use one of them")
        diff = patch_text(patch) if patch is not None else ""
        note = read_note(folder)
        where = arena or (note.arena if note else None)
        async with reach_door(where, nats) as door:
            chosen = await door.proposal(parent) if parent else note.proposal if note else await door.proposal("")
            if patch is not None:
                found = await from_patch(door, diff, chosen)
            elif commit is not None:
                found = await from_commit(door, folder, commit)
            else:
                found = await from_checkout(door, folder, note) if note else from_folder(door, folder)
            done = await post(
                door,
                found.files,
                author=own_author(name, nats),
                parent=chosen if parent or found.parent is None else found.parent,
                title=title or found.title,
                rationale=text or found.rationale,
                predicted_gain=gain,
                confidence=confidence,
                model=model,
            )
        if note and note.proposed != done.proposal:
            write_note(folder, msgspec.structs.replace(note, proposed=done.proposal))
        if found.left_out:
            names = ", ".join(printable(each, 60) for each in found.left_out[:5])
            more = f" and {len(found.left_out) - 5} more" if len(found.left_out) > 5 else ""
            print(f"mesh: not part of the proposal: {names}{more}", file=sys.stderr)
        if done.known_by:
            which = f"proposal {short(done.proposal)} by {done.known_by}"
            print(f"mesh: {which} has these files; nothing was posted", file=sys.stderr)
        elif not done.is_new:
            print(f"mesh: it is posted already, as #{done.posted}", file=sys.stderr)
        if not json:
            tree = short(done.proposal)
            more = f"see mesh show {tree}" if done.queue.stage == "decided" else f"mesh wait {tree} waits for it"
            print(f"mesh: #{done.posted} {tree} {done.title}: {done.next}; {more}", file=sys.stderr)
            print(done.proposal, flush=True)
        elif not wait:
            print_json(done)
        if wait:
            outcome = await waited(where, nats, done.proposal, "verdict", None)
            ended = EXIT_CODES[outcome.ending]
            print_json(outcome) if json else print("\n".join(outcome_lines(outcome)))

    code = run(work)
    return code if code else ended
