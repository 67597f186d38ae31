#!/usr/bin/env python3
"""Sealed objects and wrapped keys as docs/FORMAT.md describes them, written without pitr.

Prints the known answers of src/format/seal/tests/known_answers.rs: `reference.py > known_answers.txt`, in this
directory. Needs the package `cryptography`; HKDF-Expand and HMAC come from the standard library.
"""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def expand(key, info, length=32):
    """HKDF-Expand with SHA-256, for a single block of output (RFC 5869, section 2.3)."""
    assert length <= 32
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


def seal(key, name, salt, exponent, plaintext):
    fields = b"\x89pitr\r\n\x1a" + struct.pack(">HBB", 1, 1, exponent)
    fields += expand(key, b"pitr server key id", 16) + salt + struct.pack(">H", len(name)) + name
    sealed = fields + hmac.digest(expand(key, b"pitr seal v1 header"), fields, "sha256")
    cipher = AESGCM(expand(key, b"pitr seal v1 frames" + fields))
    frame_size = 1 << exponent
    count = max(1, -(-len(plaintext) // frame_size))
    for index in range(count):
        plain = plaintext[index * frame_size:(index + 1) * frame_size]
        last = index == count - 1
        header = struct.pack(">II", index, len(plain) | last << 31)
        nonce = bytes(7) + struct.pack(">IB", index, last)
        sealed += header + cipher.encrypt(nonce, plain, header)
    return sealed


def part(data):
    return struct.pack(">H", len(data)) + data


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def wrap(wrapping_key, salt, server, key):
    wrapping_id = expand(wrapping_key, b"pitr wrapping key id", 16).hex().encode()
    fields = b"\x89pitk\r\n\x1a" + struct.pack(">H", 1) + part(b"aes-256-gcm") + part(wrapping_id) + part(server)
    fields += expand(key, b"pitr server key id", 16)
    cipher = AESGCM(expand(wrapping_key, b"pitr wrap v1" + salt + fields))
    record = fields + part(salt + cipher.encrypt(bytes(12), key, b""))
    return record + struct.pack(">I", crc32c(record))


def main():
    key, wrapping_key, salt = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
    name = b"servers/prod/log/1"
    long = bytes(i * 7 % 251 for i in range(10000))
    print("server_key_id", expand(key, b"pitr server key id", 16).hex())
    print("wrapping_key_id", expand(wrapping_key, b"pitr wrapping key id", 16).hex())
    print("empty", seal(key, name, salt, 16, b"").hex())
    print("short", seal(key, name, salt, 16, b"point in time").hex())
    print("full_frame_sha256", hashlib.sha256(seal(key, name, salt, 12, long[:4096])).hexdigest())
    print("three_frames_sha256", hashlib.sha256(seal(key, name, salt, 12, long)).hexdigest())
    print("wrapped_key", wrap(wrapping_key, salt, b"prod", key).hex())


main()
