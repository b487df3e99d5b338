"""What agents of others push and claim, as views beside what was measured."""

from pathlib import Path

from mesh import events as e
from tests.support.folding import folded, rows
from tests.support.history import T1, T2, finish, opened, proposal, request

P1, P2, P3 = "abcdef0" + "1" * 33, "abcdef0" + "2" * 33, "1234567" + "3" * 33


def pushed(commit: str, tree: str, *parents: str) -> e.CommitPushed:
    return e.CommitPushed(
        commit=commit, tree=tree, parents=parents, message="a try\n", at=1_700_000_000, bytes=9, proposal=tree
    )


async def test_a_pushed_commit_is_a_row_of_its_view(tmp_path: Path) -> None:
    history: list[tuple[str, e.AnyEvent]] = [
        ("op", opened()),
        ("ann", pushed(P1, T1)),
        ("ann", pushed(P3, T2, P1, P2)),
        ("eve", pushed(P3, T1)),  # the key is taken
    ]
    async with folded(tmp_path / "a.duckdb", history) as queries:
        sql = "SELECT seq, author, commit, parents, message, made_at, bytes, proposal FROM commits"
        at = "2023-11-14 22:13:20"
        assert [[str(v) if n == 5 else v for n, v in enumerate(row)] for row in await rows(queries, sql)] == [
            [2, "ann", P1, [], "a try\n", at, 9, T1],
            [3, "ann", P3, [P1, P2], "a try\n", at, 9, T2],
        ]


async def test_a_claim_stands_beside_the_score_that_was_measured(tmp_path: Path) -> None:
    notes = [
        f"commit:{P3[:7]} platform:H100 loss:2.5 vram_gb:44.2 | a wider net",
        f"two of them:\n- commit:{P3} loss:--- | crashed\ncommit:abcdef0 loss:1 | which one?",
        "commit:feed123 loss:nan | of nobody",
        "I commit: to this",
    ]
    history: list[tuple[str, e.AnyEvent]] = [
        ("op", opened()),
        ("ann", pushed(P1, T2)),
        ("ann", pushed(P2, T2)),
        ("ann", pushed(P3, T1)),
        ("ann", proposal(T1, how="baseline")),
        ("cur", request("r1", T1)),
        ("w", finish("r1", T1, 3.0)),
        *(("ann", e.NotePosted(channel="results", text=text)) for text in notes),
    ]
    async with folded(tmp_path / "a.duckdb", history) as queries:
        sql = "SELECT hash, commit, proposal, claimed, measured, gap, platform, words FROM claims ORDER BY seq, words"
        assert await rows(queries, sql) == [
            [P3[:7], P3, T1, 2.5, 3.0, 0.5, "H100", "a wider net"],
            [P3, P3, T1, None, 3.0, None, None, "crashed"],
            ["abcdef0", None, None, 1.0, None, None, None, "which one?"],
            ["feed123", None, None, None, None, None, None, "of nobody"],
        ]
