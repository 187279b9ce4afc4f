#!/usr/bin/env python3
"""Reads and verifies a sealog directory. Written from docs/format.md alone, with Python's standard library alone.

    sealog_reader.py <directory> [--records]

Prints JSON lines: the log, its segments, its records (--records), problems, and a summary. Exit code 1: there are problems.
"""

import json
import os
import re
import struct
import sys

from sealog_manifest import HEADER_BYTES, SAFE, Manifest, Problem, crc32c, is_zero
from sealog_segment import Segment


class Log:
    def __init__(self, directory):
        self.directory = directory
        self.problems = []
        self.segments = []
        self.torn = None
        self.indexes = 0
        self.manifest = Manifest(directory)
        self.state = self.manifest.state
        self.end = self.state["startOffset"]
        self.link = None

    def read(self):
        state = self.state
        if "intent" in state:
            self.note(Problem("MANIFEST", 0, state["intent"]["end"], "an intent is unfinished: open the log once"))
        for facts in state["closed"]:
            try:
                self.read_closed(facts)
            except Problem as problem:
                self.note(problem)
            self.link, self.end = facts["linkChain"], facts["end"]
        self.read_tail()
        first = self.segments[0].base if self.segments else self.end
        if first > state["startOffset"]:
            self.note(Problem("segments", 0, state["startOffset"], "records are missing"))

    def note(self, problem):
        self.problems.append(problem.row)

    def check_link(self, segment):
        if self.link is not None and (segment.base != self.end or segment.prev_chain != self.link):
            raise segment.problem(64, segment.base, "does not follow the segment before")

    def read_closed(self, facts):
        segment = Segment(self.directory, facts["base"], facts["generation"], self.manifest.log_id)
        self.segments.append(segment)
        self.check_link(segment)
        segment.follow()
        if segment.footer is None:
            raise segment.problem(segment.stop_position, segment.end, segment.stop)
        footer = segment.footer
        seen = {
            "end": footer["end"],
            "bytes": footer["bytes"],
            "linkChain": footer["link_chain"],
            "firstChunkSequence": segment.first_chunk,
        }
        if not segment.sparse:
            seen.update({"runningTime": segment.running, "chunks": footer["chunks"]})
        wrong = [name for name, value in seen.items() if facts[name] != value]
        if wrong or len(segment.data) != footer["bytes"]:
            raise segment.problem(segment.position, segment.end, "MANIFEST does not agree: " + ", ".join(wrong or ["size"]))
        self.check_index(segment)

    def tail_bases(self):
        closed_end = self.state["closed"][-1]["end"] if self.state["closed"] else 0
        folder = os.path.join(self.directory, "segments")
        # A power loss right behind the creation may leave MANIFEST alone.
        names = os.listdir(folder) if os.path.isdir(folder) else []
        found = [re.fullmatch(r"(\d{20})\.log", name) for name in names]
        return sorted(int(match.group(1)) for match in found if match and int(match.group(1)) >= closed_end)

    def read_tail(self):
        tail = []
        for base in self.tail_bases():
            try:
                tail.append(Segment(self.directory, base, 0, self.manifest.log_id))
            except Problem as problem:
                self.note(problem)
                return
        for number, segment in enumerate(tail):
            try:
                self.check_link(segment)
                segment.follow()
            except Problem as problem:
                self.note(problem)
                return
            self.segments.append(segment)
            self.end, self.link = segment.end, segment.chain if segment.footer is None else segment.footer["link_chain"]
            if segment.stop == "newer":
                self.note(segment.problem(segment.stop_position, segment.end, "newer"))
                return
            if segment.footer is None and not segment.at_end():
                self.judge(segment, tail[number + 1 :])
                return
            self.check_index(segment)
        slots = self.read_committed()
        if slots.get("durable", 0) > self.end:
            name, position = (tail[-1].name, tail[-1].position) if tail else ("segments", 0)
            self.note(Problem(name, position, self.end, "rot: COMMITTED says that more was durable"))

    def judge(self, segment, later):
        """Torn or rot."""
        proof = segment.proof_above(segment.end, segment.position)
        for other in later:
            if proof is None and other.synced > segment.end:
                proof = "the header of " + other.name
            proof = proof or other.proof_above(segment.end, HEADER_BYTES)
        durable = self.read_committed().get("durable")
        if proof is None and durable is not None and durable > segment.end:
            proof = "COMMITTED"
        if proof is not None:
            self.note(segment.problem(segment.stop_position, segment.end, "rot: %s, though %s proves durability" % (segment.stop, proof)))
        else:
            self.torn = {"file": segment.name, "position": segment.position, "why": segment.stop}

    def read_committed(self):
        try:
            with open(os.path.join(self.directory, "COMMITTED"), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return {}
        slots = {}
        seed = crc32c(self.manifest.log_id)
        for name, at in (("committed", 0), ("durable", 64)):
            if len(data) < at + 16:
                continue
            end, epoch, checksum = struct.unpack_from("<QII", data, at)
            if crc32c(data[at : at + 12], seed) == checksum and epoch == self.state["epoch"] and end <= SAFE:
                slots[name] = end
        return slots

    def check_index(self, segment):
        """The index is derived: it need not be there, but what it says must be true."""
        name = segment.name[: -len("log")] + "index"
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        if len(data) < 32 or data[:8] != b"SEALOGI1" or crc32c(data[:28]) != struct.unpack_from("<I", data, 28)[0]:
            raise Problem(name, 0, segment.base, "index: header")
        seed, interval, count, end = struct.unpack_from("<IIIQ", data, 8)
        if seed != segment.seed or len(data) != 32 + count * 24:
            raise Problem(name, 0, segment.base, "index: of another segment")
        if segment.footer is not None and end != segment.position:
            return  # out of date: as good as none
        expected = []
        for record in segment.records:
            if record["position"] >= end:
                break
            if not expected or record["position"] - expected[-1][1] >= interval:
                expected.append((record["offset"], record["position"], record["batch"], record["below"]))
        entries = []
        for at in range(32, len(data), 24):
            offset, position, batch, checksum, running = struct.unpack_from("<IIIIQ", data, at)
            if crc32c(data[at + 16 : at + 24], crc32c(data[at : at + 12], seed)) != checksum:
                raise Problem(name, at, segment.base, "index: checksum")
            entries.append((segment.base + offset, position * 8, segment.base + batch, running - 1))
        if entries != expected:
            raise Problem(name, 32, segment.base, "index: entries")
        self.indexes += 1


def main(arguments):
    directories = [argument for argument in arguments if not argument.startswith("--")]
    if len(directories) != 1 or not set(arguments) <= {directories[0], "--records"}:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        log = Log(directories[0])
    except Problem as problem:
        print(json.dumps(problem.row))
        return 1
    log.read()
    state = log.state
    print(json.dumps({"type": "log", "id": log.manifest.log_id.hex(), "manifestTorn": log.manifest.torn, "state": state, "slots": log.read_committed()}))
    count = 0
    for segment in log.segments:
        facts = ("name", "base", "end", "epoch", "generation", "sparse", "groups", "marks", "marked", "chain", "max_synced")
        row = {name: getattr(segment, name) for name in facts}
        print(json.dumps({"type": "segment", **row, "records": len(segment.records), "complete": segment.footer is not None}))
        for record in segment.records:
            if record["offset"] < state["startOffset"]:
                continue
            count += 1
            if "--records" in arguments:
                print(json.dumps({name: value for name, value in record.items() if name not in ("position", "below")}))
    for problem in log.problems:
        print(json.dumps(problem))
    damaged_marks = sum(segment.damaged_marks for segment in log.segments)
    summary = {"records": count, "startOffset": state["startOffset"], "endOffset": log.end, "epoch": state["epoch"], "segments": len(log.segments)}
    print(json.dumps({"type": "summary", "ok": not log.problems, **summary, "indexes": log.indexes, "torn": log.torn, "damagedMarks": damaged_marks}))
    return 1 if log.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
