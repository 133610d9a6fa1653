"""Writes sortition.json beside this script.

Draws, commitments and rulings of panels, recomputed from the documentation of
`market/src/sortition.rs` and `market/src/panel/vote.rs` alone, with a BLAKE3 written here from
its paper, so that nothing is shared with the program but the formulas.

    python sortition.py
"""

import json
import pathlib
import random
import struct
from fractions import Fraction

HERE = pathlib.Path(__file__).parent
IV = [
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
]
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF


def rotate(x, n):
    return (x >> n | x << (32 - n)) & MASK


def mix(v, a, b, c, d, x, y):
    v[a] = (v[a] + v[b] + x) & MASK
    v[d] = rotate(v[d] ^ v[a], 16)
    v[c] = (v[c] + v[d]) & MASK
    v[b] = rotate(v[b] ^ v[c], 12)
    v[a] = (v[a] + v[b] + y) & MASK
    v[d] = rotate(v[d] ^ v[a], 8)
    v[c] = (v[c] + v[d]) & MASK
    v[b] = rotate(v[b] ^ v[c], 7)


def compress(chaining, block, counter, length, flags):
    v = chaining + IV[:4] + [counter & MASK, counter >> 32, length, flags]
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    for turn in range(7):
        for i in range(4):
            mix(v, i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1])
        for i in range(4):
            mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[p] for p in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ chaining[i] for i in range(8)]


def chunk(data, counter, root):
    blocks = [data[i:i + 64] for i in range(0, len(data), 64)] or [b""]
    chaining = IV
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        flags = (CHUNK_START if i == 0 else 0) | (CHUNK_END if last else 0)
        flags |= ROOT if last and root else 0
        chaining = compress(chaining, block, counter, len(block), flags)[:8]
    return chaining


def tree(data, counter, root):
    if len(data) <= 1024:
        return chunk(data, counter, root)
    chunks = (len(data) + 1023) // 1024
    left = 1 << ((chunks - 1).bit_length() - 1)
    a = tree(data[:left * 1024], counter, False)
    b = tree(data[left * 1024:], counter + left, False)
    block = struct.pack("<16I", *(a + b))
    return compress(IV, block, 0, 64, PARENT | (ROOT if root else 0))[:8]


def blake3(data):
    return struct.pack("<8I", *tree(data, 0, True))


assert blake3(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def words(seed):
    i = 0
    while True:
        yield int.from_bytes(blake3(b"plumbline sortition v1" + seed + struct.pack("<Q", i))[:8], "little")
        i += 1


def draw(seed, candidates, seats):
    left = [list(one) for one in candidates]
    stream, drawn = words(seed), []
    for _ in range(seats):
        total = sum(weight for _, weight in left)
        word = next(stream)
        while word >= 2**64 - 2**64 % total:
            word = next(stream)
        x = word % total
        for one in left:
            if x < one[1]:
                drawn.append(one[0])
                one[1] = 0
                break
            x -= one[1]
    return drawn


def subseed(seeds, purpose):
    return blake3(b"plumbline subseed v1" + bytes([len(seeds)]) + b"".join(seeds) + purpose.encode())


def weight(stake, cap, right, cases):
    ppm = Fraction((1 + right) * 10**6, 2 + cases).__floor__()
    return max(min(stake, cap), 0) * ppm // 10**6


def commitment(panel, account, vote, nonce, justification):
    data = b"plumbline panel vote v1"
    for text in (panel, account):
        data += struct.pack(">I", len(text.encode())) + text.encode()
    data += struct.pack(">H", 0xFFFF if vote is None else vote)
    return blake3(data + nonce + blake3(justification.encode()))


def ruling(votes, seats):
    if not votes or 3 * len(votes) < 2 * seats:
        return "no_quorum"
    votes = sorted(votes)
    low, high = votes[(len(votes) - 1) // 2], votes[len(votes) // 2]
    if high - low > 1000:
        return "tie"
    return (low + high) * 50_000


def main():
    rng = random.Random(20261122)
    seed = lambda: rng.randbytes(32)
    draws = []
    for n in [1, 2, 3, 5, 8, 20, 50]:
        for scale in [1, 10, 10**8, 2**63 // n]:
            one = seed()
            candidates = [(f"account-{i:03}", rng.randrange(1, scale + 1)) for i in range(n)]
            seats = rng.randrange(1, n + 1)
            draws.append({
                "seed": one.hex(),
                "candidates": [{"account": a, "weight": w} for a, w in candidates],
                "drawn": draw(one, candidates, seats),
            })
    subseeds = []
    for n in range(4):
        seeds = [seed() for _ in range(n)]
        purpose = f"settlement:market-{n}:{n}"
        subseeds.append({
            "seeds": [one.hex() for one in seeds],
            "purpose": purpose,
            "subseed": subseed(seeds, purpose).hex(),
        })
    weights = []
    for _ in range(40):
        cases = rng.randrange(0, 60)
        right = rng.randrange(0, cases + 1)
        stake, cap = rng.randrange(-10, 10**rng.randrange(1, 18)), 10**rng.randrange(1, 18)
        weights.append({"stake": stake, "cap": cap, "right": right, "cases": cases,
                        "weight": weight(stake, cap, right, cases)})
    commitments = []
    for vote, justification in [(0, ""), (10_000, "yes"), (2_500, "ü" * 2_000), (None, "It does not say.")]:
        nonce = seed()
        panel, account = f"panel-{vote}", "0199-añada"
        commitments.append({
            "panel": panel, "account": account, "vote": vote, "nonce": nonce.hex(),
            "justification": justification,
            "commitment": commitment(panel, account, vote, nonce, justification).hex(),
        })
    rulings = []
    for seats in [1, 3, 5, 7, 15, 31]:
        for _ in range(12):
            count = rng.randrange(0, seats + 1)
            centre = rng.randrange(0, 10_001)
            spread = rng.choice([10, 900, 3_000, 10_000])
            votes = [min(max(centre + rng.randrange(-spread, spread + 1), 0), 10_000) for _ in range(count)]
            rulings.append({"seats": seats, "votes": votes, "ruling": ruling(votes, seats)})
    data = {"draws": draws, "subseeds": subseeds, "weights": weights, "commitments": commitments, "rulings": rulings}
    (HERE / "sortition.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


main()
