"""Which facts were there before: a Bloom filter that says "certainly not", or "perhaps: look".

Facts with a key that was there before do not count. They are rare, as the server refuses them; looking for each in a
million rows would cost more than everything else (B. Bloom, Communications of the ACM 13(7), 1970). Two bits of 2**28
in 32 MB let one in 20,000 new keys be looked up at a million facts, one in 200 at ten million.
"""

_BITS = 2**28


class Seen:
    """The keys that were added, as hashes of this process."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, *key: str) -> bool:
        """Add a key; tell whether it may have been there."""
        code = hash(key)
        first, second = code % _BITS, (code >> 29) % _BITS
        bits = self._bits
        known = bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1
        bits[first >> 3] |= 1 << (first & 7)
        bits[second >> 3] |= 1 << (second & 7)
        return bool(known)
