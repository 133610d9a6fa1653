#!/usr/bin/env python3
"""Training speed of the same decoder in PyTorch on the CPU, as one JSON line.

Same shapes, same arithmetic (RMSNorm, rotary positions, SwiGLU, causal attention,
AdamW with gradient clipping), float32, batch of 16 sequences of random tokens.
Every speed-up that PyTorch offers for this on a CPU is on: fused scaled-dot-product
attention, fused query-key-value and gate-up products, the fused AdamW, the fused RMSNorm;
`--compile` adds TorchInductor (needs a C++ compiler). The rate is that of the
fastest step, since other processes only ever add time.
"""

import argparse
import json
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

SEQUENCES = 16

SHAPES = {
    "d128-l3-v1024": dict(vocabulary=1024, width=128, layers=3, heads=4, hidden=352, sequence=96),
    "d128-l4-v2048": dict(vocabulary=2048, width=128, layers=4, heads=4, hidden=352, sequence=96),
    "d256-l4-v512": dict(vocabulary=512, width=256, layers=4, heads=4, hidden=704, sequence=96),
}


def rotate(x, cosine, sine):
    """Turns the pairs (x_i, x_{i + half}) by their position's angles."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1)


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.RMSNorm(width, eps=1e-5)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cosine, sine):
        b, s, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(b, s, d))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, vocabulary, width, layers, heads, hidden, sequence):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)
        half = width // heads // 2
        angles = torch.outer(torch.arange(sequence), 10_000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cosine, self.sine)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def measure(shape, seconds, compiled):
    torch.manual_seed(1)
    sizes = SHAPES[shape]
    model = Decoder(**sizes)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    rows = torch.randint(sizes["vocabulary"], (SEQUENCES, sizes["sequence"] + 1))
    tokens, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    loss_of = torch.compile(model) if compiled else model

    def step():
        loss = loss_of(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    first = step().item()
    assert abs(first - math.log(sizes["vocabulary"])) < 1.5, first
    for _ in range(3):
        step()
    fastest, steps, start = math.inf, 0, time.perf_counter()
    while steps < 5 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        step()
        fastest = min(fastest, time.perf_counter() - begin)
        steps += 1
    return {
        "shape": shape,
        "torch": torch.__version__,
        "compiled": compiled,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in parameters),
        "steps": steps,
        "tokens_per_second": tokens.numel() / fastest,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="d128-l3-v1024")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(measure(arguments.shape, arguments.seconds, arguments.compile)))


if __name__ == "__main__":
    main()
