"""Train for a second."""

import time

from prepare import evaluate_bpb

RATE = 0.04

began = time.time()
while time.time() - began < 1:
    pass
print("step 00001 | loss 9.9")
print("---")
print(f"val_bpb:          {evaluate_bpb(RATE):.6f}")
print("training_seconds: 1.0")
