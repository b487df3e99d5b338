"""Generates odd inputs from fixed seeds: mutations of good ones, and words that programs stumble over."""

from collections.abc import Iterator, Sequence
from random import Random

ODD = (
    *(
        "",
        " ",
        "\x00",
        "\n",
        "\r\n",
        "\t",
        "\ufeff",
        "\u202e",
        "\x1b[2J",
        "é",
        "𝔘",
        "\udcff",
        "a" * 300,
        "-",
        "--",
        "-1",
    ),
    *("0", "1", "-0", "1e999", "1e308", "-1e308", "nan", "inf", "9" * 30, "9" * 5000, "0x10", "1_000", "1.5", "0.0"),
    *(
        "..",
        "../../etc/passwd",
        "/dev/null",
        "/",
        "~",
        "*",
        ">",
        "%s",
        "{}",
        "[]",
        "[" * 3000,
        "{" * 3000,
        '"',
        "'",
        "\\",
    ),
    *(
        "null",
        "true",
        "None",
        "NaN",
        "2026-13-45",
        "0001-01-01T00:00:00+14:00",
        "1w",
        "1e",
        "#",
        "=",
        ",",
        ";",
        ":",
        "&a *a",
    ),
    *("'; DROP TABLE posts; --", "SELECT 1", "train.py", "loss", "minimize", "python", "command", "stdout"),
)


def mutations(seed: int, texts: Sequence[str], count: int, words: Sequence[str] = ODD) -> Iterator[str]:
    """Yield `count` texts, each one of `texts` with a few pieces deleted, doubled, moved or replaced."""
    rng = Random(seed)
    for _ in range(count):
        text = rng.choice(texts)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            text = _changed(rng, text, words)
        yield text


def _changed(rng: Random, text: str, words: Sequence[str]) -> str:
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice((0, 1, 2, 5, 20, 100)))
    match rng.randrange(8):
        case 0:
            return text[:start] + text[end:]
        case 1:
            return text[:end] + text[start:]
        case 2:
            return text[:start] + chr(rng.choice((0, 9, 10, 34, 39, 61, 91, 93, 123, 128, 0x2028, 0xFEFF))) + text[end:]
        case 3:
            lines = text.split("\n")
            rng.shuffle(lines)
            return "\n".join(lines)
        case 4:
            lines = text.split("\n")
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            return "\n".join(lines)
        case 5 | 6:  # replace the value after a sign
            places = [at for at, sign in enumerate(text) if sign in "=:,(\t "]
            if not places:
                return text + rng.choice(words)
            at = rng.choice(places) + 1
            stop = next((n for n in range(at, len(text)) if text[n] in ",)\n\t}]"), len(text))
            return text[:at] + rng.choice(words) + text[stop:]
        case _:
            return text[:start] + rng.choice(words) + text[end:]
