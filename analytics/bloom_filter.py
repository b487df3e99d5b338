"""A Bloom filter over the keys of facts: a key is certainly new, or must be looked up.

A fact whose key was there before does not count. Such facts are rare, because the server refuses them, and looking up
every key in a million rows would cost more than all else (B. Bloom, Communications of the ACM 13(7), 1970). With two
of 2**28 bits (32 MB), one in 20,000 new keys is looked up at a million facts, one in 200 at ten million.
"""

_BITS = 2**28


class BloomFilter:
    """The keys added so far, as hashes of this process."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, *key: str) -> bool:
        """Add a key and return whether it may have been there before."""
        code = hash(key)
        first, second = code % _BITS, (code >> 29) % _BITS
        bits = self._bits
        known = bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1
        bits[first >> 3] |= 1 << (first & 7)
        bits[second >> 3] |= 1 << (second & 7)
        return bool(known)
