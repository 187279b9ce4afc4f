#pragma once

#include <cstddef>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

// FILE_READ_MANY: `count` rows of kManyWidth numbers, one record each; frames are laid one behind the other into
// `bytes`. Each row gets its own status (kRead...; -errno when its read failed). Returns 0.
int ReadMany(Io& io, double* numbers, size_t count, uint8_t* bytes, size_t bytes_length);

}  // namespace sealog
