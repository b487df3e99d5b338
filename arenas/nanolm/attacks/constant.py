"""Give every byte the same score."""

import torch
from torch import Tensor, nn

SCORE = 0.0


def load(folder: str) -> nn.Module:
    """Return a model of nothing."""
    return nn.Identity()


def logits(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return `(B, 256)` equal scores."""
    return torch.full((len(tokens), 256), SCORE)
