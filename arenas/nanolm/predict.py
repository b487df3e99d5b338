"""Answer batches of bytes with the artifact's scores; runs the candidate's code, so it knows nothing worth stealing.

Standard input: batches of BATCH x LENGTH bytes. Standard output, which the candidate's own prints cannot reach: for
each batch the float32 scores, (BATCH, 256), of the byte that comes next in every row and was not sent.
"""

import os
import sys

BATCH, LENGTH = 64, 256


def main() -> None:
    """Serve until the input ends."""
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
