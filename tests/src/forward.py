"""The decoder again, in numpy, from an exported model: shares no code with the program that trained it.

    forward.py FOLDER    compares the logits of model.safetensors with those in probe.json, prints the largest difference
"""

import json
import pathlib
import sys

import numpy
from safetensors.numpy import load_file


def norm(x, gain, epsilon):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * gain


def rotate(x, base):
    """Turns the pairs (x_i, x_{i + half}) of every head by their position's angles."""
    positions, _, size = x.shape
    half = size // 2
    angles = numpy.arange(positions)[:, None] * base ** (-numpy.arange(half) / half)
    cosine, sine = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]
    low, high = x[..., :half], x[..., half:]
    return numpy.concatenate((low * cosine - high * sine, high * cosine + low * sine), -1)


def attend(x, qkv, config):
    positions, width = x.shape
    parts = (x @ qkv.T).reshape(positions, 3, config["heads"], width // config["heads"])
    q, k = (rotate(parts[:, which], config["rope_base"]) for which in (0, 1))
    scores = numpy.einsum("phs,khs->hpk", q, k) / numpy.sqrt(q.shape[-1])
    scores[:, numpy.triu(numpy.ones((positions, positions), bool), 1)] = -numpy.inf
    weights = numpy.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return numpy.einsum("hpk,khs->phs", weights, parts[:, 2]).reshape(positions, width)


def forward(weights, config, tokens):
    weights = {name: value.astype(numpy.float64) for name, value in weights.items()}
    x, epsilon = weights["embedding"][tokens], config["norm_epsilon"]
    for layer in range(config["layers"]):
        at = lambda name: weights[f"blocks.{layer}.{name}"]
        x = x + attend(norm(x, at("norm1"), epsilon), at("qkv"), config) @ at("out").T
        gate, up = numpy.split(norm(x, at("norm2"), epsilon) @ at("gate_up").T, 2, axis=-1)
        x = x + (gate / (1 + numpy.exp(-gate)) * up) @ at("down").T
    head = weights["embedding" if config["tied_head"] else "head"]
    return norm(x, weights["final_norm"], epsilon)[-1] @ head.T


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    config = json.loads((folder / "config.json").read_text())
    probe = json.loads((folder / "probe.json").read_text())
    logits = forward(load_file(folder / "model.safetensors"), config, probe["tokens"])
    print(float(numpy.abs(logits - numpy.array(probe["logits"])).max()))
