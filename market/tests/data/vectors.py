"""Writes lmsr.json and statistics.json beside this script.

Independent high-precision values for the market's formulas and exact tests:
mpmath at 60 digits for the scoring rule, scipy (and exact rationals) for the statistics.

    pip install mpmath scipy && python vectors.py
"""

import json
import pathlib
from fractions import Fraction
from math import comb

import mpmath as mp
from scipy import stats

mp.mp.dps = 60
HERE = pathlib.Path(__file__).parent
PROBABILITIES = ["0.005", "0.02", "0.1", "0.3", "0.5", "0.7", "0.9", "0.98", "0.995"]


def number(x):
    """The nearest double of a high-precision number, with all its digits."""
    return float(mp.nstr(x, 25))


def exact(text):
    """The double that a reader of `text` gets, as a high-precision number."""
    return mp.mpf(float(text))


def logit(p):
    return mp.log(p / (1 - p))


def moves():
    """Share, cost and payoff of moves p -> q at liquidity b, from the integral definitions."""
    rows = []
    for p_text in PROBABILITIES:
        for q_text in PROBABILITIES:
            if p_text == q_text:
                continue
            p, q = exact(p_text), exact(q_text)
            for b in [1, 10, 2500000]:
                row = {"p": float(p_text), "q": float(q_text), "b": b}
                row["shares"] = number(b * (logit(q) - logit(p)))
                up, down = mp.log((1 - p) / (1 - q)), mp.log(p / q)
                row["collateral"] = number(b * max(up, down))
                row["payoff_at"] = {
                    str(pi): number(b * (mp.mpf(pi) * mp.log(q / p) + (1 - mp.mpf(pi)) * mp.log((1 - q) / (1 - p))))
                    for pi in [0, 0.25, 0.8125, 1]
                }
                row["kl"] = number(p * mp.log(p / q) + (1 - p) * mp.log((1 - p) / (1 - q)))
                rows.append(row)
    return rows


def spends():
    """Shares for a spend, their cost, and the proceeds of selling them, at price p."""
    rows = []
    for p_text in PROBABILITIES:
        p = exact(p_text)
        for b in [1, 100000000]:
            for ratio in ["1e-8", "0.001", "0.1", "1", "4"]:
                x = mp.mpf(float(ratio) * b)
                s = b * mp.log((mp.exp(x / b) - 1) / p + 1)
                sold = mp.mpf(number(s))
                rows.append(
                    {
                        "p": float(p_text),
                        "b": b,
                        "spend": number(x),
                        "shares": number(s),
                        "proceeds": number(-b * mp.log(1 + p * (mp.exp(-sold / b) - 1))),
                    }
                )
    return rows


def outcomes():
    """Cost function and prices over n outcomes."""
    rows = []
    for quantities, b in [([0, 0], 1), ([10, 0, -3], 7.5), ([1e6, 999990, 999000, 0], 10), ([3], 2), ([-800, 800], 1)]:
        exps = [mp.exp(mp.mpf(q) / mp.mpf(b)) for q in quantities]
        rows.append(
            {
                "quantities": [float(q) for q in quantities],
                "b": b,
                "cost": number(mp.mpf(b) * mp.log(mp.fsum(exps))),
                "prices": [number(e / mp.fsum(exps)) for e in exps],
            }
        )
    return rows


def fisher():
    """One-sided Fisher tests; exact rationals, compared with scipy here."""
    rows = []
    tables = [
        (3, 4, 1, 4), (8, 8, 0, 16), (16, 16, 0, 112), (12, 16, 5, 112), (1, 16, 0, 112), (0, 16, 3, 112),
        (16, 16, 112, 112), (5, 10, 5, 10), (40, 64, 90, 448), (200, 256, 100, 1792), (500, 1000, 4500, 9000),
        (560, 1000, 4500, 9000), (1, 1, 0, 1), (7, 8, 55, 56), (30, 32, 700, 992),
    ]
    for hits, trials, rest_hits, rest_trials in tables:
        total, marked = trials + rest_trials, hits + rest_hits
        tail = sum(comb(trials, k) * comb(rest_trials, marked - k) for k in range(hits, min(trials, marked) + 1))
        p = Fraction(tail, comb(total, marked))
        table = [[hits, trials - hits], [rest_hits, rest_trials - rest_hits]]
        scipy_p = stats.fisher_exact(table, alternative="greater").pvalue
        assert abs(scipy_p - float(p)) <= 1e-9 * float(p) + 1e-300, (table, scipy_p, float(p))
        rows.append({"arm": [hits, trials], "rest": [rest_hits, rest_trials], "p": float(p)})
    return rows


def clopper_pearson():
    rows = []
    for hits, trials in [(0, 1), (1, 1), (0, 16), (8, 16), (16, 16), (3, 112), (50, 1000), (999, 1000), (5000, 100000)]:
        for level in [0.9, 0.95, 0.99]:
            ci = stats.binomtest(hits, trials).proportion_ci(confidence_level=level, method="exact")
            rows.append({"hits": hits, "trials": trials, "level": level, "low": float(ci.low), "high": float(ci.high)})
    return rows


def holm():
    rows = []
    for p in [[0.04, 0.01, 0.03, 0.005], [0.2], [0.5, 0.6, 0.01], [1e-9, 1e-9, 0.5, 0.04, 0.04]]:
        order = sorted(range(len(p)), key=lambda i: p[i])
        adjusted, running = [0.0] * len(p), 0.0
        for rank, i in enumerate(order):
            running = max(running, (len(p) - rank) * p[i])
            adjusted[i] = min(1.0, running)
        rows.append({"p": p, "adjusted": adjusted})
    return rows


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=1) + "\n")


write("lmsr.json", {"moves": moves(), "spends": spends(), "outcomes": outcomes()})
write("statistics.json", {"fisher": fisher(), "clopper_pearson": clopper_pearson(), "holm": holm()})
