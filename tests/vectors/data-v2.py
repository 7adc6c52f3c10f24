#!/usr/bin/env python3
"""Sealed data, suite 02, by somebody else: pyca/cryptography and docs/format.md, and nothing of Bulla's.

usage: data-v2.py > data-v2.json

Gives the same file every time. The file is checked in; this is how it came about, and how to check it again.
"""
import hashlib
import hmac
import json
import os
import random
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = bytes.fromhex("d7425502")
CHUNK = 65536


def keys(suite, dek, covered, aad):
    salt = hashlib.sha256(covered + struct.pack(">Q", len(aad)) + aad).digest()
    output = HKDF(hashes.SHA256(), 64, salt, b"bulla-data-v%d" % suite).derive(dek)
    return output[:32], output[32:]


def chunk(key, counter, last, plaintext):
    return AESGCM(key).encrypt(counter.to_bytes(11, "big") + bytes([last]), plaintext, None)


def front(suite, wrapped):
    return MAGIC + bytes([suite, 0]) + struct.pack(">H", len(wrapped)) + wrapped


def seal(dek, wrapped, r, aad, plaintext):
    key, commitment = keys(2, dek, MAGIC + b"\x02\x00" + r, aad)
    parts = [plaintext[i:i + CHUNK] for i in range(0, len(plaintext), CHUNK)] or [b""]
    chunks = [chunk(key, i, i == len(parts) - 1, part) for i, part in enumerate(parts)]
    return front(2, wrapped) + r + commitment + b"".join(chunks)


def seal_suite_01(dek, wrapped, aad, plaintext):
    head = front(1, wrapped)
    key, commitment = keys(1, dek, head, aad)
    return head + commitment + chunk(key, 0, 1, plaintext)


def open_(dek, aad, sealed):
    """The plaintext, or the class of failure as a str."""
    if len(sealed) < 8: return "truncated"
    if sealed[:4] != MAGIC: return "magic"
    suite = sealed[4]
    if suite not in (1, 2): return "suite"
    if sealed[5] != 0: return "reserved"
    w = struct.unpack(">H", sealed[6:8])[0]
    if not 107 <= w <= 4202: return "wrapped_length"
    r_len = 32 if suite == 2 else 0
    if len(sealed) < 40 + w + r_len: return "truncated"
    covered = MAGIC + b"\x02\x00" + sealed[8 + w:40 + w] if suite == 2 else sealed[:8 + w]
    commitment, body = sealed[8 + w + r_len:40 + w + r_len], sealed[40 + w + r_len:]
    key, expected = keys(suite, dek, covered, aad)
    if not hmac.compare_digest(commitment, expected): return "commitment"
    gcm, out, at, n = AESGCM(key), b"", 0, 0
    while True:
        part = body[at:at + CHUNK + 16]
        at += len(part)
        last = at == len(body)
        if len(part) < 16: return "truncated"
        if last and n > 0 and len(part) == 16: return "empty_last_chunk"
        try: out += gcm.decrypt(n.to_bytes(11, "big") + bytes([last]), part, None)
        except InvalidTag: return "chunk"
        n += 1
        if last: return out


def main():
    rng = random.Random("bulla-data-v2")
    some = lambda n: bytes(rng.getrandbits(8) for _ in range(n))
    pattern = lambda n: bytes((i * 31 + i // 256) % 256 for i in range(n))
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "wrap-v1.json")) as file:
        blobs = {case["name"]: bytes.fromhex(case["blob"]) for case in json.load(file)["cases"]}
    wrapped, rewrapped = blobs["hedged_salt"], blobs["version_max"]
    cases = []

    def good(name, plaintext, aad=b"", dek=None, r=None, blob=wrapped):
        dek, r = dek or some(32), r or some(32)
        sealed = seal(dek, blob, r, aad, plaintext)
        assert open_(dek, aad, sealed) == plaintext, name
        case = dict(name=name, expect="ok", dek=dek.hex(), aad=aad.hex(), wrapped=blob.hex(), random=r.hex(),
                    plaintext_len=len(plaintext), plaintext_sha256=hashlib.sha256(plaintext).hexdigest(),
                    sealed_len=len(sealed), sealed_sha256=hashlib.sha256(sealed).hexdigest())
        if len(plaintext) <= 200: case.update(plaintext=plaintext.hex(), sealed=sealed.hex())
        else: case["plaintext_is"] = "byte i is (i * 31 + i // 256) mod 256"
        cases.append(case)
        return dek, aad, sealed

    def bad(name, dek, aad, sealed):
        why = open_(dek, aad, sealed)
        assert isinstance(why, str), name
        cases.append(dict(name=name, expect=why, dek=dek.hex(), aad=aad.hex(), sealed=sealed.hex()))

    good("empty", b"")
    good("one_byte", b"\x42")
    dek, aad, s = good("short_with_aad", b"attack at dawn", b"invoice 7")
    for n in (CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7): good(f"length_{n}", pattern(n))
    w = len(wrapped)
    r, body = s[8 + w:40 + w], s[40 + w:]
    # The same message after its data key was re-wrapped: r, C and chunks are the same bytes.
    for name, blob in (("rewrapped", rewrapped), ("rewrapped_shortest", some(107)), ("rewrapped_longest", some(4202))):
        swapped = good(name, b"attack at dawn", aad, dek, r, blob)[2]
        assert swapped[8 + len(blob):] == s[8 + w:], name
    # Two messages under one data key share neither key nor commitment.
    other = good("same_data_key", b"attack at dusk", aad, dek)[2]
    good("data_key_of_16_bytes", b"x", dek=some(16))
    good("data_key_of_64_bytes", b"x", dek=some(64))

    for at in (0, 4, 5, 6, 7, 8 + w, 39 + w, 40 + w, 71 + w, 72 + w, len(s) - 1):
        flipped = bytearray(s)
        flipped[at] ^= 1
        bad(f"flip_byte_{at}", dek, aad, bytes(flipped))
    bad("other_aad", dek, b"invoice 8", s)
    bad("no_aad", dek, b"", s)
    bad("other_dek", some(32), aad, s)
    bad("random_of_another_message", dek, aad, s[:8 + w] + other[8 + w:40 + w] + body)
    bad("commitment_of_another_message", dek, aad, s[:40 + w] + other[40 + w:72 + w] + s[72 + w:])
    bad("chunks_of_another_message", dek, aad, s[:72 + w] + other[72 + w:])
    bad("wrapped_too_short", dek, aad, front(2, some(106)) + s[8 + w:])
    bad("wrapped_too_long", dek, aad, front(2, some(4203)) + s[8 + w:])
    for n in (0, 7, 8, 8 + w, 39 + w, 40 + w, 71 + w, 72 + w, len(s) - 1): bad(f"truncated_to_{n}", dek, aad, s[:n])
    bad("trailing_byte", dek, aad, s + b"\0")
    one = seal_suite_01(dek, wrapped, aad, b"attack at dawn, and then again at dusk")
    assert open_(dek, aad, one) == b"attack at dawn, and then again at dusk"
    bad("suite_01_called_02", dek, aad, one[:4] + b"\x02" + one[5:])
    bad("suite_02_called_01", dek, aad, s[:4] + b"\x01" + s[5:])
    key, _ = keys(2, dek, MAGIC + b"\x02\x00" + r, aad)
    head = s[:72 + w]
    assert open_(dek, aad, head + chunk(key, 0, 1, b"x")) == b"x"
    bad("chunk_not_marked_last", dek, aad, head + chunk(key, 0, 0, b"x"))
    bad("first_counter_one", dek, aad, head + chunk(key, 1, 1, b"x"))
    bad("short_first_chunk_then_more", dek, aad, head + chunk(key, 0, 0, b"x") + chunk(key, 1, 1, b"y"))
    note = "sealed data of the client, suite 02; hex; expect is ok or the class of failure"
    json.dump(dict(format="bulla-data-v2", note=note, cases=cases), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
