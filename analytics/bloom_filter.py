"""A Bloom filter over the keys of facts: a key is certainly new, or must be looked up.

A fact whose key was there before does not count. Such facts are rare, because the server refuses them, and looking up
every key in a million rows would cost more than all else (B. Bloom, Communications of the ACM 13(7), 1970). A lookup
reads the keys of all facts, so at ten million a write may seldom need one: a key is three bits in each of two of 2**23
words of 64 bits (64 MB), and one in 60,000 new keys is looked up there, some one for twelve writes.
"""

from array import array
from collections.abc import Iterable

_WORDS = 2**23
_LAST = _WORDS - 1

FactKey = tuple[str, str, str, str]
"""Arena, kind, key and author of a fact."""


class BloomFilter:
    """The keys added so far, as hashes of this process."""

    def __init__(self) -> None:
        self._words = array("Q", bytes(8 * _WORDS))

    def add(self, keys: Iterable[FactKey]) -> list[FactKey]:
        """Add keys and return those that may have been there before."""
        words, found = self._words, []
        for key in keys:
            code = hash(key)
            bits = 1 << (code >> 46 & 63) | 1 << (code >> 52 & 63) | 1 << ((code ^ code >> 23) & 63)
            first, second = code & _LAST, code >> 23 & _LAST
            if words[first] & bits == bits and words[second] & bits == bits:
                found.append(key)
            else:
                words[first] |= bits
                words[second] |= bits
        return found
