"""`mesh critique`: a judgement of a proposal or a run."""

from typing import Annotated, Literal

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, AuthorOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def critique(
    proposal: str,
    verdict: Literal["endorse", "warn", "block"],
    text: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Why; with - or without it, read standard input.")
    ] = None,
    *,
    gain: Annotated[
        float | None,
        Parameter(name=["--gain", "--predict"], help="Predicted gain over its parent, in units of the metric."),
    ] = None,
    confidence: Annotated[
        float | None,
        Parameter(help="Probability that it becomes champion (endorse), or does not (warn, block), 0 to 1."),
    ] = None,
    name: AuthorOption = None,
    model: Annotated[str, Parameter(help="The model that judged; default: a person did.", show_default=False)] = "",
    arena: ArenaOption = None,
    nats: Nats = None,
    json: Json = False,
) -> int:
    """Judge a proposal before it runs, or a run after it, and print the sequence number of the critique.

    Example: mesh critique 3dac44e3fb warn "it drops the last batch, so the loss is not comparable" --confidence 0.8
    """
    from mesh_cli.board.notes import text_of

    words = text_of(text)

    async def work() -> None:
        from gateway.critique import critique as post_critique
        from mesh_cli.connect import own_author, reach_door

        async with reach_door(arena, nats) as door:
            done = await post_critique(
                door,
                proposal,
                verdict=verdict,
                text=words,
                author=own_author(name, nats),
                predicted_gain=gain,
                confidence=confidence,
                model=model,
            )
        if json:
            print_json(done)
        else:
            print(done.posted)

    return run(work)
