"""Make the salt of the worlds that score, and sample worlds with their truth for trials to learn from."""

import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path

from world import world

SAMPLES = 2

out = Path(os.environ.get("MESH_OUT", "data"))
for part in ("public", "private"):
    (out / part).mkdir(parents=True, exist_ok=True)
(out / "private" / "salt").write_text(secrets.token_hex(16))
for number in range(SAMPLES):
    vendors, events = world(secrets.token_hex(16), number)
    told = [{each.what: each.fields} | ({"truth": asdict(each.truth)} if each.truth else {}) for each in events]
    (out / "public" / f"world-{number}.json").write_text(json.dumps({"vendors": vendors, "events": told}))
