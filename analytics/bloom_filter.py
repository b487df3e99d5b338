"""A Bloom filter over the keys of facts: a key is certainly new, or must be looked up.

A fact whose key was there before does not count. Such facts are rare, because the server refuses them, and looking up
every key in a million rows would cost more than all else (B. Bloom, Communications of the ACM 13(7), 1970). With two
of 2**28 bits (32 MB), one in 20,000 new keys is looked up at a million facts, one in 200 at ten million.
"""

from collections.abc import Iterable

_BITS = 2**28
_LAST = _BITS - 1

FactKey = tuple[str, str, str, str]
"""Arena, kind, key and author of a fact."""


class BloomFilter:
    """The keys added so far, as hashes of this process."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, keys: Iterable[FactKey]) -> list[FactKey]:
        """Add keys and return those that may have been there before."""
        bits, found = self._bits, []
        for key in keys:
            code = hash(key)
            first, second = code & _LAST, code >> 29 & _LAST
            one, two = 1 << (first & 7), 1 << (second & 7)
            first, second = first >> 3, second >> 3
            if bits[first] & one and bits[second] & two:
                found.append(key)
            else:
                bits[first] |= one
                bits[second] |= two
        return found
