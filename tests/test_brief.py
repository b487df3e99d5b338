"""The brief of an arena: the operator's words, from `arena.toml` or a file, as the log keeps them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from mesh import arena
from mesh.brief import MAX_BRIEF_BYTES
from mesh.errors import BadArena
from mesh.events import ArenaOpened
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from tests.support.arenas import write_arena


def with_brief(folder: Path, value: str, **files: bytes) -> Path:
    """An arena with these words in its `arena.toml`, and these files; `program_md` is `program.md`."""
    write_arena(folder)
    toml = folder / "arena.toml"
    toml.write_text(toml.read_text().replace("[arena]", f"[arena]\nbrief = {value}", 1))
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


async def opened(tmp_path: Path, folder: Path, hub: MemoryHub) -> ArenaOpened:
    _, event = await open_arena(hub, folder, home=tmp_path / "home")
    return event


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"program.md"', "# Goal\n\nFind the slope."),
        ('"./program.md"', "# Goal\n\nFind the slope."),
        ('"Find the slope of program.md"', "Find the slope of program.md"),
        ('"""\nLine one.\nprogram.md\n"""', "Line one.\nprogram.md"),
        ('"Find: max(a/b)."', "Find: max(a/b)."),
        ('""', ""),
        ('"' + "many words " * 200 + '"', ("many words " * 200).strip()),
    ],
)
async def test_a_brief_is_words_or_the_words_of_a_file(tmp_path: Path, value: str, words: str) -> None:
    folder = with_brief(
        tmp_path / "a", value, program_md=b"\xef\xbb\xbf# Goal\r\n\r\nFind the slope.\n".replace(b"\r", b"")
    )
    assert (await opened(tmp_path, folder, MemoryHub())).spec.brief == words


async def test_new_words_are_a_new_version_and_old_scores_still_count(tmp_path: Path) -> None:
    folder, hub = with_brief(tmp_path / "a", '"program.md"', program_md=b"Find it."), MemoryHub()
    first = await opened(tmp_path, folder, hub)
    assert await opened(tmp_path, folder, hub) == first
    (folder / "program.md").write_text("Find it faster.")
    second = await opened(tmp_path, folder, hub)
    assert (first.version, second.version, second.spec) == (1, 2, replace(first.spec, brief="Find it faster."))
    assert second.evaluator == first.evaluator


@pytest.mark.parametrize(
    ("value", "more", "sentence"),
    [
        ('"programm.md"', "", "arena.brief: 'programm.md' does not exist in {}; name a file of the arena, or write"),
        ('"docs/brief.txt"', "", "arena.brief: 'docs/brief.txt' does not exist in {}"),
        ('"../out.md"', "", "arena.brief: '../out.md' is not inside of {}; copy the file into it"),
        ('"key.md"', '\nhidden = ["key.md"]', "arena.brief: 'key.md' is hidden by artifact.hidden, but models read"),
        ('"latin.md"', "", "arena.brief: 'latin.md' is not UTF-8 text; save it as UTF-8"),
        ('"long.md"', "", "arena.brief has 65,537 bytes; use at most 65,536"),
    ],
)
def test_a_brief_that_models_cannot_read_is_refused(tmp_path: Path, value: str, more: str, sentence: str) -> None:
    (tmp_path / "out.md").write_text("outside")
    folder = with_brief(
        tmp_path / "a", value, key_md=b"secret", latin_md=b"caf\xe9", long_md=b"x" * (MAX_BRIEF_BYTES + 1)
    )
    toml = folder / "arena.toml"
    toml.write_text(toml.read_text().replace('editable = ["train.py"]', f'editable = ["train.py"]{more}'))
    with pytest.raises(BadArena) as refused:
        arena.load_arena(folder)
    assert str(refused.value).startswith(f"{toml}: {sentence.format(folder)}")
