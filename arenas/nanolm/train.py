"""A byte-level GPT: model, optimiser and schedule in one file, made to be changed.

By hand: `python prepare.py && python train.py && python score.py`. The budget is CPU time on a CPU, so that a busy core
does not cost steps, and wall time on CUDA. A worker measures it and ends a trial that uses more; imports, torch's first
step and saving are in an allowance of their own (`startup_s` in `arena.toml`).

The scorer needs `load(folder) -> model` and `logits(model, tokens (B, T) int64) -> (B, 256)`: scores of the byte after
T bytes.
"""

import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEARNING_RATE = 1e-3  # mesh: 1e-4..3e-2 log
N_LAYER = 2  # mesh: 1..4
N_HEAD = 4  # mesh: 1..8
HEAD_DIM = 16  # mesh: choices 8 16 32
MLP_RATIO = 4  # mesh: 1..6
CONTEXT = 64  # mesh: choices 16 32 64 128 256
BATCH_SIZE = 16  # mesh: 4..64 log
WARMUP = 0.1  # mesh: 0.0..0.3
FINAL_LR = 0.1  # mesh: 0.0..1.0
WEIGHT_DECAY = 0.1  # mesh: 0.001..0.5 log
BETA2 = 0.95  # mesh: 0.9..0.999
GRAD_CLIP = 1.0  # mesh: 0.1..4.0 log
INIT_SCALE = 1.0  # mesh: 0.3..3.0 log
ACTIVATION = "gelu"  # mesh: choices gelu relu silu relu2
TIED = False  # mesh: choices True False
SCALE_ON_CPU = 1  # mesh: fixed
SCALE_ON_CUDA = 4  # mesh: fixed

DEVICE = os.environ.get("MESH_DEVICE", "cpu")  # mesh: fixed
SCALE = SCALE_ON_CPU if DEVICE == "cpu" else SCALE_ON_CUDA  # times as many heads, and sequences in a batch


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm: (B, T, width) -> (B, T, width)."""

    def __init__(self, heads: int, head_dim: int, ratio: int) -> None:
        super().__init__()
        width = heads * head_dim
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, width))
        return x + self.down(act(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Bytes to scores of the next byte: (B, T) int64 with T <= context -> (B, T, 256)."""

    def __init__(self, layers: int, heads: int, head_dim: int, ratio: int, context: int, tied: bool) -> None:
        super().__init__()
        width = heads * head_dim
        self.context = context
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(heads, head_dim, ratio) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=INIT_SCALE * 0.02 * math.sqrt(512 / width) / math.sqrt(layers))
        if tied:
            self.head.weight = self.bytes.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.bytes(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def act(x: Tensor) -> Tensor:
    """The perceptron's activation."""
    match ACTIVATION:
        case "relu":
            return F.relu(x)
        case "silu":
            return F.silu(x)
        case "relu2":
            return F.relu(x).square()
    return F.gelu(x)


def logits(model: GPT, tokens: Tensor) -> Tensor:
    """Scores (B, 256) of the byte after `tokens` (B, T); the model reads only the last `context` of them."""
    return model(tokens[:, -model.context :])[:, -1]


def load(folder: str) -> GPT:
    """Read what `save` wrote; no pickle."""
    model = GPT(**json.loads((Path(folder) / "config.json").read_text()))
    with np.load(Path(folder) / "weights.npz", allow_pickle=False) as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    return model.eval()


def save(model: GPT, config: dict[str, object], folder: Path) -> None:
    """Write plain arrays and the shape of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    np.savez(folder / "weights.npz", **{name: t.float().cpu().numpy() for name, t in model.state_dict().items()})


def main() -> None:
    """Train until the budget is spent."""
    torch.manual_seed(int(os.environ.get("MESH_SEED", "1")))
    torch.set_num_threads(int(os.environ.get("MESH_THREADS", "1")))
    budget_s = float(os.environ.get("MESH_BUDGET_S", "4"))
    clock = time.process_time if DEVICE == "cpu" else time.perf_counter
    warm_up()
    began = clock()
    data = np.fromfile(Path(os.environ.get("MESH_DATA", "data/public")) / "train.bin", dtype=np.uint8)
    text = torch.from_numpy(data).to(DEVICE)
    config: dict[str, object] = {
        "layers": N_LAYER,
        "heads": N_HEAD * SCALE,
        "head_dim": HEAD_DIM,
        "ratio": MLP_RATIO,
        "context": CONTEXT,
        "tied": TIED,
    }
    model = GPT(**config).to(DEVICE)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, (0.9, BETA2), weight_decay=WEIGHT_DECAY)
    offsets = torch.arange(CONTEXT + 1, device=DEVICE)
    step, shown, smooth = 0, -1.0, 0.0
    while (spent := (clock() - began) / budget_s) < 1:
        warm = min(1.0, spent / WARMUP) if WARMUP > 0 else 1.0
        rate = LEARNING_RATE * warm * (FINAL_LR + (1 - FINAL_LR) * 0.5 * (1 + math.cos(math.pi * spent)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH_SIZE * SCALE, 1), device=DEVICE)
        batch = text[starts + offsets].long()
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        step += 1
        if spent - shown > 0.03:
            now = loss.item() / math.log(2)
            smooth, shown = (now if shown < 0 else 0.7 * smooth + 0.3 * now), spent
            report(step, smooth)
    save(model, config, Path(os.environ.get("MESH_OUT", "out")))
    print(f"{step} steps, train_bpb {smooth:.4f}, {sum(p.numel() for p in model.parameters()):,} parameters")


def warm_up() -> None:
    """Make one throw-away step: the first one imports parts of torch, which would cost a third of the budget."""
    model = nn.Linear(8, 8).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 8, device=DEVICE)).sum().backward()
    optimizer.step()


def report(step: int, value: float) -> None:
    """Write one point of the live curve: smoothed training bits per byte."""
    if "MESH_REPORT" in os.environ:
        with open(os.environ["MESH_REPORT"], "a") as file:
            file.write(json.dumps({"step": step, "value": value}) + "\n")


if __name__ == "__main__":
    main()
