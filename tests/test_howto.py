"""The how-to pages are true: their files and commands, taken from the pages, run and say what the pages show."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh.knobs import find_knobs
from mesh.spec import KnobsSpec
from tests.support.follower import Block, Follower, blocks_of
from tests.support.model_server import Reply, Script, model_server, say

pytestmark = pytest.mark.timeout(900)
TIMES = {"--minutes 1": "--minutes 6"}
"""A swarm ends when it has shown enough, and not later: a busy machine may take long for it."""


def followed(tmp_path: Path, blocks: Iterable[Block], *, enough: str = "", **other_words: str) -> Follower:
    words = {"pip install": ": installed", **TIMES, **other_words}
    person = Follower(tmp_path / "person", other_words=words, enough=[enough] if enough else ())
    person.follow([*blocks])
    return person


def test_a_c_program_gets_better_and_comes_home(tmp_path: Path) -> None:
    blocks = [block for block in blocks_of("docs/howto/c-program.md") if not block.title.startswith("knobs/")]
    person = followed(tmp_path, blocks, enough=r"proposes (\w+) [^\n]*OMEGA.*promotes \1 with -\d")
    [found] = re.findall(r'"residual": (-?[\d.]+)', person.said)
    assert float(found) < 0  # the page begins with 0.0948
    assert "#define OMEGA 1.2 " not in (person.folder / "heat" / "solve.c").read_text()


def test_every_file_with_a_comment_has_the_knob_that_the_page_promises() -> None:
    files = {b.title: b.text for b in blocks_of("docs/howto/c-program.md") if b.title.startswith("knobs/")}
    rules = KnobsSpec(bounds={"rules[0].weight": "1e-4..1e-1 log"})
    assert '"rules[0].weight" = "1e-4..1e-1 log"' in files.pop("knobs/arena.toml")
    assert {name.rpartition(".")[2] for name in files} == {"sql", "sh", "json", "toml", "yaml"}
    for name, text in files.items():
        [knob] = find_knobs(name, text, rules if name.endswith("json") else KnobsSpec())
        assert (knob.value, knob.low, knob.high, knob.log) == (0.01, 1e-4, 0.1, True), name


def test_held_out_data_is_split_scored_and_sealed(tmp_path: Path) -> None:
    sealed = r"promotes (\w+) with \S+: champion of round [2-9](?:(?!promotes).)*finished \1\w*-sealed-"
    person = followed(tmp_path, blocks_of("docs/howto/hold-out.md"), enough=sealed)
    person.run(
        "mesh sql --csv \"SELECT lane, count(*) > 0 FROM runs WHERE state = 'scored' GROUP BY lane ORDER BY lane\""
    )
    assert person.said.splitlines()[1:5] == ["confirm,true", "control,true", "explore,true", "sealed,true"]
    person.run(
        # the last champion may have come while the swarm ended: then the one before it has the look
        'mesh sql --csv "SELECT bool_or(sealed IS NOT NULL AND gap IS NOT NULL) FROM leaderboard '
        "WHERE state IN ('champion', 'past_champion')\""
    )
    assert person.said.splitlines()[1] == "true"


def test_a_time_is_measured_by_the_score_program_alone_on_the_machine(tmp_path: Path) -> None:
    blocks = blocks_of("docs/howto/speed.md")
    person = followed(tmp_path, blocks, enough=r"(?: finished .*?){5}")
    assert load_arena(person.folder / "primes").trial.exclusive
    person.run("mesh sql --csv \"SELECT count(*) > 3 FROM runs WHERE state = 'scored'\"")
    assert person.said.splitlines()[1] == "true"


def test_an_agent_of_forty_lines_is_tested_and_takes_part(tmp_path: Path) -> None:
    blocks = blocks_of("docs/howto/role.md")
    [code] = [block.text for block in blocks if block.title == "further.py"]
    assert len(code.splitlines()) <= 40
    person = followed(tmp_path, blocks, enough=r" further +\S proposes ")
    assert re.search(r"further +\+ joined as ", person.said), person.said
    assert re.search(r"further +\S proposes \w+ further: ", person.said), person.said


ANSWER = """TITLE: a wider layer
RATIONALE: more room
PREDICTED_GAIN: 0.01
CONFIDENCE: 0.6

FILE: train.py
<<<<<<< SEARCH
{line}
=======
HIDDEN = {width}
>>>>>>> REPLACE"""


def test_a_model_is_checked_asked_paid_and_read(tmp_path: Path) -> None:
    widths = iter(range(17, 200))

    def answer(prompt: str) -> Reply:
        line = re.search(r"^HIDDEN = \d+", prompt.partition("arent A")[2], re.MULTILINE)
        if not line:
            return say("ready")  # before it starts, a swarm asks whether the model answers
        # the width of the parent: a champion of the samplers may have another one than the page's
        return say(ANSWER.format(line=line[0], width=next(widths)))

    script: list[Script] = [say("yes"), *[answer] * 100]
    with model_server(*script) as server:
        person = followed(
            tmp_path,
            blocks_of("docs/howto/model.md"),
            enough="(?:a wider layer.*?){2}",
            **{"http://localhost:8000/v1": server.url},
        )
        assert "HIDDEN" in person.said
        person.run(
            "mesh sql --csv \"SELECT count(*) > 0, min(tokens_in) FROM cost WHERE what = 'proposal' AND tokens_in > 0\""
        )
        assert person.said.splitlines()[1].startswith("true,")
        assert len(server.asked) > 2
