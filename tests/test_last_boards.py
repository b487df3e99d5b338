"""What is kept up for a board is kept for several of them: a process that serves many arenas asks in turns."""

from mesh.admission_order import queue_place
from mesh.board import Board
from mesh.evidence import noise
from mesh.last_boards import LastBoards
from tests.test_leaderboard_contract import History, logged


def board_of(seed: int) -> Board:
    board = Board(arena="a")
    for entry in logged("a", History(seed).told):
        board.fold(entry)
    return board


def test_the_last_boards_keep_what_was_made_for_them() -> None:
    made: list[int] = []

    def start() -> int:
        made.append(len(made))
        return made[-1]

    kept, boards = LastBoards(start), [object() for _ in range(9)]
    assert [kept.of(board) for board in boards[:8]] == list(range(8))
    assert [kept.of(board) for board in boards[:8]] == list(range(8))
    assert kept.of(boards[8]) == 8
    assert kept.of(boards[1]) == 1
    assert kept.of(boards[0]) == 9  # it was asked about the longest time ago


def test_boards_that_are_asked_about_in_turns_give_what_each_gives_alone() -> None:
    seeds = range(12)
    alone = [board_of(seed) for seed in seeds]
    expected = [(noise(board, "cpu"), [queue_place(board, tree) for tree in board.proposals]) for board in alone]
    boards = [Board(arena="a") for _ in seeds]
    logs = [logged("a", History(seed).told) for seed in seeds]
    for place in range(max(map(len, logs))):
        for board, log in zip(boards, logs, strict=True):
            if place < len(log):
                board.fold(log[place])
                if board.opened:
                    noise(board, "cpu")
                    [queue_place(board, tree) for tree in board.proposals]
    found = [(noise(board, "cpu"), [queue_place(board, tree) for tree in board.proposals]) for board in boards]
    assert found == expected
