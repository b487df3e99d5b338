"""Predict the next byte with the candidate's code; this process has no secrets, because it runs that code.

Standard input: batches of BATCH x LENGTH bytes. Standard output: for each batch the float32 scores, (BATCH, 256), of
the next byte of every row, which is not sent. The candidate's own prints do not reach standard output.
"""

import os
import sys

BATCH, LENGTH = 64, 256


def main() -> None:
    """Answer batches until the input ends."""
    channel = os.dup(1)
    os.dup2(2, 1)
    import torch
    import train

    torch.set_num_threads(int(os.environ.get("MESH_THREADS", "1")))
    device = os.environ.get("MESH_DEVICE", "cpu")
    model = train.load(os.environ.get("MESH_OUT", "out")).to(device)
    with torch.inference_mode(), os.fdopen(channel, "wb") as out:
        while data := sys.stdin.buffer.read(BATCH * LENGTH):
            tokens = torch.frombuffer(bytearray(data), dtype=torch.uint8).long().view(BATCH, LENGTH)
            scores = train.logits(model, tokens.to(device)).float().cpu().contiguous()
            if scores.shape != (BATCH, 256):
                sys.exit(f"logits() returned scores of shape {tuple(scores.shape)}, but must return ({BATCH}, 256)")
            out.write(scores.numpy().tobytes())
            out.flush()


if __name__ == "__main__":
    main()
