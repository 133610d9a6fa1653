#!/usr/bin/env python3
"""Compares the logits of an exported model in PyTorch with those that Plumbline gave.

    plumbline train export CHECKPOINT --out model/model.safetensors --probe "fn main"
    bench/pytorch/logits.py model

Prints one JSON line with the largest difference; needs torch and safetensors.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file
from train_speed import Decoder

NAMES = ("norm1", "qkv", "out", "norm2", "gate_up", "down")


def load(folder):
    config = json.loads((folder / "config.json").read_text())
    if config["rope_base"] != 10_000 or abs(config["norm_epsilon"] - 1e-5) > 1e-9:
        raise SystemExit("this decoder has a rope_base of 10,000 and a norm_epsilon of 1e-5")
    tensors = load_file(folder / "model.safetensors")
    sizes = ("vocabulary", "width", "layers", "heads", "hidden", "sequence")
    model = Decoder(**{name: config[name] for name in sizes})
    head = tensors["embedding" if config["tied_head"] else "head"]
    state = {"embedding.weight": tensors["embedding"], "norm.weight": tensors["final_norm"], "head.weight": head}
    for layer in range(config["layers"]):
        for name in NAMES:
            state[f"blocks.{layer}.{name}.weight"] = tensors[f"blocks.{layer}.{name}"]
    model.load_state_dict(state, strict=False)
    return model.eval()


@torch.no_grad()
def logits(model, tokens):
    x = model.embedding(torch.tensor([tokens]))
    cosine, sine = model.cosine[: len(tokens)], model.sine[: len(tokens)]
    for block in model.blocks:
        x = block(x, cosine, sine)
    return model.head(model.norm(x))[0, -1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    probe = json.loads((folder / "probe.json").read_text())
    ours = logits(load(folder), probe["tokens"])
    difference = (ours - torch.tensor(probe["logits"])).abs().max().item()
    print(json.dumps({"tokens": len(probe["tokens"]), "logits": len(ours), "largest_difference": difference}))
