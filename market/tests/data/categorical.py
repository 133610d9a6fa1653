"""Writes categorical.json beside this script: markets of several outcomes.

Independent high-precision values, mpmath at 60 digits: prices, the cost of a trade, the
shares of a spend, and the subsidy, from the cost function C(q) = b ln(sum p0_i exp(q_i/b)).
Liquidity, shares and spends are integers (micro-credits, micro-shares), opening prices are doubles.

    pip install mpmath && python categorical.py
"""

import json
import pathlib
import random

import mpmath as mp

mp.mp.dps = 60
HERE = pathlib.Path(__file__).parent
RANDOM = random.Random(20261122)


def number(x):
    """The nearest double of a high-precision number, with all its digits."""
    return float(mp.nstr(x, 25))


def potential(opening, b, shares):
    terms = [mp.mpf(p) * mp.exp(mp.mpf(q) / b) for p, q in zip(opening, shares)]
    return b * mp.log(mp.fsum(terms))


def prices(opening, b, shares):
    terms = [mp.mpf(p) * mp.exp(mp.mpf(q) / b) for p, q in zip(opening, shares)]
    total = mp.fsum(terms)
    return [term / total for term in terms]


def opening_of(n, even):
    if even:
        return [1.0 / n] * n
    weights = [RANDOM.uniform(0.2, 3.0) for _ in range(n)]
    return [weight / sum(weights) for weight in weights]


def state(n, b, even, reach):
    """A market with some history, and trades on it; costs and the subsidy are rounded up."""
    opening = opening_of(n, even)
    shares = [RANDOM.randrange(0, max(1, int(b * reach))) for _ in range(n)]
    shares[RANDOM.randrange(n)] = 0
    before = potential(opening, b, shares)
    trades = []
    for _ in range(6):
        outcome = RANDOM.randrange(n)
        size = RANDOM.choice([1, 7, b // 1000, b // 10, b // 2, b])
        if RANDOM.random() < 0.4:
            size = -min(size, shares[outcome])
        if size == 0:
            continue
        moved = list(shares)
        moved[outcome] += size
        cost = potential(opening, b, moved) - before
        row = {"outcome": outcome, "shares": size, "charge": int(mp.ceil(cost))}
        row["price_after"] = number(prices(opening, b, moved)[outcome])
        if size > 0:
            # What the ceiling of that cost buys: s = b log(1 + (exp(x/b) - 1)/p).
            spend = mp.ceil(cost)
            price = prices(opening, b, shares)[outcome]
            row["spend"] = int(spend)
            row["bought"] = number(b * mp.log(1 + (mp.exp(spend / b) - 1) / price))
        trades.append(row)
    return {
        "opening": opening,
        "b": b,
        "shares": shares,
        "prices": [number(p) for p in prices(opening, b, shares)],
        "subsidy": int(mp.ceil(b * mp.log(mp.fsum([mp.mpf(p) for p in opening]) / min(opening)))),
        "trades": trades,
    }


STATES = [
    state(n, b, even, reach)
    for n in [2, 3, 5, 17, 64]
    for b in [1_000, 50_000_000, 100_000_000_000_000]
    for even, reach in [(True, 0), (True, 2), (False, 1), (False, 4)]
]

# Facts printed by other implementations, recomputed: see the table in docs and in lmsr.rs.
B = mp.mpf("14.4269504088")
SPEND = mp.mpf(10)
PUBLISHED = {
    "spend_10_at_half_shares": number(B * mp.log(1 + (mp.exp(SPEND / B) - 1) * 2)),
    "sell_10_of_three_quarters": number(
        -(10 / mp.log(4)) * mp.log(mp.mpf(1) / 4 + mp.mpf(3) / 4 * mp.exp(-mp.log(4)))
    ),
}
assert abs(PUBLISHED["spend_10_at_half_shares"] - 15.8496250072) < 1e-9
assert abs(PUBLISHED["sell_10_of_three_quarters"] - 5.9632253897) < 1e-9

(HERE / "categorical.json").write_text(
    json.dumps({"published": PUBLISHED, "states": STATES}, separators=(",", ":")) + "\n"
)
