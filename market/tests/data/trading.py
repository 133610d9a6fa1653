"""Writes trading.json beside this script.

Independent high-precision values for fees, runs of resting orders and the cost of holding a price
at a threshold: mpmath at 60 digits, from the integral definitions, and exact rationals for fees.

    pip install mpmath && python trading.py
"""

import json
import pathlib
from fractions import Fraction

import mpmath as mp

mp.mp.dps = 60
HERE = pathlib.Path(__file__).parent
MICRO = 10**6


def exact(text):
    """The double that a reader of `text` gets, as a high-precision number."""
    return mp.mpf(float(text))


def logit(p):
    return mp.log(p / (1 - p))


def ceil(x):
    return -((-x.numerator) // x.denominator)


def fee(cost, bps):
    return ceil(Fraction(abs(cost) * bps, 10_000))


def fees():
    """Both fees of a cost, and the most of a budget that they leave for shares, by search."""
    rows = []
    for trade, creator in [(0, 0), (1, 0), (10, 25), (100, 50), (333, 7), (500, 500)]:
        for amount in [1, 2, 19, 20, 9_999, 10_000, 1_234_567, 10**9 + 7, 10**15 + 1]:
            total = lambda cost: cost + fee(cost, trade) + fee(cost, creator)
            low, high = 0, amount
            while low < high:
                middle = (low + high + 1) // 2
                if total(middle) <= amount:
                    low = middle
                else:
                    high = middle - 1
            rows.append(
                {
                    "trade_bps": trade,
                    "creator_bps": creator,
                    "amount": amount,
                    "trade_fee": fee(amount, trade),
                    "creator_fee": fee(amount, creator),
                    "within": low,
                }
            )
    return rows


def runs():
    """An order that takes the whole way from p to its limit: shares, and what they cost or bring in."""
    rows = []
    for p_text, limit_text in [
        ("0.5", "0.6"), ("0.3", "0.4"), ("0.1", "0.9"), ("0.62", "0.65"), ("0.02", "0.98"), ("0.9", "0.95"),
    ]:
        for liquidity in [10, 100, 2500]:
            p, limit, b = exact(p_text), exact(limit_text), mp.mpf(liquidity * MICRO)
            # Integer shares, as the market keeps them, and from there the exact price reached.
            shares = int(mp.floor(b * (logit(limit) - logit(p))))
            reached = 1 / (1 + mp.exp(-(logit(p) + shares / b)))
            rows.append(
                {
                    "p": float(p_text),
                    "limit": float(limit_text),
                    "liquidity": liquidity * MICRO,
                    "shares": shares,
                    "reached": float(mp.nstr(reached, 25)),
                    # Buying YES up to the limit; rounded up.
                    "buy_yes": int(mp.ceil(b * mp.log((1 - p) / (1 - reached)))),
                    # Selling NO instead moves the price the same way; proceeds rounded down.
                    "sell_no": int(mp.floor(b * mp.log(reached / p))),
                }
            )
    return rows


def costs():
    """b·KL(p‖t) in micro-credits, rounded down."""
    rows = []
    for p_text in ["0.005", "0.1", "0.35", "0.5", "0.8", "0.968", "0.995"]:
        for t_text in ["0.2", "0.5", "0.6", "0.8", "0.995"]:
            p, t = exact(p_text), exact(t_text)
            divergence = p * mp.log(p / t) + (1 - p) * mp.log((1 - p) / (1 - t))
            for liquidity in [50, 1000]:
                cost = liquidity * MICRO * divergence
                rows.append(
                    {
                        "p": float(p_text),
                        "threshold": float(t_text),
                        "liquidity": liquidity * MICRO,
                        "cost": int(mp.floor(max(cost, mp.mpf(0)))),
                        # The same from its definition: the expected loss of whoever moves p to t.
                        "expected_loss": float(
                            mp.nstr(-liquidity * MICRO * (p * mp.log(t / p) + (1 - p) * mp.log((1 - t) / (1 - p))), 25)
                        ),
                    }
                )
    return rows


(HERE / "trading.json").write_text(json.dumps({"fees": fees(), "runs": runs(), "costs": costs()}, indent=1) + "\n")
