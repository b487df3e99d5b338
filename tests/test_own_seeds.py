"""A program that seeds itself is proven on other seeds than its own."""

import pytest

from mesh.own_seeds import with_other_seeds

KEPT = """import numpy as np
n_seeds = 5
seeds = [1, 2]
rng = np.random.default_rng(seed)
x = rng.random(42)
np.random.seed()
torch.manual_seed(int(os.environ.get("MESH_SEED", "1")))
seed = None
seed_count = f(3, seedlings=4)
"""


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("np.random.seed(42)", "np.random.seed(1042)"),
        ("rng = np.random.default_rng(0)", "rng = np.random.default_rng(1000)"),
        ("rng = default_rng(seed=7)", "rng = default_rng(seed=1007)"),
        ("random.seed(3); b = 3", "random.seed(1003); b = 3"),
        ("SEED = 1337  # the answer", "SEED = 2337  # the answer"),
        ("key = jax.random.PRNGKey(2)", "key = jax.random.PRNGKey(1002)"),
        (
            "def f(n=3, seed: int = 3, *, random_state=4): ...",
            "def f(n=3, seed: int = 1003, *, random_state=1004): ...",
        ),
        ("model = Forest(n=10, random_state=1)", "model = Forest(n=10, random_state=1001)"),
        ("rng = 42", "rng = 1042"),
        ("engine = qmc.Sobol(d=2, rng=0)", "engine = qmc.Sobol(d=2, rng=1000)"),
        ("g = np.random.Generator(np.random.PCG64(4))", "g = np.random.Generator(np.random.PCG64(1004))"),
        ("self.seed: int = 9", "self.seed: int = 1009"),
        ("torch.manual_seed(1); s = 'é'; torch.cuda.manual_seed_all(1)", None),
    ],
)
def test_seeds_that_a_program_gives_itself_are_replaced(line: str, other: str | None) -> None:
    other = other or "torch.manual_seed(1001); s = 'é'; torch.cuda.manual_seed_all(1001)"
    files, count = with_other_seeds({"t.py": f"{KEPT}{line}\n".encode()}, ["t.py"], 1000)
    assert files == {"t.py": f"{KEPT}{other}\n".encode()}
    assert count == other.count("100") + other.count("2337") + other.count("1042")


def test_what_is_no_seed_of_its_own_and_what_is_protected_stays() -> None:
    region = "np.random.seed(1)\n# EVOLVE-BLOCK-START\nA = 1\n# EVOLVE-BLOCK-END\nrandom.seed(2)\n"
    files = {"kept.py": KEPT.encode(), "region.py": region.encode(), "protected.py": b"SEED = 1\n", "x.py": b"(\xff"}
    assert with_other_seeds(files, ["kept.py", "region.py", "x.py", "gone.py", "t.toml"], 5) == (files, 0)


def test_a_large_seed_stays_one_that_libraries_take() -> None:
    files, _ = with_other_seeds({"t.py": b"np.random.seed(4294967295)\n"}, ["t.py"], 2**31 - 1)
    assert 0 <= int(files["t.py"].split(b"(")[1].split(b")")[0]) < 2**31
