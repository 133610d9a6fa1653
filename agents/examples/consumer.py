#!/usr/bin/env python3
"""Reference consumer of Plumbline allocation decisions. Needs Python 3.11 and: pip install cryptography

    consumer.py URL --token TOKEN --scheduler NAME --state FILE --key BASE64 [--run UID ...] [--loosen 1] -- PROGRAM ...

PROGRAM gets each order as JSON on standard input; exit code 0 means that the run is held to its share. Only what pinned
keys signed (and keys that they vouch for) is believed, nothing older is taken, and silence never raises a share."""
import argparse, base64, datetime, json, os, subprocess, time, urllib.error, urllib.request
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DECISION, KEY = "application/vnd.plumbline.allocation+json", "application/vnd.plumbline.key+json"
STOPS = {"drain", "pause", "terminate"}

def utc(text=None):
    return datetime.datetime.fromisoformat(text) if text else datetime.datetime.now(datetime.timezone.utc)

def opened(envelope, kind, keys, now):
    """The payload and the distinct keys, in force at `now`, that signed it."""
    payload = base64.b64decode(envelope["payload"], validate=True)
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    by = set()
    for one in envelope["signatures"][:16] if envelope["payloadType"] == kind else []:
        for key, (begin, end) in keys.items():
            try:
                raw = base64.b64decode(one["sig"], validate=True)
                Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(raw, signed)
            except (InvalidSignature, ValueError):
                continue
            by |= {key} if (begin is None or utc(begin) <= now) and (end is None or now < utc(end)) else set()
    return json.loads(payload), by

def loosens(old, new):
    """Whether `new` lets the run do anything that `old` does not, or ends it for good."""
    if old is None or new["action"] == "terminate" != old["action"]:
        return True
    units, order = (old.get("max_units"), new.get("max_units")), ["allow", "throttle", "drain", "pause", "terminate"]
    return (new["share_bps"] > old["share_bps"] or None not in units and units[1] > units[0]
            or new["on_expiry"]["floor_bps"] > old["on_expiry"]["floor_bps"] or bool(new.get("inference"))
            or old["action"] in STOPS and order.index(new["action"]) < order.index(old["action"])
            or (old["mode"], new["mode"]) == ("enforce", "shadow"))

class Consumer:
    def __init__(self, args):
        self.args, self.held, self.done, self.said = args, {}, {}, set()
        self.keys = {key: (None, None) for key in args.key}
        if os.path.exists(args.state):
            state = json.load(open(args.state))
            self.held = state["held"]
            if state["pinned"] == args.key:  # With other pins the old keys count no more.
                self.keys = {key: tuple(time) for key, time in state["keys"].items()}

    def ask(self, path, body=None):
        request = urllib.request.Request(self.args.url + "/api/v1" + path, body and json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.args.token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=70) as answer:
            return json.load(answer)

    def save(self):
        with open(self.args.state + ".next", "w") as file:
            print(json.dumps({"held": self.held, "keys": self.keys, "pinned": self.args.key}), file=file, flush=True)
            os.fsync(file.fileno())
        os.replace(self.args.state + ".next", self.args.state)

    def learn(self):
        """Keys lose their time as published, and others come in when those that count vouch for them."""
        published, now = self.ask("/keys"), utc()
        for key in published * len(published):
            name, ends = key["public_key"], key["not_after"]
            if name in self.keys:
                self.keys[name] = (self.keys[name][0], min(filter(None, (self.keys[name][1], ends)), key=utc, default=None))
            elif key["statement"]:
                said, by = opened(key["statement"], KEY, self.keys, now)
                counting = [end for _, end in self.keys.values() if end is None or now < utc(end)]
                about = (said["public_key"], said["audience"]) == (name, self.args.pool)
                if about and utc(said["not_before"]) <= utc(key["not_before"]) and len(by) >= max(1, min(self.args.loosen, len(counting))):
                    self.keys[name] = (key["not_before"], ends)

    def take(self, item):
        decision, by = opened(item["envelope"], DECISION, self.keys, utc())
        uid = decision["target"]["uid"]
        old, order = self.held.get(uid), lambda one: (one["epoch"], one["generation"])
        foreign = decision["audience"] != self.args.pool or self.args.run and uid not in self.args.run
        if foreign or old and order(decision) == order(old):
            return
        if not by or len(by) < (self.args.loosen if loosens(old, decision) else 1):
            return print("not enough good signatures:", decision["decision_id"], flush=True)
        why = "expired" if utc() >= utc(decision["expires_at"]) else None
        if old and old["action"] == "terminate" != decision["action"]:
            why = "terminated"
        if old and order(decision) < order(old):
            why = "stale_epoch" if decision["epoch"] < old["epoch"] else "stale_generation"
        if why is None:
            self.held[uid] = decision
            self.save()  # Before it is acted on: a restart must never take an older one for new.
        for phase in ("received", "rejected" if why else "accepted"):
            self.acknowledge(decision, phase, None, why)

    def acknowledge(self, decision, phase, actual=None, detail=None):
        said = (decision["decision_id"], phase)
        if said not in self.said:
            try:
                self.ask("/acks", {"decision_id": said[0], "scheduler": self.args.scheduler, "phase": phase,
                                   "observed_generation": decision["generation"], "actual_bps": actual, "detail": detail})
            except urllib.error.HTTPError as error:  # A refusal is final; lost contact is not.
                if error.code >= 500:
                    raise
                print("acknowledgement refused:", error.code, phase, flush=True)
            self.said.add(said)

    def enforce(self):
        for uid, one in self.held.items():
            now = utc()
            if one["mode"] != "enforce" or now < utc(one["not_before"]):
                continue
            expired = now >= utc(one["expires_at"])
            share = min(one["share_bps"], one["on_expiry"]["floor_bps"]) if expired else one["share_bps"]
            admit = now < utc(one["refresh_after"]) and one["action"] not in STOPS
            order = {"target": uid, "decision_id": one["decision_id"], "action": one["action"], "share_bps": share,
                     "admit_new": admit, "expired": expired, "grace_s": one["grace_s"]}
            if self.done.get(uid) != order:
                hook = subprocess.run(self.args.program, input=json.dumps(order), text=True)
                self.done[uid] = None if hook.returncode else order
            for phase in ("applying", "enforced", "released") if self.done[uid] else ("applying", "failed"):
                self.acknowledge(one, phase, share if phase in ("enforced", "released") else None)

    def poll(self):
        self.learn()
        for item in self.ask("/allocations")["items"]:
            self.take(item)

    def run(self):
        while True:
            for step in (self.poll, self.enforce):
                try:
                    step()
                except (OSError, ValueError, KeyError) as error:
                    print("leases run on:", error, flush=True)
            time.sleep(self.args.every)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    for name, extra in {"token": {"required": True}, "scheduler": {"required": True}, "state": {"required": True},
                        "key": {"required": True, "action": "append"}, "pool": {"default": "default"},
                        "run": {"action": "append"}, "loosen": {"type": int, "default": 1},
                        "every": {"type": float, "default": 1}}.items():
        parser.add_argument("--" + name, **extra)
    parser.add_argument("program", nargs="+")
    Consumer(parser.parse_args()).run()
