"""Tells whether two names mean the same GPU: a driver's (`NVIDIA H100 80GB HBM3`), a price list's (`H100-SXM`). Pure.

A name has a family (`H100`), and may say a form (SXM, PCIe, NVL) and a memory. What only one of two names says does not
part them. Names of other makers, and of parts of a GPU, are compared as they are written.
"""

import re

import msgspec

_MAKERS = frozenset({"NVIDIA", "GEFORCE", "TESLA", "QUADRO", "AMD"})
_EDITIONS = frozenset(
    {"GENERATION", "BLACKWELL", "SERVER", "WORKSTATION", "EDITION", "NVLINK", "HBM2", "HBM2E", "HBM3E"}
)
_FORMS = {"PCIE": "PCIE", "NVL": "NVL", "MEGA": "SXM", "HBM3": "SXM"}  # the driver calls an H100 SXM by its memory
_NEAR = 0.1
"""Share by which two statements of one memory differ: drivers keep some of it back, and GB are not GiB."""


class GpuModel(msgspec.Struct, frozen=True):
    """What a name says of a GPU; `form` "" and `memory_gb` None are unsaid."""

    family: str
    form: str = ""
    memory_gb: float | None = None


def gpu_model(name: str, memory_gb: float | None = None) -> GpuModel:
    """Return what a name says of a GPU.

    Args:
        name: of a driver, a price list or a worker class.
        memory_gb: of one GPU, where something else says it.
    """
    kept, form, said = [], "", None
    for word in re.findall(r"[A-Z0-9]+", name.upper()):
        if found := re.fullmatch(r"(\d+)(?:GB|GIB|G)", word):
            said = float(found[1])
        elif word in _FORMS or re.fullmatch(r"SXM\d*", word):
            form = _FORMS.get(word, "SXM")
        elif word not in _MAKERS and word not in _EDITIONS:
            kept.append(word)
    family = re.sub(r"^RTX(?=A\d{4})", "", "".join(kept))
    family = re.sub(r"^(RTXPRO\d{4})(S|WS)$", r"\1", family)
    memory = said if memory_gb is None else memory_gb
    return GpuModel(family, form, memory if family != "GH200" or memory_gb is not None else None)


def is_same_gpu(first: GpuModel, second: GpuModel) -> bool:
    """Tell whether two names may mean the same GPU."""
    if first.family != second.family or (first.form and second.form and first.form != second.form):
        return False
    if first.memory_gb is None or second.memory_gb is None:
        return True
    return abs(first.memory_gb - second.memory_gb) <= _NEAR * max(first.memory_gb, second.memory_gb)
