#!/usr/bin/env python3
"""Tokens per second of this language-model engine beside llama.cpp's, in turns, on the same GGUF and tokens.

Reading is one prompt at once, with the scores of the token after it; writing is greedy, one token after the other.
Beside the rates: how far the two agree on the next token's probabilities.
"""

import argparse
import json
import os
import pathlib
import time

import llama_cpp
import numpy as np

from encoder import Ours

TEXT = """The reviewer was asked whether the assistant had followed the instructions that the operator gave it. She read
the transcript from its beginning, noted every place where a tool was called, and compared the answers with the logs. """


class Theirs:
    def __init__(self, path, threads):
        self.model = llama_cpp.Llama(str(path), n_ctx=2048, n_batch=2048, n_ubatch=512, n_threads=threads,
                                     n_threads_batch=threads, logits_all=False, verbose=False)

    def read(self, tokens):
        self.model.reset()
        started = time.perf_counter()
        self.model.eval(tokens)
        scores = llama_cpp.llama_get_logits_ith(self.model._ctx.ctx, -1)
        seconds = time.perf_counter() - started
        return seconds, np.ctypeslib.as_array(scores, (self.model.n_vocab(),)).astype(np.float64)

    def write(self, tokens, count):
        """Seconds for the tokens after the first, as the prompt's end gives that one."""
        self.model.reset()
        self.model.eval(tokens)
        found, started = [], time.perf_counter()
        for _ in range(count):
            scores = llama_cpp.llama_get_logits_ith(self.model._ctx.ctx, -1)
            found.append(int(np.ctypeslib.as_array(scores, (self.model.n_vocab(),)).argmax()))
            self.model.eval([found[-1]])
        return time.perf_counter() - started, found


def log_probabilities(scores):
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True, help="folder of the GGUF")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--written", type=int, default=32)
    arguments = parser.parse_args()
    path = next(pathlib.Path(arguments.model).glob("*.gguf"))
    theirs, ours = Theirs(path, arguments.threads), Ours(arguments.binary)
    ours(do="causal", model=arguments.model, threads=arguments.threads)
    tokens = theirs.model.tokenize((TEXT * 20).encode(), add_bos=True)
    same = tokens[1:] == ours(do="tokens", text=TEXT * 20)["tokens"]
    print(f"{os.cpu_count()} cores, {arguments.threads} threads, best of {arguments.rounds} rounds, tokens/s; "
          f"{'the same' if same else 'OTHER'} tokens\n")
    print("| task | Plumbline | llama.cpp | ratio | agreement |")
    print("|---|---:|---:|---:|---|")
    for length in (64, 256, 512, 1024):
        own = tokens[:length]
        best = {"ours": 1e9, "theirs": 1e9}
        for turn in range(arguments.rounds):
            answer = ours(do="next", tokens=own, show=turn == 0)
            if turn == 0:
                a = log_probabilities(np.array(answer["scores"]))
            best["ours"] = min(best["ours"], answer["seconds"])
            seconds, scores = theirs.read(own)
            best["theirs"] = min(best["theirs"], seconds)
        b = log_probabilities(scores)
        divergence = float((np.exp(b) * (b - a)).sum())
        agreement = f"KL {divergence:.4f}, first {'same' if a.argmax() == b.argmax() else 'other'}"
        mine, other = length / best["ours"], length / best["theirs"]
        print(f"| read {length} | {mine:,.0f} | {other:,.0f} | {mine / other:.2f}× | {agreement} |", flush=True)
    own, best = tokens[:32], {"ours": 1e9, "theirs": 1e9}
    for _ in range(arguments.rounds):
        one = ours(do="complete", tokens=own, count=1)["seconds"]
        answer = ours(do="complete", tokens=own, count=arguments.written + 1)
        best["ours"] = min(best["ours"], answer["seconds"] - one)
        seconds, found = theirs.write(own, arguments.written)
        best["theirs"] = min(best["theirs"], seconds)
    mine, other = (arguments.written / best[who] for who in ("ours", "theirs"))
    agreed = sum(a == b for a, b in zip(answer["tokens"], found))
    print(f"| write {arguments.written} | {mine:,.1f} | {other:,.1f} | {mine / other:.2f}× | {agreed} of {len(found)} the same |")
    ours.close()


if __name__ == "__main__":
    main()
