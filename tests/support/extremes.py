"""Posts as a faulty or hostile client would send them: for each field of each fact, values at and beyond its bounds."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from mesh.events import KINDS

DEEP = "[" * 3000 + "]" * 3000
ODD_TEXTS = ("", "\x00", "\u202eabc", "a\r\n\x1b[2J", "../../etc/x", "\ufeff", "'; DROP TABLE posts; --", "é" * 300)
ODD_RAW = (
    *(str(n) for n in (2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, -1, 0, 10**400)),
    *("1e308", "1e100", "-1e100", "1.0000001e100", "1e999", "-1e999", "1e-320", "-0.0", "0.5", "NaN", "Infinity"),
    *(
        "null",
        "true",
        "{}",
        "[]",
        "[[]]",
        '"x"',
        '""',
        '{"kind":"note.posted"}',
        DEEP,
        '{"a":' * 3000 + "1" + "}" * 3000,
    ),
    *(json.dumps(text) for text in ODD_TEXTS),
    *(r'"\ud800"', r'"\udc00\ud800"', json.dumps("y" * 5000)),
    *('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"2026-01-01T00:00:00Z"', '"1969-12-31T23:59:59Z"'),
    "[" + "1," * 10_001 + "1]",
    "{" + ",".join(f'"k{n}":1' for n in range(10_001)) + "}",
)
"""JSON for a value of a field, some of it none."""

ODD_IDS = (
    *("A" * 40, "a" * 39, "a" * 41, "a" * 64, "g" * 40, f"../{'a' * 37}", f"{'a' * 39}\n", f"{'a' * 40}\n"),
    *("\u0663" * 40, "\uff11" * 40, "x"),
)
"""Texts that are no hash: upper case, other lengths, a path, line ends, digits beyond ASCII, a name."""

_TEXTS = {"command": "python", "editable": "train.py", "constraints": "<= 1"}
"""Plain texts of fields that do not take every text."""

Raw = dict[str, str]
"""The fields of a struct, each as JSON."""


def valid(info: inspect.Type, name: str = "") -> str:
    """Return JSON of a plain value of a type."""
    match info:
        case inspect.UnionType(types=types):
            return valid(types[0], name)
        case inspect.LiteralType(values=values):
            return json.dumps(values[0])
        case inspect.StructType(fields=fields, array_like=True):
            return "[" + ",".join(valid(field.type, field.name) for field in fields) + "]"
        case inspect.StructType():
            return text_of(fields_of(info))
        case inspect.VarTupleType(item_type=item):
            return f"[{valid(item)}]"
        case inspect.TupleType(item_types=items):
            return "[" + ",".join(map(valid, items)) + "]"
        case inspect.DictType(value_type=value):
            return f'{{"a":{valid(value, name)}}}'
        case inspect.IntType(ge=int(least)) if least > 1:
            return str(least)
        case inspect.FloatType(gt=least) if least is not None and least >= 1:
            return str(least + 1)
        case inspect.FloatType(lt=most) if most is not None:
            return str(most / 2)
        case inspect.IntType() | inspect.FloatType():
            return "1"
        case inspect.StrType(pattern=str(pattern)) if "40" in pattern or "64" in pattern:
            return json.dumps("a" * (64 if "64" in pattern and "40" not in pattern else 40))
        case inspect.StrType():
            return json.dumps(_TEXTS.get(name, "x"))
        case inspect.BoolType():
            return "true"
        case inspect.NoneType():
            return "null"
        case inspect.DateTimeType():
            return '"2026-01-01T00:00:00Z"'
    raise TypeError(f"tests.support.extremes has no value of {info}")


def fields_of(info: inspect.StructType) -> Raw:
    """Return every field of a struct with a plain value."""
    tag = {info.tag_field: json.dumps(info.tag)} if info.tag_field else {}
    return {**tag, **{field.encode_name: valid(field.type, field.name) for field in info.fields}}


def text_of(fields: Raw) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"


def odd_values(info: inspect.Type) -> Iterator[str]:
    """Yield JSON for values of a field: the odd ones of every type, those at its bounds, and odd parts of its parts."""
    yield from ODD_RAW
    match info:
        case inspect.UnionType(types=types):
            for inner in types:
                if isinstance(inner, inspect.StructType | inspect.VarTupleType | inspect.DictType):
                    yield from odd_values(inner)
        case inspect.IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high):
            step = 1 if isinstance(info, inspect.IntType) else 0.001
            bounds = [bound for bound in (low, high) if bound is not None]
            yield from (json.dumps(bound + off * step) for bound in bounds for off in (-1, 0, 1))
        case inspect.StrType(max_length=int(most)):
            yield from (json.dumps("z" * (most + more)) for more in (0, 1))
        case inspect.StrType(pattern=str()):
            yield from map(json.dumps, ODD_IDS)
        case inspect.StructType(fields=fields):
            whole = fields_of(info)
            if info.array_like:
                parts = [valid(field.type) for field in fields]
                for at, field in enumerate(fields):
                    yield from (
                        "[" + ",".join([*parts[:at], odd, *parts[at + 1 :]]) + "]" for odd in odd_values(field.type)
                    )
            else:
                for field in fields:
                    yield from (text_of({**whole, field.encode_name: odd}) for odd in odd_values(field.type))
        case inspect.VarTupleType(item_type=item):
            yield from (f"[{odd}]" for odd in odd_values(item))
        case inspect.DictType(value_type=value):
            yield from (f'{{"a":{odd}}}' for odd in odd_values(value))
            yield from (f"{{{odd}:1}}" for odd in ODD_RAW if odd.startswith('"'))
        case _:
            return


def events() -> Iterator[tuple[str, Raw]]:
    """Yield for every fact its kind and its fields: once plain, then for every odd value of every field.

    Facts about a proposal or run come after a plain proposal and request of it, if they can be understood.
    """
    number = 0
    for kind, struct in KINDS.items():
        info = inspect.type_info(struct)
        assert isinstance(info, inspect.StructType)
        decode = msgspec.json.Decoder(struct).decode
        fields = {field.encode_name: field.type for field in info.fields}
        without = [(name, None) for name in fields]
        for name, odd in [("", None), *without, *((n, odd) for n, t in fields.items() for odd in odd_values(t))]:
            number += 1
            plain = plain_fields(kind, number)
            whole = {n: v for n, v in plain.items() if n != name} | ({name: odd} if odd is not None else {})
            try:
                decode(text_of(whole))
            except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
                pass
            else:
                for before in ("proposal.posted", "run.requested"):
                    if kind.split(".")[0] in ("critique", "run", "proposal") and kind != before:
                        yield before, plain_fields(before, number)
            yield kind, whole


@cache
def _whole(kind: str) -> Raw:
    info = inspect.type_info(KINDS[kind])
    assert isinstance(info, inspect.StructType)
    return fields_of(info)


def plain_fields(kind: str, number: int) -> Raw:
    """Return the fields of a fact of a kind that everybody understands; facts of one number belong together."""
    whole = _whole(kind)
    return whole | {name: value for name, value in _known(number).items() if name in whole}


def _known(number: int) -> Raw:
    """Return fields that make the facts of one number belong together, and others not."""
    tree = json.dumps(f"{number:040x}")
    names = {"tree": tree, "proposal": tree, "target": tree, "run": f'"r{number}"', "boot": f'"b{number}"'}
    return {**names, "met": '""', "parents": f'["{number - 1:040x}"]', "version": str(number), "n": str(number)}


def post_of(kind: str, fields: Raw, number: int, *, arena: str = "a", author: str = "eve") -> tuple[str, bytes]:
    """Return subject and bytes of a raw post; the subject is that of the fact where it has one."""
    body = text_of(fields)
    post_id = f"odd-{number}"
    raw = f'{{"id":"{post_id}","at":"2026-01-01T00:00:00Z","author":"{author}","cause":"","event":{body}}}'
    return f"mesh.{arena}.{kind}.{_key(kind, fields, post_id)}.{author}", raw.encode("utf-8", "surrogatepass")


def _key(kind: str, fields: Raw, post_id: str) -> str:
    """Return the key that the fact would have, "odd" where its fields make none that a subject can have."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            found[name] = msgspec.json.decode(value)
        except (ValueError, RecursionError):
            continue
    try:
        key = str(KINDS[kind].key(_Fields(found), post_id))  # type: ignore[arg-type]
    except AttributeError:
        return "odd"
    fits = key.replace(".", "").replace("-", "").replace("_", "").isalnum() and key.isascii() and len(key) < 500
    return key if fits and ".." not in key and key.strip(".") == key else "odd"


class _Fields:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
