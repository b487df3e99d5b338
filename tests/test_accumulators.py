"""A number that only begins a sum is no knob, in languages that have no parser here."""

import pytest

from tests.test_literal_files import knob_names, read

ADDED_TO = {
    "a.c": """
        static double total = 0.0;
        static double bias = 0;
        int main(void) {
            double sum = 0;
            float acc = 0.0f;
            int n = 0;
            double start = 0.0;
            double best = 0;
            for (int i = 0; i < 10; i++) {
                sum += i;
                acc = acc + 2 * start;
                n++;
                total += sum + bias;
                if (sum > best) best = sum;
            }
        }
        double other(void) {
            double start = 0.0;
            start += 1;
            return start;
        }
    """,
    "a.jl": "s = 0.0\noffset = 0.0\nfor i in 1:10\n  s += i\nend\nprintln(s + offset)\n",
    "a.rs": "fn f() -> f64 {\n    let mut sum: f64 = 0.0;\n    let shift: f64 = 0.0;\n    sum -= shift;\n    sum\n}\n",
    "a.lua": "local hits = 0\nlocal shift = 0\nfor i=1,10 do\n  hits = hits + 1\nend\nhits = 0\nprint(hits + shift)\n",
    "a.go": "func main() {\n\ttotal := 0.0\n\tstep := 0\n\tgain := 0.0\n\ttotal += step\n\tgain *= 2\n\tgain += 1\n}\n",
    "a.js": "let count = 0;\nlet tilt = 0;\nfor (const x of xs) ++count;\nif (count == 0) tilt == 1;\n",
}
COUNTERS = {
    "a.c": {"total", "main.sum", "main.acc", "main.n", "other.start"},
    "a.jl": {"s"},
    "a.rs": {"f.sum"},
    "a.lua": {"hits", "hits#2"},
    "a.go": {"main.total"},
    "a.js": {"count"},
}


@pytest.mark.parametrize("file", ADDED_TO)
def test_what_begins_at_zero_and_is_only_added_to_is_no_knob(file: str) -> None:
    found = read(file, ADDED_TO[file])
    assert {name for name, (_, _, why) in found.items() if why == "counter"} == COUNTERS[file]
    assert {name for name, (_, value, _) in found.items() if value == 0} > COUNTERS[file]


def test_a_comment_makes_a_knob_of_what_is_only_added_to() -> None:
    source = "double drift = 0;  // mesh: -1..1\nvoid step(void) { drift += 0.1; }\n"
    assert knob_names("a.c", source) == ["drift"]
    assert knob_names("a.c", source.replace("  // mesh: -1..1", "")) == []
