#!/usr/bin/env python3
"""A receiver of Standard Webhooks: prints its port, then each notice whose signature is good. The first is answered
with 500, so that it has to come again.

    receiver.py  (the secret comes as the first line of standard input)
"""
import base64, hashlib, hmac, http.server, json, sys, time

answers = [500]


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        name, at, given = (self.headers["webhook-" + part] for part in ("id", "timestamp", "signature"))
        wanted = hmac.new(secret(), f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
        signed = any(one == "v1," + base64.b64encode(wanted).decode() for one in given.split(" "))
        status = answers.pop(0) if answers else 204
        timely = abs(time.time() - int(at)) < 300
        print(json.dumps({"id": name, "good": signed and timely, "status": status, **json.loads(body)}), flush=True)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


def secret(known=[]):
    # Asked for at the first notice: the service tells it only once it knows the address.
    known or known.append(base64.b64decode(sys.stdin.readline().strip().removeprefix("whsec_")))
    return known[0]


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
