"""A word is a knob where a list says what else it could be, under the name of what it sets."""

import pytest

from mesh.knobs import edit, find_knobs


def choices(source: str) -> dict[str, tuple[object, ...]]:
    """The choices of the words of a source by their names."""
    return {knob.name: knob.choices for knob in find_knobs("t.py", source) if isinstance(knob.value, str)}


def value_of(source: str, name: str) -> object:
    return {knob.name: knob.value for knob in find_knobs("t.py", source)}[name]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "def plan():\n    # Options of each part:\n    # reader: ['csv', 'xml']\n    # order: fast, slow or none\n"
            "\n    return {\n        'reader': 'xml',  # Try others\n        'order': 'slow',\n    }\n",
            {"plan.reader": ("csv", "xml"), "plan.order": ("fast", "slow", "none")},
        ),
        (
            "def plan():\n    # rule: adam | sgd\n    fit = make(rule='sgd', label='sgd')\n",
            {"plan.rule": ("adam", "sgd")},
        ),
        (
            'def plan(x):\n    """Plan.\n\n      - init (string): one of `flat`, `steep`\n    """\n    init = "flat"\n',
            {"plan.init": ("flat", "steep")},
        ),
        ("KINDS = ('a', 'b')\nclass C:\n    kind: str = 'b'\n", {"C.kind": ("a", "b")}),
        ("VALID = {'join': ['left', 'right']}\ndef f(join='left'): pass\n", {"f.join": ("left", "right")}),
        (
            "def f(x, kind='flat'):\n    if kind == 'flat': return x\n    if kind == 'steep': return 2 * x\n",
            {"f.kind": ("flat", "steep")},
        ),
        ("class C:\n    a: str = 'x'\n    def f(self): return self.a == 'x' or self.a == 'y'\n", {"C.a": ("x", "y")}),
        ("# kind: a, b\ndef f():\n    # kind: a, c\n    g(kind='a')\n", {"f.kind": ("a", "c")}),
    ],
)
def test_words_that_are_listed_under_the_name_of_what_they_set_are_choices(
    source: str, expected: dict[str, tuple[str, ...]]
) -> None:
    assert choices(source) == expected
    for name, words in expected.items():
        assert {value_of(edit(source, {name: word}), name) for word in words} == set(words)


@pytest.mark.parametrize(
    "source",
    [
        "# note: this is fine, really\nnote = 'this'\n",
        'def f(path=\'a\'):\n    """path: where it is, or not\n\n    returns: a, b\n    """\n',
        "def f():\n    # kind: ['a', 'b']\n    return {'kind': 'z', 'a': 1.5}\n",
        "def f():\n    state = 'new'\n    while state == 'new' or state == 'old': state = g()\n",
        "def batch(split='train'):\n    return a if split == 'train' else b if split == 'val' else None\n",
        "def run():\n    # split: train, test\n    return batch(split='train', n=3.5)\n",
        "PARTS = ('Train', 'Validation')\npart = 'Train'\n",
        "# device: cuda or cpu\ndevice = 'cuda'\n",
        "def load(path, mode='r'):\n    return read(path) if mode == 'r' else write(path) if mode == 'w' else None\n",
        "def validate(x):\n    # kind: ['a', 'b']\n    return x == dict(kind='a')\n",
        "def f():\n    # kind: ['a', 'b']\n    d = {'kind': 1.5}\n    d['kind'] += 2.5\n    return {'a': d}\n",
    ],
)
def test_words_that_only_stand_near_a_list_are_no_choices(source: str) -> None:
    assert choices(source) == {}
