"""What `mesh rent --print` writes of an option: a task of SkyPilot, a job of Slurm, or the line for a box. Pure.

Each of them starts `mesh join` with the invitation in `MESH_TOKEN`. The mesh itself starts nothing and rents nothing.
"""

import json
import math
import re
from typing import Literal

from mesh.errors import BadInput
from mesh.text import printable
from mesh_cli.rental.rent_options import RentOption

Form = Literal["sky", "slurm", "join"]
_INSTALL = "mesh-swarm[worker]"


def printed_form(form: Form, option: RentOption, arena: str, *, hours: float) -> str:
    """Return the text of a form.

    Args:
        form: which.
        option: the machine.
        arena: the name of the arena.
        hours: how long a job of Slurm may take.

    Raises:
        BadInput: SkyPilot cannot rent it, as no provider lets it.
    """
    if form == "sky":
        return _sky(option, arena)
    if form == "slurm":
        return _slurm(option, arena, hours)
    return f"{_about(option, arena)}\n{_join(option)}\n"


def _join(option: RentOption) -> str:
    spot = " --spot" if option.spot else ""
    price = f"{option.usd_per_hour:.6g}"
    return f"""uvx --from '{_INSTALL}' mesh join "$MESH_TOKEN" --yes --price {price} --idle-stop 10m{spot}"""


def _about(option: RentOption, arena: str) -> str:
    lost = f", {option.lost_share:.0%} of it lost" if option.spot and option.lost_share else ""
    what = " ".join(
        filter(None, [option.provider or "own price", option.tier, option.gpu, "spot" if option.spot else ""])
    )
    return "# " + printable(
        f"arena {arena}: {option.worker_class}, {what}: ${option.usd_per_hour:.6g}/h{lost}, "
        f"{option.trials_per_hour:.4g} trials/h, ${option.usd_per_trial:.3g} per trial"
    )


def _sky(option: RentOption, arena: str) -> str:
    if not option.gpu:
        raise BadInput(
            f"{option.worker_class} at {option.provider or 'its own price'} is not an offer of the price table, so "
            "SkyPilot cannot rent it: use --print join, or name another --class or --provider"
        )
    name = re.sub("[^a-z0-9-]", "-", arena.lower())[:40]
    lines = [
        _about(option, arena),
        "# sky jobs launch --secret MESH_TOKEN=mesh1_... FILE",
        f"name: mesh-{name}",
        "resources:",
        f"  infra: {_quoted(option.provider)}",
        f"  accelerators: {{{_quoted(_sky_name(option.gpu))}: {math.ceil(option.gpus)}}}",
        *(["  use_spot: true"] if option.spot else []),
        "secrets:",
        "  MESH_TOKEN: null",
        "setup: |",
        "  command -v uvx || ~/.local/bin/uvx --version || pip install --user --quiet uv",
        "run: |",
        '  export PATH="$HOME/.local/bin:$PATH"',
        f"  exec {_join(option)}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text of others as a string of YAML, which takes those of JSON."""
    return json.dumps(text)


def _sky_name(gpu: str) -> str:
    """Return the name that SkyPilot has for a GPU: it says the memory only where it is not the first one made."""
    return {"A100-40GB": "A100", "A100-80GB-PCIe": "A100-80GB", "H100-PCIe": "H100"}.get(gpu, gpu)


def _slurm(option: RentOption, arena: str, hours: float) -> str:
    gpus = math.ceil(option.gpus) if option.worker_class.startswith("cuda") else 0
    minutes = math.ceil(hours * 60)
    lines = [
        "#!/bin/bash",
        _about(option, arena),
        f"#SBATCH --job-name=mesh-{re.sub('[^A-Za-z0-9-]', '-', arena)[:40]}",
        *([f"#SBATCH --gres=gpu:{max(1, gpus)}"] if option.worker_class.startswith("cuda") else []),
        f"#SBATCH --time={minutes // 60}:{minutes % 60:02}:00",
        *([f"#SBATCH --array=1-{option.machines}"] if option.machines > 1 else []),
        "#SBATCH --signal=B:TERM@60",
        "#SBATCH --requeue",
        "# sbatch --export=ALL,MESH_TOKEN=mesh1_... FILE",
        "# The worker takes the place of this shell, which gets the signal.",
        f"exec {_join(option)}",
    ]
    return "\n".join(lines) + "\n"
