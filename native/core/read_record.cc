#include "read_record.h"

#include <algorithm>
#include <cerrno>

#include "window_check.h"

namespace sealog {

namespace {

// Of ReadRecord: holds an index interval (4 KiB) and a record of the usual size behind it.
constexpr size_t kReadWindowBytes = 8 * 1024;

// The frames from the start of the first read to the target, none of them verified.
class Steps {
 public:
  Steps(const RecordQuery& query, const uint8_t* bytes, size_t length)
      : query_(query),
        bytes_(bytes),
        length_(length),
        rules_(MakeFrameRules(query.seed, query.sparse, kRecordBytesLimit)),
        known_(query.entry_known),
        next_offset_(query.entry_offset) {}

  // Steps over frames to the target. kReadOk: its header is at at(). kReadNoRoom: its header lies behind what was read.
  int Find() {
    for (;;) {
      if (length_ - at_ < kFrameHeaderBytes) return kReadNoRoom;
      const FrameHeader header = LoadFrameHeader(bytes_ + at_);
      if (header.IsRecord()) {
        if (!Follows(header.offset) || header.offset > query_.offset) return kReadNotFound;
        if (header.offset == query_.offset) return kReadOk;
        next_offset_ = header.offset + 1;
        if (!header.Continues()) batch_edge_ = at_;
      } else if (header.type == kFrameCommit && header.body_length == kCommitBodyBytes) {
        if (!Follows(header.offset)) return kReadNotFound;
        next_offset_ = header.offset;
        batch_edge_ = at_;
      } else {
        return IsNewerFrame(header) ? kReadNewer : kReadNotFound;
      }
      known_ = true;
      // The target starts behind this frame, so a frame that claims more than there is leads nowhere.
      if (header.Bytes() > query_.end - query_.position - at_) return kReadNotFound;
      if (header.Bytes() > length_ - at_) return kReadNoRoom;
      at_ += static_cast<size_t>(header.Bytes());
    }
  }

  size_t at() const { return at_; }

  // First offset of the batch that the target belongs to, unless the target itself says.
  uint64_t BatchFirst() const {
    const size_t from = batch_edge_ > 0 && Continues(batch_edge_) ? 0 : batch_edge_;
    const bool given = from == 0 && query_.batch_first >= 0;
    const uint64_t entry_offset = LoadFrameHeader(bytes_ + from).offset;
    uint64_t first = given ? ToUnsigned(query_.batch_first) : entry_offset;
    bool open = true;
    for (size_t at = from; at < at_;) {
      const FrameHeader header = LoadFrameHeader(bytes_ + at);
      if (header.IsRecord() && !open) first = header.offset;
      open = Continues(at);
      at += static_cast<size_t>(header.Bytes());
    }
    return open ? first : query_.offset;
  }

 private:
  bool Follows(uint64_t offset) const {
    return !known_ || (query_.sparse ? offset >= next_offset_ : offset == next_offset_);
  }

  // Whether the frame's bit says that its batch goes on. A damaged neighbour must not make the target unreadable, nor
  // may it be trusted: when its CRC is good with the bit turned over, the bit is what was damaged.
  bool Continues(size_t at) const {
    const FrameHeader header = LoadFrameHeader(bytes_ + at);
    if (!header.IsRecord()) return false;
    if (FrameCrc(bytes_ + at, header.body_length, rules_.seed) == header.crc) return header.Continues();
    uint8_t turned[kFrameHeaderBytes];
    memcpy(turned, bytes_ + at, sizeof turned);
    turned[kFrameFlagsAt] ^= kFlagBatchContinues;
    uint32_t crc = Crc32cExtend(rules_.seed, turned + kFrameBodyLengthAt, kFrameHeaderBytes - kFrameBodyLengthAt);
    crc = Crc32cExtend(crc, bytes_ + at + kFrameBodyAt, header.body_length);
    return (crc == header.crc) != header.Continues();
  }

  bool IsNewerFrame(const FrameHeader& header) const {
    const uint64_t left = query_.end - query_.position - at_;
    if (CheckLength(header, rules_, left) != kFrameGood || header.Bytes() > length_ - at_) return false;
    RecordBody body;
    return CheckFrame(bytes_ + at_, header, rules_, &body) == kStopNewer;
  }

  const RecordQuery& query_;
  const uint8_t* const bytes_;
  const size_t length_;
  const FrameRules rules_;
  bool known_;
  uint64_t next_offset_;
  size_t at_ = 0;
  size_t batch_edge_ = 0;  // the last frame on the way behind which, by its bit, no batch is open
};

int StatusOf(int verdict) {
  if (verdict == kFrameGood) return kReadOk;
  return verdict == kStopNewer ? kReadNewer : kReadChecksum;
}

uint64_t OwnBatchFirst(const LocatedRecord& record, uint64_t tracked) {
  return record.body.has_index ? record.header.offset - record.body.batch_index : tracked;
}

// The target lies behind the first read: every frame on the way is verified, through a window that moves.
int LocateFar(Io& io, const RecordQuery& query, uint8_t* into, size_t into_length, LocatedRecord* out) {
  if (into_length < kMinWindowBytes) return kReadNoRoom;
  FileWindow window(io, query.fd, query.end, into, into_length);
  const FrameRules rules = MakeFrameRules(query.seed, query.sparse, kRecordBytesLimit);
  FrameOrder order(query.sparse);
  if (query.entry_known) order.ExpectOffset(query.entry_offset);
  if (query.batch_first >= 0) order.OpenBatch(ToUnsigned(query.batch_first));
  CheckedFrame frame{};
  for (uint64_t position = query.position;; position += frame.header.Bytes()) {
    const int verdict = CheckFrameAt(window, position, rules, &frame);
    if (verdict < 0) return verdict;
    if (verdict == kStopNewer) return kReadNewer;
    const bool is_target = frame.header.IsRecord() && frame.header.offset == query.offset && verdict != kStopEnd;
    if (verdict != kFrameGood) return is_target && verdict != kStopZero ? kReadChecksum : kReadNotFound;
    if (frame.header.type == kFrameFooter) return kReadNotFound;
    if (!frame.header.IsRecord()) {
      if (!order.AcceptEnd(frame.header)) return kReadNotFound;
      continue;
    }
    if (frame.header.offset > query.offset || !order.AcceptRecord(frame.header, frame.body)) return kReadNotFound;
    if (!is_target) continue;
    out->frame_position = position;
    out->frame_bytes = frame.header.Bytes();
    if (out->frame_bytes > into_length) return kReadLarge;
    out->frame_at = static_cast<size_t>(window.At(position) - into);
    out->header = frame.header;
    out->body = frame.body;
    out->batch_first = order.batch_first();
    return kReadOk;
  }
}

}  // namespace

int LocateRecord(Io& io, const RecordQuery& query, uint8_t* into, size_t into_length, LocatedRecord* out) {
  if (query.position >= query.end) return kReadNotFound;
  const uint64_t exists = query.end - query.position;
  const auto wanted = static_cast<size_t>(std::min({exists, uint64_t{query.window_bytes}, uint64_t{into_length}}));
  const auto read = query.resident ? ReadFullResident : ReadFull;
  const int64_t got = read(io, query.fd, into, wanted, query.position);
  if (got < 0) return static_cast<int>(got);
  auto filled = static_cast<size_t>(got);
  Steps steps(query, into, filled);
  const int found = steps.Find();
  if (found == kReadNoRoom) {
    // What was read ends with the file, or goes on.
    if (filled < wanted || filled == exists) return kReadNotFound;
    return query.resident ? -EAGAIN : LocateFar(io, query, into, into_length, out);
  }
  if (found != kReadOk) return found;

  const FrameRules rules = MakeFrameRules(query.seed, query.sparse, kRecordBytesLimit);
  const uint64_t batch_first = steps.BatchFirst();
  size_t at = steps.at();
  out->header = LoadFrameHeader(into + at);
  out->frame_position = query.position + at;
  out->frame_bytes = out->header.Bytes();
  const int length = CheckLength(out->header, rules, exists - at);
  if (length != kFrameGood) return kReadChecksum;
  if (out->frame_bytes > filled - at) {
    if (out->frame_bytes > into_length) return kReadLarge;
    const int64_t more = read(io, query.fd, into, static_cast<size_t>(out->frame_bytes), out->frame_position);
    if (more < 0) return static_cast<int>(more);
    if (static_cast<uint64_t>(more) < out->frame_bytes) return kReadChecksum;
    // The file may have changed between the two reads.
    at = 0;
    const FrameHeader again = LoadFrameHeader(into);
    if (again.offset != query.offset || again.body_length != out->header.body_length || !again.IsRecord()) {
      return kReadChecksum;
    }
    out->header = again;
  }
  out->frame_at = at;
  const int status = StatusOf(CheckFrame(into + at, out->header, rules, &out->body));
  if (status != kReadOk) return status;
  if (out->body.batch_index > query.offset) return kReadChecksum;
  out->batch_first = OwnBatchFirst(*out, batch_first);
  return kReadOk;
}

int ReadRecord(Io& io, int fd, uint32_t seed, uint64_t position, uint64_t end, uint64_t entry_offset,
               double batch_first, uint64_t offset, uint32_t flags, uint8_t* copy_out, size_t copy_out_length,
               double* out) {
  const bool sparse = (flags & kReadSparse) != 0;
  const bool resident = (flags & kReadResident) != 0;
  const RecordQuery query{fd,           seed,        sparse, position,         end,     true,
                          entry_offset, batch_first, offset, kReadWindowBytes, resident};
  LocatedRecord record;
  const int status = LocateRecord(io, query, copy_out, copy_out_length, &record);
  if (status != kReadOk && status != kReadLarge) return status;
  out[kOutFramePosition] = static_cast<double>(record.frame_position);
  out[kOutFrameBytes] = static_cast<double>(record.frame_bytes);
  if (status == kReadLarge) return status;
  const auto at = static_cast<double>(record.frame_at);
  out[kOutValueStart] = at + record.body.value_start;
  out[kOutValueLength] = record.body.value_length;
  out[kOutKeyStart] = at + record.body.key_start;
  out[kOutKeyLength] = record.body.has_key ? record.body.key_length : -1.0;
  out[kOutType] = record.header.type;
  out[kOutTimestamp] = static_cast<double>(record.header.timestamp);
  out[kOutBatchFirst] = static_cast<double>(record.batch_first);
  return kReadOk;
}

}  // namespace sealog
