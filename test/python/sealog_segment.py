"""Segments: header, frames, groups, footer, and the search for proof behind damage. docs/format.md."""

import base64
import os
import struct

from sealog_manifest import COMMIT, COMMIT_FRAME, FOOTER, FOOTER_FRAME, FRAME_HEADER, HEADER_BYTES, RECORD, SAFE, TOMBSTONE, Problem, crc32c, is_zero


class Frame:
    __slots__ = ("crc", "length", "offset", "timestamp", "type", "flags", "size", "key", "index", "value", "position")


class Segment:
    """A segment file in memory, followed group by group. `position`, `end` and `chain` stand behind the last good commit frame."""

    def __init__(self, directory, base, generation, log_id):
        self.base = base
        self.generation = generation
        self.name = "segments/%020d%s.log" % (base, "" if generation == 0 else ".%d" % generation)
        try:
            with open(os.path.join(directory, self.name), "rb") as file:
                self.data = file.read()
        except FileNotFoundError:
            raise Problem(self.name, 0, base, "missing") from None
        self.read_header(log_id)
        self.position = HEADER_BYTES
        self.end = base
        self.chain = 0 if self.sparse else self.prev_chain
        self.last_epoch = self.epoch
        self.running = self.running_before
        self.max_synced = self.synced
        self.records = []
        self.groups = self.marks = self.damaged_marks = 0
        self.marked = False
        self.min_time = self.max_time = None
        self.chunks = self.chunk_payload = self.chunk_records = 0
        self.footer = None
        self.stop = None
        self.stop_position = HEADER_BYTES

    def problem(self, position, offset, why):
        return Problem(self.name, position, offset, why)

    def read_header(self, log_id):
        data = self.data
        if len(data) < HEADER_BYTES or data[:8] != b"SEALOGS1":
            raise self.problem(0, self.base, "header: magic")
        self.seed = struct.unpack_from("<I", data, 124)[0]
        if crc32c(data[:124]) != self.seed:
            raise self.problem(0, self.base, "header: checksum")
        version, header_bytes, features = struct.unpack_from("<HHI", data, 8)
        base, self.created = struct.unpack_from("<QQ", data, 40)
        self.epoch, generation, self.prev_chain, self.max_record, self.chunk_bytes = struct.unpack_from("<IIIII", data, 56)
        self.form, self.codec, reserved = struct.unpack_from("<BBH", data, 76)
        self.first_chunk, self.synced, running = struct.unpack_from("<QQQ", data, 80)
        if version != 1 or header_bytes != HEADER_BYTES or features > 1 or self.form > 3 or self.codec > 1:
            raise self.problem(8, self.base, "newer")
        if reserved or not is_zero(data[104:124]) or self.max_record > 2**30 or max(base, self.created, self.synced, running) > SAFE:
            raise self.problem(0, self.base, "header: fields")
        if data[16:32] != log_id or base != self.base or generation != self.generation:
            raise self.problem(0, self.base, "header: of another log or place")
        self.sparse = features == 1
        self.running_before = running - 1

    def frame_at(self, at):
        """The frame at `at`, or the name of what is wrong with it."""
        data = self.data
        left = len(data) - at
        if left < FRAME_HEADER:
            return "end" if left == 0 else "framing"
        if is_zero(data[at : at + FRAME_HEADER]):
            return "zeros"
        frame = Frame()
        frame.position = at
        frame.crc, frame.length, frame.offset, low, high, frame.type, frame.flags = struct.unpack_from("<IIQIHBB", data, at)
        frame.timestamp = low | high << 32
        frame.size = FRAME_HEADER + (frame.length + 7) // 8 * 8
        body_end = at + FRAME_HEADER + frame.length
        if frame.length > min(self.max_record, 2**30) + 65541 or frame.size > left:
            return "framing"
        if (frame.type == COMMIT and frame.length != 32) or (frame.type == FOOTER and frame.length != 64):
            return "framing"
        if crc32c(memoryview(data)[at + 4 : body_end], self.seed) != frame.crc:
            return "checksum"
        if not is_zero(data[body_end : at + frame.size]):
            return "framing"
        if frame.type not in (RECORD, TOMBSTONE):
            return frame if frame.type in (COMMIT, FOOTER) and frame.flags == 0 else "newer"
        if frame.flags & ~(7 if self.sparse else 3):
            return "newer"
        body = data[at + FRAME_HEADER : body_end]
        start = 0
        frame.index = frame.key = None
        if frame.flags & 4:
            if len(body) < 4:
                return "framing"
            frame.index = struct.unpack_from("<I", body)[0]
            start = 4
        if frame.flags & 1:
            if len(body) < start + 2:
                return "framing"
            key_length = struct.unpack_from("<H", body, start)[0]
            start += 2
            if len(body) < start + key_length:
                return "framing"
            frame.key = body[start : start + key_length]
            start += key_length
        elif frame.type == TOMBSTONE:
            return "framing"
        frame.value = body[start:]
        return frame

    def follows(self, offset, expected):
        return offset >= expected if self.sparse else offset == expected

    def take_group(self):
        """Takes in the next group. True: done; False: `stop` and `stop_position` say why not."""
        at, expected = self.position, self.end
        frames, batches = [], []
        open_batch, batch = False, None
        while True:
            frame = self.frame_at(at)
            self.stop_position = at
            if isinstance(frame, str):
                self.stop = frame
                return False
            self.stop = "order"
            if frame.type in (RECORD, TOMBSTONE):
                if frame.offset > SAFE - 1 or not self.follows(frame.offset, expected):
                    return False
                if frame.index is not None:
                    if frame.index > frame.offset:
                        return False
                    batch = frame.offset - frame.index
                elif not open_batch:
                    batch = frame.offset
                open_batch = frame.flags & 2 != 0
                frames.append(frame)
                batches.append(batch)
                expected = frame.offset + 1
                at += frame.size
                continue
            if open_batch or frame.offset > SAFE or not self.follows(frame.offset, expected):
                return False
            if frame.type == FOOTER:
                if not frames:
                    self.stop = "footer"
                return False
            return self.take_commit(frame, frames, batches)

    def take_commit(self, commit, frames, batches):
        start, synced, count, epoch, prev_chain, chain = struct.unpack_from("<QQIIII", self.data, commit.position + 24)
        mark = count == 0
        if count != len(frames) or start != self.position or prev_chain != self.chain or synced > commit.offset or epoch < self.last_epoch:
            return False
        if chain != (prev_chain if mark else chain_of(prev_chain, frames)):
            return False
        for frame, batch in zip(frames, batches):
            self.take_record(frame, batch)
        # A mark that recovery wrote anew may be behind the commit frames before it; its timestamp is the running maximum like any other.
        if commit.timestamp != max(0, self.running):
            raise self.problem(commit.position, commit.offset, "timestamp of a commit frame")
        self.groups += 0 if mark else 1
        self.marks += 1 if mark else 0
        self.marked = mark
        self.position = commit.position + commit.size
        self.end, self.chain, self.last_epoch = commit.offset, chain, epoch
        self.max_synced = max(self.max_synced, synced)
        return True

    def take_record(self, frame, batch):
        self.records.append(
            {
                "type": "record",
                "offset": frame.offset,
                "timestamp": frame.timestamp,
                "batch": batch,
                "tombstone": frame.type == TOMBSTONE,
                "key": None if frame.key is None else base64.b64encode(frame.key).decode(),
                "value": base64.b64encode(frame.value).decode(),
                "position": frame.position,
                "below": self.running,
            }
        )
        self.running = max(self.running, frame.timestamp)
        self.min_time = frame.timestamp if self.min_time is None else min(self.min_time, frame.timestamp)
        self.max_time = frame.timestamp if self.max_time is None else max(self.max_time, frame.timestamp)
        if self.form == 0 or self.chunk_bytes == 0:
            return
        self.chunk_payload += len(frame.value)
        self.chunk_records += 1
        if not frame.flags & 2 and self.chunk_payload >= self.chunk_bytes:
            self.chunks += 1
            self.chunk_payload = self.chunk_records = 0

    def follow(self):
        """All groups to the footer, the end, or damage."""
        while self.take_group() or self.pass_damaged_mark():
            pass
        if self.stop == "footer":
            self.read_footer()

    def pass_damaged_mark(self):
        if self.sparse or self.stop in ("footer", "newer") or self.at_end():
            return False
        group = self.group_ending_at_or_behind(self.position + COMMIT_FRAME)
        if group is None or group["start"] != self.position + COMMIT_FRAME:
            return False
        if group["first"] != self.end or group["prev_chain"] != self.chain:
            return False
        self.position += COMMIT_FRAME
        self.damaged_marks += 1
        return True

    def at_end(self):
        return self.stop_position == self.position and self.stop in ("end", "zeros") and is_zero(self.data[self.position :])

    def read_footer(self):
        at = self.position
        names = ("first", "last", "count", "min", "max", "bytes", "content_chain", "link_chain", "chunks", "reserved")
        footer = dict(zip(names, struct.unpack_from("<QQQQQQIIII", self.data, at + 24)))
        footer["end"] = struct.unpack_from("<Q", self.data, at + 8)[0]
        offsets = [record["offset"] for record in self.records]
        seen = {
            "count": len(offsets),
            "min": self.min_time or 0,
            "max": self.max_time or 0,
            "bytes": at + FOOTER_FRAME,
            "content_chain": self.chain,
            "reserved": 0,
        }
        if self.sparse:
            first, last = (offsets[0], offsets[-1]) if offsets else (footer["end"], footer["end"])
            seen.update({"first": first, "last": last, "chunks": 0})
        else:
            last = self.end - 1 if offsets else self.end
            chunks = self.chunks + (1 if self.chunk_records > 0 else 0)
            seen.update({"first": self.base, "last": last, "end": self.end, "link_chain": self.chain, "chunks": chunks})
        wrong = [name for name, value in seen.items() if footer[name] != value]
        if wrong or footer["end"] < self.end:
            raise self.problem(at, self.end, "footer: " + ", ".join(wrong or ["end"]))
        if not is_zero(self.data[footer["bytes"] :]):
            raise self.problem(footer["bytes"], self.end, "bytes behind the footer")
        self.footer = footer
        self.end = footer["end"]

    # ── proof that what follows damage was durable ──

    def group_ending_at_or_behind(self, start):
        """The first group that verifies entirely and whose commit frame lies at `start` or behind it."""
        data = self.data
        for at in range((start + 7) // 8 * 8, len(data) - COMMIT_FRAME + 1, 8):
            if data[at + 22] != COMMIT or data[at + 23] != 0:
                continue
            commit = self.frame_at(at)
            if isinstance(commit, str) or commit.offset > SAFE:
                continue
            group = self.verify_group(commit)
            if group is not None:
                return group
        return None

    def verify_group(self, commit):
        start, synced, count, _, prev_chain, chain = struct.unpack_from("<QQIIII", self.data, commit.position + 24)
        first = commit.offset - count
        if first < 0 or synced > (commit.offset if count == 0 else first) or start < HEADER_BYTES or start % 8:
            return None
        at, frames, open_batch = start, [], False
        while at < commit.position:
            frame = self.frame_at(at)
            if isinstance(frame, str) or frame.type not in (RECORD, TOMBSTONE) or frame.offset != first + len(frames):
                return None
            open_batch = frame.flags & 2 != 0
            frames.append(frame)
            at += frame.size
        if at != commit.position or len(frames) != count or open_batch:
            return None
        if chain != (prev_chain if count == 0 else chain_of(prev_chain, frames)):
            return None
        return {"start": start, "commit": commit.position, "first": first, "count": count, "synced": synced, "prev_chain": prev_chain}

    def proof_above(self, end, start):
        """Why records at or above `end` must have been durable, if anything in this file from `start` on says so."""
        while True:
            group = self.group_ending_at_or_behind(start)
            if group is None:
                return None
            if group["synced"] > end:
                return "the group at %d of %s" % (group["start"], self.name)
            start = group["commit"] + COMMIT_FRAME


def chain_of(prev_chain, frames):
    return crc32c(struct.pack("<%dI" % (1 + len(frames)), prev_chain, *[frame.crc for frame in frames]))
