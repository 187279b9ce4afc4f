#include "../core/zeros.h"

#include "check.h"
#include "memory_io.h"

using sealog::FindNonZero;
using sealog::test::MemoryIo;

int main() {
  MemoryIo io(std::vector<uint8_t>(300000, 0));
  double found = -1;
  CHECK_EQ(FindNonZero(io, 3, 0, 300000, &found), 0);
  CHECK_EQ(found, 300000.0);
  CHECK_EQ(FindNonZero(io, 3, 5, 400000, &found), 0);
  CHECK_EQ(found, 400000.0);
  CHECK_EQ(FindNonZero(io, 3, 10, 10, &found), 0);
  CHECK_EQ(found, 10.0);
  for (const size_t at :
       {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{131071}, size_t{131072}, size_t{299999}}) {
    io.bytes[at] = 1;
    for (const uint64_t from : {uint64_t{0}, uint64_t{1}, uint64_t{60}, uint64_t{131072}}) {
      for (const uint64_t end : {uint64_t{200000}, uint64_t{300000}, uint64_t{300001}}) {
        CHECK_EQ(FindNonZero(io, 3, from, end, &found), 0);
        CHECK_EQ(found, static_cast<double>(at >= from && at < end ? at : end));
      }
    }
    io.bytes[at] = 0;
  }
  io.bytes[100] = 1;
  io.failing_read = io.reads + 1;
  CHECK_EQ(FindNonZero(io, 3, 0, 1000, &found), -EIO);
  return sealog::test::Finish();
}
