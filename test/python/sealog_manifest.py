"""Checksums and MANIFEST: docs/format.md."""

import json
import os
import struct


def make_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = make_table()


def crc32c(data, seed=0):
    register = seed ^ 0xFFFFFFFF
    table = TABLE
    for byte in data:
        register = table[(register ^ byte) & 255] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283

SAFE = 2**53 - 1
RECORD, TOMBSTONE, COMMIT, FOOTER = 1, 2, 3, 4
HEADER_BYTES, FRAME_HEADER, COMMIT_FRAME, FOOTER_FRAME = 128, 24, 56, 88


class Problem(Exception):
    """Damage, or something that belongs elsewhere: file, position, first offset affected, and why."""

    def __init__(self, file, position, offset, why):
        super().__init__(why)
        self.row = {"type": "problem", "file": file, "position": position, "offset": offset, "why": why}


def is_zero(data):
    return data.count(0) == len(data)


class Manifest:
    def __init__(self, directory):
        name = "MANIFEST"
        try:
            with open(os.path.join(directory, name), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            raise Problem(name, 0, 0, "missing") from None
        if len(data) < 64 or data[:8] != b"SEALOGM1":
            raise Problem(name, 0, 0, "not a MANIFEST")
        self.seed = struct.unpack_from("<I", data, 60)[0]
        if crc32c(data[:60]) != self.seed:
            raise Problem(name, 0, 0, "checksum of the header")
        version, header_bytes, features = struct.unpack_from("<HHI", data, 8)
        if version != 1 or header_bytes != 64 or features != 0:
            raise Problem(name, 8, 0, "newer")
        if not is_zero(data[40:60]):
            raise Problem(name, 40, 0, "reserved bytes")
        self.log_id = data[16:32]
        self.created = struct.unpack_from("<Q", data, 32)[0]
        self.torn = False
        self.state = None
        at = 64
        while at < len(data):
            end = self.record_end(data, at)
            if end is None:
                if not self.is_torn(data, at):
                    raise Problem(name, at, 0, "checksum of a record")
                self.torn = True
                break
            length = struct.unpack_from("<I", data, at)[0]
            self.apply(json.loads(data[at + 16 : at + 16 + length].decode("utf-8")), name, at)
            at = end
        if self.state is None:
            raise Problem(name, 64, 0, "no record")

    def record_end(self, data, at):
        if at + 16 > len(data):
            return None
        length, check, checksum, reserved = struct.unpack_from("<IIII", data, at)
        end = at + 16 + (length + 7) // 8 * 8
        if length == 0 or check != length ^ 0x5EA10600 or reserved != 0 or end > len(data):
            return None
        text = data[at + 16 : at + 16 + length]
        return end if crc32c(text, self.seed) == checksum and is_zero(data[at + 16 + length : end]) else None

    def is_torn(self, data, at):
        for later in range(at + 8, len(data) - 15, 8):
            if self.record_end(data, later) is not None:
                return False
        if at + 16 > len(data):
            return True
        length, check = struct.unpack_from("<II", data, at)
        end = at + 16 + length if check == length ^ 0x5EA10600 else len(data)
        if end > len(data):
            return True
        start = at
        while start < end:
            stop = min((start // 512 + 1) * 512, end)
            if is_zero(data[start:stop]):
                return True
            start = stop
        return False

    def apply(self, record, name, at):
        kind = record["type"]
        if kind == "snapshot":
            self.state = record["state"]
            return
        if self.state is None:
            raise Problem(name, at, 0, "the first record is no snapshot")
        state = self.state
        if kind == "settings":
            state["settings"] = record["settings"]
        elif kind == "closed":
            segment = record["segment"]
            others = [known for known in state["closed"] if known["base"] != segment["base"]]
            state["closed"] = sorted(others + [segment], key=lambda known: known["base"])
        elif kind == "start":
            state["startOffset"] = record["offset"]
            state["closed"] = [known for known in state["closed"] if known["base"] not in record["removed"]]
        elif kind == "epoch":
            state["epoch"] = record["epoch"]
        elif kind == "intent":
            state["intent"] = record["intent"]
        elif kind == "truncated":
            state.pop("intent", None)
            state["epoch"] = record["epoch"]
            state["closed"] = [known for known in state["closed"] if known["base"] < record["base"]]
            state["lost"] = [lost for lost in state["lost"] if lost["to"] <= record["base"]]
        elif kind == "swapped":
            segment = record["segment"]
            state["closed"] = [segment if known["base"] == segment["base"] else known for known in state["closed"]]
            state["lost"] = state["lost"] + record["lost"]
        elif kind == "compacted":
            by_base = {segment["base"]: segment for segment in record["segments"]}
            state["closed"] = [by_base.get(known["base"], known) for known in state["closed"]]
            state["compactedThrough"] = max(state.get("compactedThrough", 0), record["through"])
        else:
            raise Problem(name, at, 0, "newer")
