"""The leak audit refuses an arena whose answers lie on this machine, in whatever form, and no honest one."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import re
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mesh import leak_audit, leak_index
from mesh.errors import BadArena
from mesh.leak_audit import Findings, Secrets, audit, questions
from mesh.leak_index import Walk
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.readable import audited_paths
from mesh.shingles import numbers_in, rows_of
from tests.support.arenas import write
from tests.test_arena import FILES

LIBRARY = Path(sysconfig.get_path("stdlib"))
RANDOM = random.Random(7)
WORDS = ["".join(RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=RANDOM.randint(2, 9))) for _ in range(3000)]


def prose(seed: int, words: int = 6000) -> bytes:
    """Text that is nowhere else."""
    rng = random.Random(seed)
    return " ".join(rng.choices(WORDS, k=words)).encode()


def npy(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bytes:
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists() or (folder / name).read_bytes() != data:
            (folder / name).write_bytes(data)
    return folder


SYSTEM = {f"usr/share/doc/p{n}/copyright": prose(100 + n % 3, 2000) for n in range(10)} | {
    f"lib/m{n}.py": prose(200 + n, 800) for n in range(40)
}
SECRET = prose(1)
NUMBERS = np.random.default_rng(3).normal(size=(300, 20))
IMAGES = np.random.default_rng(4).integers(0, 17, size=(300, 64))


def csv(values: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", format_: str = "%g", label: int = 3) -> bytes:
    made = io.BytesIO()
    np.savetxt(made, np.hstack([values, np.full((len(values), 1), label)]), fmt=format_, delimiter=",")
    return made.getvalue()


def look(tmp_path: Path, installed: dict[str, bytes], private: dict[str, bytes], **own: bytes) -> Findings:
    root = fill(tmp_path / "root", SYSTEM | installed)
    return audit(Secrets(private, {}), own, tmp_path / "cache" / "index", roots=[str(root)])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("plain.txt", SECRET),
        ("part.txt", SECRET[1000:20_000]),
        ("other-lines.txt", re.sub(rb"( \w+ \w+ \w+) ", rb"\1,\n   ", SECRET).upper()),
        ("page.html", re.sub(rb"((?: \w+){20})", rb"<p>\1</p>\n", SECRET)),
        ("text.gz", gzip.compress(SECRET)),
        ("text.xz", lzma.compress(SECRET)),
        ("text.bz2", bz2.compress(SECRET)),
        ("p-1.whl", zipped("p/data/x.txt.gz", gzip.compress(SECRET))),
        ("in-a-binary.so", os.urandom(5000) + b"\0" * 64 + SECRET + os.urandom(500)),
        ("at-the-end.dat", b"\0" * 64 + os.urandom(3_000_000) + SECRET * 8),
        ("json.json", json.dumps({"rows": SECRET.decode().split(" ")}).encode()),
    ],
)
def test_a_private_text_is_found_in_any_wrapping(tmp_path: Path, name: str, data: bytes) -> None:
    found = look(tmp_path, {f"share/{name}": data}, {"private/val.bin": SECRET})
    [leak] = found.leaks
    assert (leak.secret, Path(leak.path).name) == ("private/val.bin", name)
    assert found.looked_bytes == found.total_bytes > len(data)


@pytest.mark.parametrize(
    ("name", "data", "private"),
    [
        ("digits.csv.gz", gzip.compress(csv(IMAGES, "%d")), npy((IMAGES[::-1] / 16).astype(np.float32))),
        ("table.npz", zipped("x.npy", npy(NUMBERS)), npy(NUMBERS[50:250])),
        ("table.npy", npy(NUMBERS), csv(NUMBERS, "%.10g")),
        (
            "table.tsv",
            csv(NUMBERS * 100 + 7, "%.6f").replace(b",", b"\t"),
            npy(NUMBERS[RANDOM.sample(range(300), 200)]),
        ),
        ("labels.csv", b"\n".join(b"%d" % n for n in IMAGES[:, 5]), npy(IMAGES[:, 5])),
        ("raw.bin", NUMBERS.astype("<f8").tobytes(), NUMBERS[20:280].astype("<f8").tobytes()),
    ],
)
def test_private_numbers_are_found_in_another_notation_order_and_scale(
    tmp_path: Path, name: str, data: bytes, private: bytes
) -> None:
    [leak] = look(tmp_path, {f"share/{name}": data}, {"private/y": private}).leaks
    assert Path(leak.path).name == name


@pytest.mark.parametrize(
    "private",
    [
        prose(2),
        SYSTEM["usr/share/doc/p1/copyright"] + prose(3),  # a licence that many packages have
        b"\0" * 100_000,
        b"-" * 5000 + b"\n" + b"= " * 5000 + b"0,0,0,0,0,0,0,0,0,0,0\n" * 500,
        npy(np.random.default_rng(9).normal(size=(300, 20))),
        npy(np.arange(10_000)),
        npy(np.random.default_rng(9).integers(0, 17, size=(300, 64))),
        os.urandom(50_000),
        prose(4) + SECRET[:300],  # a short quotation
        b"42\n",
    ],
    ids=["text", "licence", "zeros", "rules", "numbers", "count", "images", "noise", "quotation", "tiny"],
)
def test_what_is_nowhere_else_is_not_found_by_chance(tmp_path: Path, private: bytes) -> None:
    system = {"a.txt": SECRET, "n.csv": csv(NUMBERS), "z.dat": b"\0" * 10**6, "i.csv": csv(IMAGES, "%d")}
    system |= {"c.csv": b"\n".join(b"%d" % n for n in range(20_000)), "r.txt": b"-" * 9000 + b"= " * 9000}
    assert look(tmp_path, system, {"private/y": private}).leaks == []


def test_the_arenas_own_files_must_not_have_the_answers(tmp_path: Path) -> None:
    rows = [f"item {n},{WORDS[n]},{n % 7}" for n in range(400)]
    labels = "\n".join(rows[300:]).encode()
    for name, data in {"labels.csv": "\n".join(rows).encode(), "copy.gz": gzip.compress(labels)}.items():
        [leak] = look(tmp_path, {}, {"private/test.csv": labels}, **{name: data}).leaks
        assert (leak.path, leak.share) == (name, 1.0)
    [leak] = look(tmp_path, {}, {"private/y.npy": npy(NUMBERS)}, more=npy(np.vstack([NUMBERS, NUMBERS]))).leaks
    assert leak.path == "more"
    without_labels = "\n".join(row.rsplit(",", 1)[0] for row in rows).encode()
    assert look(tmp_path, {}, {"private/test.csv": labels}, questions=without_labels).leaks == []


def test_rows_that_ask_for_a_private_answer_are_questions(tmp_path: Path) -> None:
    made = fill(
        tmp_path, {"test_x.npy": npy(IMAGES), "train_x.npy": npy(IMAGES[:50]), "test.csv": csv(IMAGES), "t": b""}
    )
    private = fill(tmp_path / "p", {"test_y.npy": npy(IMAGES[:, 0]), "n": b"1\n"})
    public = {path.name: path for path in sorted(made.iterdir()) if path.is_file()}
    assert questions(public, {path.name: path for path in private.iterdir()}) == ["test.csv", "test_x.npy"]


def test_the_source_may_be_public_in_part(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", SYSTEM | {"half.txt": SECRET[:20_000]})
    secrets, index = Secrets({}, {"the source": SECRET}), tmp_path / "index"
    assert audit(secrets, {"public/half": SECRET[:20_100]}, index, roots=[str(root)]).leaks == []
    [leak] = audit(secrets, {}, index, roots=[str(root)]).leaks
    assert leak.secret == "the source"


def test_the_index_makes_the_next_audit_quick_and_a_damaged_one_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "cache" / "index"
    assert look(tmp_path, {"a.txt": prose(5)}, {"y": SECRET}).leaks == []
    for damage in (bytes, lambda data: data[:-9], lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]):
        index.write_bytes(damage(index.read_bytes()))
        [leak] = look(tmp_path, {}, {"y": prose(5)}).leaks
        assert leak.path.endswith("a.txt")
    read: list[str] = []
    scan: Callable[..., object] = leak_index.prints_of_group

    def counted(group: object, *limit: int) -> object:
        read.append(group.files[0].path)  # type: ignore[attr-defined]
        return scan(group, *limit)

    monkeypatch.setattr(leak_audit, "prints_of_group", counted)
    assert look(tmp_path, {}, {"y": SECRET}).leaks == []
    assert read == []
    (tmp_path / "root" / "a.txt").write_bytes(SECRET)
    [leak] = look(tmp_path, {}, {"y": SECRET}).leaks
    assert leak.path.endswith("a.txt")
    assert 1 <= len(read) < 60  # the group of the changed file alone, then its files one by one


def test_when_time_is_up_it_says_how_far_it_came(tmp_path: Path) -> None:
    system = {**SYSTEM, "much.txt": random.Random(0).randbytes(16 << 20)}  # no machine reads that in a millisecond
    root = fill(tmp_path / "root", system)
    found = audit(Secrets({"y": SECRET}, {}), {}, tmp_path / "index", roots=[str(root)], within_s=1e-3)
    assert found.leaks == []
    assert found.looked_bytes < found.total_bytes == sum(map(len, system.values()))
    assert Walk().files(str(tmp_path / "gone")) == ([], [])


OLD_NANOLM = """
import os, pathlib, sysconfig
lib, out = pathlib.Path(sysconfig.get_path("stdlib")), pathlib.Path(os.environ["MESH_OUT"])
texts = [path.read_bytes() for path in sorted(lib.glob("[a-d]*.py"))]
for part, data in (("public/train", texts[1::2]), ("private/val", texts[::2])):
    (out / part).parent.mkdir(exist_ok=True)
    (out / part).with_suffix(".bin").write_bytes(b"\\n".join(data))
"""
OLD_DIGITS = """
import os, pathlib
import numpy as np
from sklearn.datasets import load_digits
out, digits = pathlib.Path(os.environ["MESH_OUT"]), load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
images = (digits.data[order] / 16.0).astype(np.float32)
for part in ("public", "private"):
    (out / part).mkdir()
np.save(out / "public" / "train_x.npy", images[:900])
np.save(out / "public" / "test_x.npy", images[900:])
np.save(out / "private" / "test_y.npy", digits.target[order][900:].astype(np.int64))
"""
OWN = """
import os, pathlib, random
out, rng = pathlib.Path(os.environ["MESH_OUT"]), random.Random(5)
for part in ("public/train.csv", "private/test.csv"):
    (out / part).parent.mkdir()
    rows = [[rng.gauss(0, 1) for _ in range(12)] + [rng.randrange(9)] for _ in range(400)]
    (out / part).write_text("\\n".join(",".join(map(str, row)) for row in rows))
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Look at a part of what is installed here."""
    import sklearn

    roots = [str(Path(sklearn.__file__).parent / "datasets" / "data"), *map(str, LIBRARY.glob("[a-d]*.py"))]
    monkeypatch.setattr("mesh.open_arena.audited_paths", lambda: roots)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("installed")
async def test_numbers_of_an_installed_package_are_refused(tmp_path: Path, home: Path) -> None:
    folder = write(tmp_path / "arena", FILES | {"prepare.py": OLD_DIGITS})
    where = r"public/test_x.npy is in \S*sklearn/\S*/digits\.csv\.gz, which every trial can read: make the private data"
    with pytest.raises(BadArena, match=rf"^\d+% of {where}"):
        await open_arena(MemoryHub(), folder, home=home)


@pytest.mark.usefixtures("installed")
async def test_text_of_the_standard_library_is_refused_or_warned_of(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, toml = write(tmp_path / "arena", FILES | {"prepare.py": OLD_NANOLM}), FILES["arena.toml"]
    where = r"\d+% of private/val.bin is in \S*/[a-d]\w+\.py and \d+ more files, which every trial can read"
    with pytest.raises(BadArena, match=rf"^{where}: make the private data from what is on no worker's disk, or set"):
        await open_arena(MemoryHub(), folder, home=home)
    write(folder, {"arena.toml": toml + '[data]\nleak_audit = "warn"\n'})
    await open_arena(MemoryHub(), folder, home=home)
    assert re.fullmatch(rf"mesh: {where}\n", capsys.readouterr().err)
    write(folder, {"arena.toml": toml + '[data]\nleak_audit = "off"\n'})
    await open_arena(MemoryHub(), folder, home=home)
    write(folder, {"arena.toml": toml, "prepare.py": OWN})
    await open_arena(MemoryHub(), folder, home=home)
    assert capsys.readouterr().err == ""


def test_it_looks_first_where_data_lies_and_in_all_that_a_trial_reads() -> None:
    paths = audited_paths()
    assert paths.index("/usr/share") < paths.index("/usr")
    assert {"/usr", "/opt"} < set(paths)


@pytest.mark.parametrize(
    ("shape", "rows", "numbers"),
    [
        ("(3L,)", 3, [0, 1, 2]),
        ("(3,)", 3, [0, 1, 2]),
        ("()", 0, [0]),
        *((odd, 0, []) for odd in (f"(9{'0' * 18},)", "(-1,)", "((3,),)", "(3")),
    ],
)
def test_an_array_with_an_old_or_odd_header_is_read_or_passed_over_silently(
    shape: str, rows: int, numbers: list[int]
) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + np.arange(3.0).tobytes()
    assert (rows_of(data), numbers_in(data).tolist()) == (rows, numbers)
