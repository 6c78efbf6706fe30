"""A client that connects by SCRAM-SHA-256, proves itself again, and checks the broker's signature.

Written from RFC 5802 and MQTT 5.0 section 4.12 alone; python3's standard library is all it needs.
Usage: scram_client.py PORT USER PASSWORD; prints what came of it, a line each.
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
import sys

METHOD = "SCRAM-SHA-256"


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def length(number):
    out = b""
    while True:
        number, low = divmod(number, 128)
        out += bytes([low | (0x80 if number else 0)])
        if not number:
            return out


def packet(first, body):
    return bytes([first]) + length(len(body)) + body


def properties(*items):
    body = b"".join(bytes([key]) + text(value) for key, value in items)
    return length(len(body)) + body


class Client:
    def __init__(self, port, user, password):
        self.user, self.password = user, password
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError("the broker has closed the connection")
            data += more
        return data

    def receive(self):
        first, size, shift = self.exactly(1)[0], 0, 0
        while True:
            byte = self.exactly(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, self.exactly(size)

    @staticmethod
    def data(body):
        """Authentication Data among properties of which others are numbers and texts."""
        sizes = {0x11: 4, 0x21: 2, 0x22: 2, 0x27: 4, 0x13: 2, 0x24: 1, 0x25: 1, 0x28: 1, 0x29: 1, 0x2A: 1}
        end, at = body[0] + 1, 1
        found = {}
        while at < end:
            key = body[at]
            at += 1
            if key in sizes:
                at += sizes[key]
                continue
            size = struct.unpack(">H", body[at : at + 2])[0]
            found[key] = body[at + 2 : at + 2 + size]
            at += 2 + size
        assert found.get(0x15) == METHOD.encode(), found
        return found[0x16].decode()

    def first(self):
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        name = self.user.replace("=", "=3D").replace(",", "=2C")
        self.bare = f"n={name},r={self.nonce}"
        return ("n,," + self.bare).encode()

    def final(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce) + 16
        self.salt, self.iterations = fields["s"], fields["i"]
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={fields['r']}"
        signed = f"{self.bare},{challenge},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.expected = base64.b64encode(hmac.digest(server_key, signed, "sha256")).decode()
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def auth(self, code, data):
        body = bytes([code]) + properties((0x15, METHOD), (0x16, data))
        self.socket.sendall(packet(0xF0, body))

    def check(self, data):
        assert data == "v=" + self.expected, "the broker does not know the password"

    def connect(self):
        body = text("MQTT") + b"\x05\x02\x00\x3c"
        body += properties((0x15, METHOD), (0x16, self.first())) + text("scram client")
        self.socket.sendall(packet(0x10, body))
        first, body = self.receive()
        if first == 0x20:
            return f"connack {body[1]:#04x}"
        assert (first, body[0]) == (0xF0, 0x18), (first, body)
        self.auth(0x18, self.final(self.data(body[1:])))
        first, body = self.receive()
        assert first == 0x20, (first, body)
        if body[1] == 0:
            self.check(self.data(body[2:]))
        return f"connack {body[1]:#04x}"

    def again(self, user, password):
        self.user, self.password = user, password
        self.auth(0x19, self.first())
        first, body = self.receive()
        if first == 0xE0:
            return f"disconnect {body[0]:#04x}"
        assert (first, body[0]) == (0xF0, 0x18), (first, body)
        self.auth(0x18, self.final(self.data(body[1:])))
        first, body = self.receive()
        if first == 0xE0:
            return f"disconnect {body[0]:#04x}"
        assert (first, body[0]) == (0xF0, 0x00), (first, body)
        self.check(self.data(body[1:]))
        return "again"


def main():
    port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    client = Client(port, user, password)
    print(client.connect())
    print("salt", getattr(client, "salt", None))
    again = [client.again(sys.argv[4], sys.argv[5])] if len(sys.argv) > 4 else []
    print("iterations", getattr(client, "iterations", None))
    print(*again, sep="\n")


main()
