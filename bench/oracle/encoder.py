#!/usr/bin/env python3
"""Embeddings per second of this encoder beside ONNX Runtime's, in turns, with the same weights and tokens.

ONNX Runtime gets its transformer fusions (attention, layer norm, GELU) and, for int8, its dynamic quantisation by
channel. Its batches are padded to their longest sequence, and sequences are sorted by length first.
"""

import argparse
import json
import os
import pathlib
import subprocess
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Ours:
    """The engines of this repository, in their own process, which waits while it is not asked."""

    def __init__(self, binary):
        self.child = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, **command):
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Theirs:
    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {one.name: np.int32 if "int32" in one.type else np.int64 for one in self.session.get_inputs()}

    def embed(self, sequences, batch):
        """Seconds, and the normalised means of the last hidden states."""
        started = time.perf_counter()
        order = sorted(range(len(sequences)), key=lambda at: -len(sequences[at]))
        found = [None] * len(sequences)
        for start in range(0, len(order), batch):
            own = order[start : start + batch]
            width = max(len(sequences[at]) for at in own)
            ids, mask = np.zeros((len(own), width), np.int64), np.zeros((len(own), width), np.int64)
            for row, at in enumerate(own):
                ids[row, : len(sequences[at])] = sequences[at]
                mask[row, : len(sequences[at])] = 1
            given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            given = {name: given[name].astype(kind) for name, kind in self.inputs.items()}
            hidden = self.session.run(None, given)[0]
            weight = mask[:, :, None].astype(np.float32)
            means = (hidden * weight).sum(1) / weight.sum(1)
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            for row, at in enumerate(own):
                found[at] = means[row]
        return time.perf_counter() - started, np.array(found)


def export(model, folder):
    """The ONNX graphs of the model, made once."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from transformers import AutoModel

    plain, fused, int8 = (folder / f"minilm{end}.onnx" for end in ("", "_fused", "_int8"))
    if not int8.exists():
        folder.mkdir(parents=True, exist_ok=True)
        inner = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

        class Hidden(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, input_ids, attention_mask):
                return self.inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

        ids, axes = torch.ones(2, 16, dtype=torch.long), {0: "batch", 1: "length"}
        names = ["input_ids", "attention_mask"]
        torch.onnx.export(Hidden(), (ids, ids), str(plain), input_names=names, output_names=["hidden"],
                          dynamic_axes={name: axes for name in names + ["hidden"]}, opset_version=17, dynamo=False)
        config = inner.config
        optimizer.optimize_model(str(plain), model_type="bert", num_heads=config.num_attention_heads,
                                 hidden_size=config.hidden_size).save_model_to_file(str(fused))
        quantize_dynamic(str(fused), str(int8), weight_type=QuantType.QInt8, per_channel=True,
                         extra_options={"DefaultTensorType": 1})
    return {"f32": fused, "int8": int8}


def workloads(tokenizer, files):
    """Sequences of tokens by name: one of fixed length, and the texts of the given files."""
    words = tokenizer.encode("It is a long way from the first word of a text to its last one. " * 40).ids
    loads = {"128 tokens": ([words[:127] + words[-1:]] * 16, 8)}
    for path in files:
        texts = [json.loads(line)["response"] for line in pathlib.Path(path).read_text().splitlines()]
        texts = texts[:: max(1, len(texts) // 48)][:48]
        loads[pathlib.Path(path).stem] = ([one.ids for one in tokenizer.encode_batch(texts)], 16)
    return loads


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True, help="folder of the encoder")
    parser.add_argument("--onnx", default=str(pathlib.Path(__file__).parent / ".onnx"))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("files", nargs="*", help="JSON lines with a field `response`")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(pathlib.Path(arguments.model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    graphs = export(arguments.model, pathlib.Path(arguments.onnx))
    theirs = {kind: Theirs(path, arguments.threads) for kind, path in graphs.items()}
    ours = {kind: Ours(arguments.binary) for kind in graphs}
    for kind, engine in ours.items():
        engine(do="encoder", model=arguments.model, precision=kind, threads=arguments.threads)
    print(f"{os.cpu_count()} cores, {arguments.threads} threads, best of {arguments.rounds} rounds, texts/s\n")
    print("| texts | tokens | Plumbline int8 | Plumbline f32 | ORT int8 | ORT f32 | int8/int8 | f32/f32 | int8/f32 | cosine of int8, mean (least) | of ORT int8 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|")
    for name, (sequences, batch) in workloads(tokenizer, arguments.files).items():
        best, rows = {}, {}
        for _ in range(arguments.rounds):
            for kind in graphs:
                taken = ours[kind](do="embed", sequences=sequences, show="ours" + kind not in rows)
                if taken["embeddings"]:
                    rows["ours" + kind] = np.array(taken["embeddings"])
                best["ours" + kind] = min(best.get("ours" + kind, 1e9), taken["seconds"])
                seconds, rows["theirs" + kind] = theirs[kind].embed(sequences, batch)
                best["theirs" + kind] = min(best.get("theirs" + kind, 1e9), seconds)
        rate = {kind: len(sequences) / seconds for kind, seconds in best.items()}
        exact = rows["theirsf32"]
        assert (rows["oursf32"] * exact).sum(1).min() > 0.9999, "the two do not compute the same"
        cosine = {kind: (rows[kind] * exact).sum(1) for kind in ("oursint8", "theirsint8")}
        cells = [name, f"{sum(map(len, sequences)) / len(sequences):.0f}"]
        cells += [f"{rate[kind]:.1f}" for kind in ("oursint8", "oursf32", "theirsint8", "theirsf32")]
        cells += [f"{rate[a] / rate[b]:.2f}×" for a, b in
                  (("oursint8", "theirsint8"), ("oursf32", "theirsf32"), ("oursint8", "theirsf32"))]
        cells += [f"{of.mean():.5f} ({of.min():.4f})" for of in cosine.values()]
        print("| " + " | ".join(cells) + " |", flush=True)
    for engine in ours.values():
        engine.close()


if __name__ == "__main__":
    main()
