"""How an explorer searches: the knobs of the code, and the samplers that choose their values."""
