"""Knobs stand in any file: data formats by their grammar, other languages by their comments and named constants."""

import configparser
import json
import random
import tomllib
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import yaml

from mesh.events import Scalar
from mesh.knobs import Knob, edit, find_knobs, knobs_of
from mesh.literals import literals_of

JSON = """\ufeff{\r
  "rules": [\r
    {"if": "age > 3", "weight": 1, "version": 3}, // mesh: fixed\r
    {"weight": 0.25, "on": true},\r
  ], /* "weight": 7 */\r
  'naïve': {"a.b": -2, steps: 64, // mesh: 8..256 log\r
    "act": "gelu"}, // mesh: choices gelu relu\r
  "seed": 4, "table": [1, 2, 3, 4, 5, 6, 7, 8, 9]\r
}\r
"""
YAML = """# the training
train: &train
  lr: 1e-3   # mesh: 1e-4..1e-1 log
  act: relu  # mesh: choices relu gelu
  warm: yes
  timeout: 30s
"é": {depth: &d 3, pair: [1, 2.5], port: 8080, mode: 0755, at: 2020-01-01, clock: 1:30}
again: *d
other: {<<: *train, extra: 7}
text: |
  lr: 5
---
rate: 0.5
"""
TOML = """\
a.b = 3 # mesh: 1..9
day = 2020-01-01
mask = 0xff
text = \"\"\"
lr = 5
\"\"\"
[train]
lr = 1e-3
flat = { n = 1_000, "c d" = 3.5, year = 1999 }
[[rule]]
w = 1
act = 'tanh' # mesh: choices tanh relu
[[rule]]
w = 2.5
"""
INI = """\
[train]
lr = 0.1
; depth = 5
depth: 6
fast = on
port = 80
path = /usr/3
"""


def read(file: str, text: str) -> dict[str, tuple[str, Scalar, str]]:
    """The text, value and reason of every literal by its name."""
    data = text.encode()
    return {one.name: (data[one.start : one.end].decode(), one.value, one.excluded) for one in literals_of(file, text)}


def knob_names(file: str, text: str) -> list[str]:
    return [knob.name for knob in find_knobs(file, text)]


def test_keys_of_json_are_knobs_by_their_path_with_or_without_its_extensions() -> None:
    found = {knob.name: knob for knob in find_knobs("rules.json", JSON)}
    assert found == {
        "rules[1].weight": Knob(file="rules.json", name="rules[1].weight", value=0.25, low=0.025, high=1.0, log=True),
        "rules[0].weight": Knob(file="rules.json", name="rules[0].weight", value=1.0, low=0.1, high=10.0, log=True),
        "rules[1].on": Knob(file="rules.json", name="rules[1].on", value=True, choices=(False, True)),
        "naïve.steps": Knob(file="rules.json", name="naïve.steps", value=64, low=8, high=256, log=True),
        "naïve.act": Knob(file="rules.json", name="naïve.act", value="gelu", choices=("gelu", "relu")),
    }
    assert read("rules.json", JSON)["rules[0].version"] == ("3", 3, "version")
    assert read("rules.json", JSON)["seed"] == ("4", 4, "seed")
    assert {why for name, (_, _, why) in read("rules.json", JSON).items() if name.startswith("table")} == {"data"}
    assert knob_names("a.json", '[{"w": 2}, 0.5]') == ["[0].w", "[1]"]
    assert knob_names("a.json", '{"w": 2, "w": 3, "v": 4}') == ["v"]


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": }', '{"a" 1}', "[1,,2]", "[1 2]", "{1: 2}}", "[1]]", "1 2", "[}", '{"a": 1', '"a']
)
def test_what_is_no_json_has_no_literals(text: str) -> None:
    assert literals_of("a.json", text) == ()


def test_keys_of_yaml_are_knobs_also_behind_anchors_and_in_later_documents() -> None:
    assert read("a.yaml", YAML) == {
        "train.lr": ("1e-3", 0.001, ""),
        "train.act": ("relu", "relu", ""),
        "train.warm": ("yes", True, ""),
        "train.timeout": ("30s", 30, ""),
        "é.depth": ("3", 3, ""),
        "é.pair[0]": ("1", 1.0, ""),
        "é.pair[1]": ("2.5", 2.5, ""),
        "é.port": ("8080", 8080, "port"),
        "other.extra": ("7", 7, ""),
        "[1].rate": ("0.5", 0.5, ""),
    }
    assert literals_of("a.yml", "a: [1") == literals_of("a.yml", "[" * 500) == ()


def test_keys_of_toml_are_knobs_also_in_arrays_of_tables() -> None:
    assert read("a.toml", TOML) == {
        "a.b": ("3", 3, ""),
        "train.lr": ("1e-3", 0.001, ""),
        "train.flat.n": ("1_000", 1000, ""),
        'train.flat["c d"]': ("3.5", 3.5, ""),
        "train.flat.year": ("1999", 1999, "date"),
        "rule[0].w": ("1", 1.0, ""),
        "rule[0].act": ("'tanh'", "tanh", ""),
        "rule[1].w": ("2.5", 2.5, ""),
    }
    assert literals_of("a.toml", "a = 1\na = 2\n") == literals_of("a.toml", "a = ") == ()


def test_settings_are_knobs_in_the_ways_of_many_programs() -> None:
    assert read("a.ini", INI) == {
        "train.lr": ("0.1", 0.1, ""),
        "train.depth": ("6", 6, ""),
        "train.fast": ("on", True, ""),
        "train.port": ("80", 80, "port"),
    }
    server = (
        "worker_connections 1024;\nhttp {\n  server {\n    keepalive_timeout 65; # mesh: 5..99\n    listen 80;\n }\n}\n"
    )
    assert read("nginx.conf", server) == {
        "worker_connections": ("1024", 1024, ""),
        "http.server.keepalive_timeout": ("65", 65, ""),
        "http.server.listen": ("80", 80, "port"),
    }
    assert knob_names("my.conf", "shared_buffers = 128MB\t# min 128kB\n#work_mem = 4MB\nrandom_page_cost 1.1\n") == [
        "shared_buffers",
        "random_page_cost",
    ]
    assert knob_names(".env", 'export THREADS=4\nRATE="0.5"\nAPI_PORT=80\nURL=http://x:9\n') == ["THREADS", "RATE"]


def values_of(file: str, text: str) -> list[Any]:
    """What the format's own parser reads."""
    if file.endswith(".json"):
        return [json.loads(text)]
    if file.endswith(".yaml"):
        return list(yaml.safe_load_all(text))
    if file.endswith(".toml"):
        return [tomllib.loads(text)]
    parser = configparser.ConfigParser()
    parser.read_file(StringIO(text))
    return [{section: dict(parser[section]) for section in parser.sections()}]


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from leaves(value, f"{path}[{number}]")
    else:
        yield path, tree


PLAIN_JSON = json.dumps({"rules": [{"weight": 1, "on": True}, {"weight": 0.25}], "é": {"steps": 64, "name": "x 3"}})


@pytest.mark.parametrize(("file", "text"), [("a.json", PLAIN_JSON), ("a.yaml", YAML), ("a.toml", TOML), ("a.ini", INI)])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_an_edit_changes_one_value_and_the_formats_parser_reads_exactly_that(file: str, text: str, ends: str) -> None:
    text, rng = text.replace("\n", ends), random.Random(1)
    documents = [dict(leaves(document)) for document in values_of(file, text)]
    for knob in find_knobs(file, text):
        number = int(knob.name[1]) if knob.name.startswith("[1]") else 0
        place = knob.name.removeprefix("[1].").replace('["', ".").replace('"]', "")
        same = {place, "other.lr", "other.act", "other.warm", "other.timeout"} if "train" in place else {place, "again"}
        for _ in range(20):
            value = knob.sample(rng)
            after = [dict(leaves(document)) for document in values_of(file, edit(text, {knob.name: value}, file))]
            got = after[number][place]
            expected: Any = f"{value}s" if place.endswith("timeout") else value
            if file == "a.ini":  # whose parser reads texts
                expected = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
            assert (float(got) if isinstance(expected, float) else got) == expected
            for old, new in zip(documents, after, strict=True):
                assert old.keys() == new.keys()
                assert {key for key in old if old[key] != new[key]} <= same


CPP = """#include <cmath>
#define TILE 16
#define RATE (0.5f) /* mesh: 0.1..0.9 */
#define API_VERSION 3
#define OP_ADD 1
#define OP_SUB 2
#define OP_MUL 3
#define PI 3.14159265
#define MASK 0x10
static const int UNROLL = 8; // mesh: choices 4 8 16
constexpr double kAlpha{1};
// const int OLD = 5;
const char* s = "int x = 5;";
auto raw = R"(
int z = 9;
)";
float step(int n) {
  int big = 1'000'000;
  for (int i = 0; i < 10; i++) { y += 0.25 * x; } // mesh: 0..1
  y = a -3; // mesh: 1..9
  return 5;
}
bool validate(int n) {
  int tolerance = 5;
}
"""
SOURCES = {
    "a.cu": (
        CPP,
        ["TILE", "RATE", "UNROLL", "kAlpha", "step.big", "step.y", "step.a"],
    ),
    "a.rs": (
        "pub const X: f64 = 0.5;\nstatic N: usize = 10_000usize; // mesh: 1000..100000 log\nfn f<'a>(x: &'a str) {\n"
        '  let mut rate = 0.1;\n  let c = \'"\'; let q = Q {\n    beta: 2.5f32,\n  };\n  r#"let z = 5;"#;\n}\n',
        ["X", "N", "f.rate", "f.q.beta"],
    ),
    "a.go": (
        'const (\n\tA = 5\n\tB float64 = 2\n)\nfunc f() {\n\tk := 7\n\treturn 5\n}\nvar s = "n = 3"\n',
        ["A", "B", "f.k"],
    ),
    "A.java": (
        "class A {\n  private static final int N = 8;\n  double rate = 0.1;\n  long id = 4;\n}\n",
        ["A.N", "A.rate"],
    ),
    "a.ts": (
        "export const CONFIG = {\n  rate: 0.1, // mesh: 1e-3..1 log\n  'max-len': 80,\n  port: 3000,\n"
        '  url: `k: 5`,\n};\nconst re = /"/g;\nlet n: number = 4;\nconst f = (x: number) => {\n  const t = 3;\n};\n'
        "(function() {\n  A.go = function(b) {\n    let k = 2;\n  };\n})();\n",
        ["CONFIG.rate", "CONFIG.max-len", "n", "f.t", "go.k"],
    ),
    "a.jl": ('const N = 8\nx::Float64 = 2\n#= y = 3 =#\nprint("z = 4")\n', ["N", "x"]),
    "a.R": ("eta <- 0.1\np = list(\n  depth = 6, # mesh: 1..12\n)\n", ["eta", "depth"]),
    "a.lua": ("local rate = 0.1\n--[[ local z = 5 ]]\no = {\n  depth = 3, -- mesh: fixed\n}\n", ["rate"]),
    "a.sql": (
        "PRAGMA cache_size = 2000;\nSELECT 0.5 AS alpha, '0.7 AS b' FROM t WHERE score > 0.3 -- mesh: 0..1\nLIMIT 9;\n",
        ["cache_size", "alpha", "score"],
    ),
    "a.sh": (
        "N=3 # mesh: 1..9\nexport THREADS=4\nRATE=${RATE:-0.5}\nPORT=80\nsleep 0.5 # mesh: 0.1..2.0\necho 'M=5'\n"
        "cat <<EOF\nM=5\nEOF\n",
        ["N", "THREADS", "RATE", "sleep"],
    ),
    "Dockerfile": ("FROM python:3.11\n# mesh: 1..16\nARG JOBS=4\nENV A=5 B=0.5\nEXPOSE 80\n", ["JOBS", "A", "B"]),
    "Makefile": ("JOBS ?= 4\nOPT := 2 # mesh: 0..3\nall:\n\tN=5 run\n", ["JOBS", "OPT"]),
    "a.css": (
        ":root { --gap: 12px; }\n.card {\n  --w: 2rem;\n  margin: 4px 8px; /* mesh: 4..40 */\n  width: 5px;\n}\n",
        [":root.--gap", ".card.--w", ".card.margin"],
    ),
    "a.html": ('<td width="40"> <!-- mesh: 10..90 -->\n<p>hello 5</p>\n', ["width"]),
    "a.m": ("alpha = 0.5; % mesh: 0..1\n% beta = 3\n", ["alpha"]),
    "a.lisp": ("(defparameter *rate* 0.1) ; mesh: 0..1\n(setq x 5)\n", ["*rate*", "x"]),
}


@pytest.mark.parametrize("file", SOURCES)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_constants_and_commented_numbers_of_other_languages_are_knobs(file: str, ends: str) -> None:
    text = SOURCES[file][0].replace("\n", ends)
    assert knob_names(file, text) == SOURCES[file][1]


def test_what_a_person_would_not_turn_says_why() -> None:
    reasons = {name: why for name, (_, _, why) in read("a.cu", CPP).items() if why}
    assert reasons == {
        "API_VERSION": "version",
        "OP_ADD": "enumeration",
        "OP_SUB": "enumeration",
        "OP_MUL": "enumeration",
        "PI": "nature",
        "validate.tolerance": "judges",
    }
    names = '{"patch_size": 16, "num_groups": 8, "user_weight": 2, "node": 18, "exitCode": 3, "maxPort": 4, "patch": 5}'
    assert knob_names("a.json", names) == ["patch_size", "num_groups", "user_weight"]
    assert knob_names("a.json", '{"log_every": 10, "verbosity": 2, "printInterval": 5, "log_scale": 3}') == [
        "log_scale"
    ]
    assert knob_names("a.json", '{"version": 3, // mesh: 1..9\n "x": 2}') == ["version", "x"]


@pytest.mark.parametrize("file", [*SOURCES, "a.yaml", "a.toml", "a.jsonc"])
def test_any_edit_changes_only_its_spans_and_reads_back(file: str) -> None:
    text = SOURCES[file][0] if file in SOURCES else {"a.yaml": YAML, "a.toml": TOML, "a.jsonc": JSON}[file]
    rng, before = random.Random(1), {one.name: one for one in literals_of(file, text)}
    knobs = find_knobs(file, text)
    data = text.encode()
    for _ in range(60):
        chosen = rng.sample(knobs, rng.randint(1, len(knobs)))
        values = {knob.name: knob.sample(rng) for knob in chosen}
        changed = edit(text, values, file)
        after = {one.name: one for one in literals_of(file, changed)}
        assert {name: one.value for name, one in after.items()} == {n: one.value for n, one in before.items()} | values
        new, at, put = changed.encode(), 0, 0
        for name in sorted(values, key=lambda name: before[name].start):
            assert data[at : before[name].start] == new[put : after[name].start]
            at, put = before[name].end, after[name].end
        assert data[at:] == new[put:]


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("1.0f", 0.25, "0.25f"),
        ("10_000u64", 12_000, "12000u64"),
        ("12px", 14, "14px"),
        ("128MB", 256, "256MB"),
        ("50%", 75, "75%"),
        ("1e-3", 1e-5, "0.00001"),
        ("0.5", 1e-20, "1.0e-20"),
        ("0.5", 3.0, "3.0"),
        ("0.5", 1.5e20, "1.5e+20"),
    ],
)
def test_suffixes_and_units_stay_and_small_numbers_are_read_alike_everywhere(old: str, value: float, new: str) -> None:
    assert edit(f"a = {old}\n", {"a": value}, "a.conf") == f"a = {new}\n"


def test_only_the_editable_region_of_a_file_has_knobs() -> None:
    text = "const int A = 5;\n// EVOLVE-BLOCK-START\nconst int B = 6;\n// EVOLVE-BLOCK-END\nconst int C = 7;\n"
    assert knob_names("a.cpp", text) == ["B"]
    assert knob_names("a.py", "A = 5\n# EVOLVE-BLOCK-START\nB = 6\n# EVOLVE-BLOCK-END\n") == ["B"]
    with pytest.raises(KeyError):
        edit(text, {"A": 3}, "a.cpp")


def test_files_of_unknown_kinds_have_none() -> None:
    assert literals_of("notes.txt", "x = 5") == literals_of("LICENSE", "x = 5") == ()
    assert knobs_of({"a.json": b'{"x": 5, "y": "\xff"}'}, ["a.json"]) == []


def test_a_file_that_a_program_wrote_takes_no_time_and_ends_in_few_knobs() -> None:
    text = "{" + ", ".join(f'"k{n}": {n + 1}' for n in range(1000)) + "}"
    assert len(find_knobs("a.json", text)) == 300
    assert knob_names("a.json", f'{{"{"k" * 300}": 2, "x": 3}}') == ["x"]
    for file in ("a.cu", "a.ts", "a.R", "a.ini", "a.yaml", "a.toml", "a.json", "a.sql"):
        for piece in (" ", "{", "[", '{"a":', "1.", "a.", "=/[", 'R"(', "#", "a=b "):
            assert literals_of(file, piece * 6_000) == (), (file, piece)


@pytest.mark.parametrize("file", [*SOURCES, "a.yaml", "a.toml", "a.jsonc", "a.ini"])
def test_whatever_a_proposal_makes_of_a_file_its_literals_can_be_read(file: str) -> None:
    texts = {"a.yaml": YAML, "a.toml": TOML, "a.jsonc": JSON, "a.ini": INI}
    whole, rng = texts[file] if file in texts else SOURCES[file][0], random.Random(file)
    pieces = [
        '"',
        "'",
        "/*",
        "*/",
        "//",
        "#",
        "--",
        "\r",
        "\n",
        "{",
        "}",
        "[",
        "]",
        "=",
        "\\",
        "0.5",
        "é",
        "\ufeff",
        "\0",
        "&a ",
    ]
    for _ in range(40):
        text = whole
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(pieces) + text[at + rng.randrange(8) :]
        found = literals_of(file, text)
        ends = [0, *(edge for one in found for edge in (one.start, one.end)), len(text.encode())]
        assert ends == sorted(ends)
        assert len({one.name for one in found}) == len(found)
