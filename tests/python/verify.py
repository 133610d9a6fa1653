#!/usr/bin/env python3
"""A second verifier of what a Plumbline service signs and logs, written from docs/ alone. Needs `cryptography`.

    verify.py URL --token TOKEN --key BASE64 [--key BASE64 ...] [--kept FILE]

Checks the signatures of all current decisions and their places in the log, recomputes the whole log, and that it begins
with the checkpoint in FILE, where the newest one is then kept. Prints what it checked as JSON; exits with 1 at the
first thing that does not hold.
"""
import argparse, base64, hashlib, json, os, sys, urllib.request
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TYPE = b"application/vnd.plumbline.allocation+json"


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf(text):
    return sha(b"\0", text.encode())


def node(left, right):
    return sha(b"\1", left, right)


def root(leaves):
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root(leaves[:k]), root(leaves[k:]))


def included(top, hash, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    at, last = index, size - 1
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            hash = node(sibling, hash)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hash = node(hash, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hash == top


def consistent(old_size, old, size, top, path):
    """RFC 9162, section 2.1.4.2."""
    if old_size == size:
        return old == top and not path
    if old_size == 0:
        return not path
    path = list(path) if old_size & (old_size - 1) else [old, *path]
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    left = right = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            left, right = node(sibling, left), node(sibling, right)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            right = node(right, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and left == old and right == top


def good(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except InvalidSignature:
        return False


def opened(note, keys):
    """Size and root of a checkpoint that one of the keys signed."""
    text, lines = note.split("\n\n")
    text += "\n"
    origin, size, top = text.splitlines()
    for line in lines.splitlines():
        dash, name, data = line.split(" ")
        raw = base64.b64decode(data, validate=True)
        for key in keys:
            named = sha(name.encode(), b"\n\1", key)[:4]
            if dash == "\u2014" and name == origin and raw[:4] == named and good(key, raw[4:], text.encode()):
                return int(size), base64.b64decode(top, validate=True)
    raise SystemExit("no known key signed the checkpoint")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--token", required=True)
    parser.add_argument("--key", action="append", required=True)
    parser.add_argument("--kept")
    args = parser.parse_args()
    keys = [base64.b64decode(key, validate=True) for key in args.key]

    def ask(path):
        request = urllib.request.Request(args.url + "/api/v1" + path, headers={"Authorization": "Bearer " + args.token})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def require(holds, what):
        if not holds:
            raise SystemExit(what + " does not hold")

    hashes = lambda proof: [base64.b64decode(one, validate=True) for one in proof["hashes"]]
    decisions = ask("/allocations")["items"]
    for item in decisions:
        envelope = item["envelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        message = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(payload), payload)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
        require(any(good(key, one, message) for key in keys for one in signatures), "the signature of a decision")
        decision = json.loads(payload)
        proof = ask("/allocations/" + decision["decision_id"])["proof"]
        size, top = opened(proof["checkpoint"], keys)
        require(size == proof["size"], "the size of a proof")
        require(included(top, leaf(proof["entry"]), proof["index"], size, hashes(proof)), "the place of a decision")
        entry = json.loads(proof["entry"].split("\n", 5)[5])
        require(entry["payload_sha256"] == hashlib.sha256(payload).hexdigest(), "the digest of a decision")
    size, top = opened(ask("/log/checkpoint")["note"], keys)
    entries = []
    while len(entries) < size:
        entries += [one["entry"] for one in ask(f"/log/entries?start={len(entries)}&limit=500")["items"]]
    leaves = [leaf(one) for one in entries[:size]]
    require(root(leaves) == top, "the root of the log")
    for index in range(0, size, max(1, size // 16)):
        proof = ask(f"/log/proof?index={index}&size={size}")
        require(proof["entry"] == entries[index], "an entry")
        require(included(top, leaves[index], index, size, hashes(proof)), "an inclusion proof")
    before = None
    if args.kept and os.path.exists(args.kept):
        with open(args.kept) as file:
            before, old = opened(file.read(), keys)
        proof = ask(f"/log/consistency?from={before}&to={size}")
        require(consistent(before, old, size, top, hashes(proof)), "the consistency of the log")
        require(root(leaves[:before]) == old, "the beginning of the log")
    if args.kept:
        with open(args.kept, "w") as file:
            file.write(ask(f"/log/proof?index={size - 1}&size={size}")["checkpoint"])
    json.dump({"decisions": len(decisions), "entries": size, "before": before}, sys.stdout)


main()
