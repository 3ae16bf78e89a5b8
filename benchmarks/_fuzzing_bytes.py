"""Changes of any bytes; it imports nothing, so that a child process that reads one file begins at once."""

import random

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
WORDS = (b",", b"\n", b'"', b"nan", b"inf", b"-1", b"1e999", b"\0", b"\xef\xbb\xbf", b"..", b"/", b"[", b"{", b"}")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to eight changes: bits, bytes, lengths (32 and 64 bits), pieces cut out, doubled, moved, and ends cut off."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not found:
            return bytes(found)
        at, kind = rng.randrange(len(found)), rng.randrange(9)
        if rng.random() < 0.4:  # headers are where a parser decides
            at = rng.randrange(min(len(found), 512))
        if kind == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[at] = rng.choice(INTERESTING)
        elif kind == 2:
            found[at] = rng.randrange(256)
        elif kind == 3:
            n = rng.choice((4, 8))
            found[at : at + n] = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1)).to_bytes(
                n, rng.choice(("little", "big"))
            )
        elif kind == 4:
            del found[at : at + rng.choice((1, 4, 64, 1024))]
        elif kind == 5:
            piece = found[at : at + rng.choice((1, 8, 200))]
            found[at:at] = piece * rng.choice((1, 2, 50))
        elif kind == 6:
            found[at:at] = rng.choice(WORDS)
        elif kind == 7:
            other = rng.randrange(len(found))
            n = rng.choice((1, 16, 128))
            found[at : at + n] = found[other : other + n]
        else:
            del found[at:]
    return bytes(found)
