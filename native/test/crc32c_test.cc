// One list of cases for every implementation that this processor can run.
#include "../core/crc32c.h"

#include <random>
#include <vector>

#include "check.h"

namespace {

uint32_t BitByBit(uint32_t crc, const uint8_t* bytes, size_t length) {
  crc = ~crc;
  for (size_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

void KnownValues(sealog::Crc32cFunction extend) {
  const std::vector<uint8_t> zeros(32, 0);
  const std::vector<uint8_t> ones(32, 0xFF);
  CHECK_EQ(extend(0, "123456789", 9), 0xE3069283U);
  CHECK_EQ(extend(0, zeros.data(), 32), 0x8A9136AAU);
  CHECK_EQ(extend(0, ones.data(), 32), 0x62A8AB43U);
  CHECK_EQ(extend(0, "", 0), 0U);
  CHECK_EQ(extend(0x12345678, "", 0), 0x12345678U);
}

void EveryShortLength(sealog::Crc32cFunction extend, const std::vector<uint8_t>& bytes) {
  for (size_t length = 0; length <= 1100; length++) {
    const size_t start = length % 64;
    CHECK_EQ(extend(0xDEADBEEF, bytes.data() + start, length), BitByBit(0xDEADBEEF, bytes.data() + start, length));
  }
}

void RandomLengths(sealog::Crc32cFunction extend, const std::vector<uint8_t>& bytes, std::mt19937& random) {
  for (int i = 0; i < 300; i++) {
    const size_t start = random() % 128;
    const size_t length = random() % (bytes.size() - start);
    const uint32_t seed = random();
    const uint32_t expected = BitByBit(seed, bytes.data() + start, length);
    CHECK_EQ(extend(seed, bytes.data() + start, length), expected);
    const size_t split = length == 0 ? 0 : random() % length;
    const uint32_t first = extend(seed, bytes.data() + start, split);
    CHECK_EQ(extend(first, bytes.data() + start + split, length - split), expected);
  }
}

// Nothing in front of or behind the input may be read: each length ends at the end of an allocation.
void ExactAllocations(sealog::Crc32cFunction extend) {
  for (size_t length = 1; length < 700; length++) {
    const std::vector<uint8_t> bytes(length, static_cast<uint8_t>(length));
    CHECK_EQ(extend(1, bytes.data(), length), BitByBit(1, bytes.data(), length));
  }
}

}  // namespace

int main() {
  std::mt19937 random(20240601);
  std::vector<uint8_t> bytes(40000);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  sealog::Crc32cImplementation all[sealog::kMaxCrc32cImplementations];
  const size_t count = sealog::ListCrc32cImplementations(all);
  for (size_t i = 0; i < count; i++) {
    std::printf("%s\n", all[i].name);
    KnownValues(all[i].extend);
    EveryShortLength(all[i].extend, bytes);
    RandomLengths(all[i].extend, bytes, random);
    ExactAllocations(all[i].extend);
  }
  KnownValues(sealog::Crc32cExtend);
  return sealog::test::Finish();
}
