// Laws of announcements. Byte 0: layout (bits 0, 1), number of descriptors (2, 3), the
// right size or not (4), sealed (5), guarded (6), not mapped (7); byte 1: the sender; then
// the header, as far as there is one. What is admitted is what SHM-8 says, in 64-bit
// arithmetic on the bytes themselves. What is refused leaves the table as it was; what is
// admitted counts once it is mapped, and is a duplicate from then on; what could not be
// mapped is gone.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "protocol/segment_table.h"

using namespace portproof;

namespace {

constexpr int32_t kOwnPid = 7;
constexpr uint32_t kIdsMax = 64;

uint64_t Number(const uint8_t* bytes, size_t count) {
  uint64_t number = 0;
  for (size_t i = count; i > 0; --i) number = number * 256 + bytes[i - 1];
  return number;
}

void Require(bool holds) {
  if (!holds) std::abort();
}

// `id`: of one that is to be admitted.
void CheckAnnouncement(SegmentTable& table, const Announcement& announcement,
                       std::optional<uint64_t> id, bool maps) {
  const SegmentTable before = table;
  uint32_t slot = 0;
  const auto refused = table.Announce(announcement, slot);
  if (!id) {
    Require(refused == Rule::kShm8 && table == before);
    return;
  }
  Require(!refused && table.IdOf(announcement) == id && table.IdOf(slot) == id);
  Require(table.SenderOf(slot) == announcement.sender);
  const auto number = static_cast<uint32_t>(*id);
  Require(!table.Find(announcement.sender, number));
  table.Mapped(slot, maps);
  if (!maps) {
    Require(table.mapped() == 0 && !table.Find(announcement.sender, number));
    Require(!table.Announce(announcement, slot));  // it may be tried again
    table.Mapped(slot, true);
  }
  Require(table.mapped() == 1 && table.Find(announcement.sender, number) == slot);
  const SegmentTable one = table;
  uint32_t other = 0;
  Require(table.Announce(announcement, other) == Rule::kShm8 && table == one);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || MachineByteOrder() != ByteOrder::kLittle) return 0;
  const SegmentLayout layout = static_cast<SegmentLayout>((data[0] & 3) % 3);
  Announcement announcement;
  announcement.sender = data[1];
  announcement.fds = data[0] >> 2 & 3;
  const bool right_size = (data[0] >> 4 & 1) != 0;
  announcement.file_bytes = kUnitGeometry.SegmentBytes() - (right_size ? 0 : 1);
  announcement.sealed = (data[0] >> 5 & 1) != 0;
  announcement.guarded = (data[0] >> 6 & 1) != 0;
  const bool maps = (data[0] >> 7 & 1) == 0;
  const size_t head = std::min(size - 2, announcement.head.size());
  std::memcpy(announcement.head.data(), data + 2, head);

  const uint8_t* const bytes = announcement.head.data();
  const uint64_t id = Number(bytes, 4);
  const bool named = layout == SegmentLayout::kSeed
                         ? Number(bytes + 4, 4) == kOwnPid
                         : Number(bytes + 4, 4) == static_cast<uint64_t>(announcement.sender);
  const bool good = announcement.fds == 1 && right_size && named && id < kIdsMax &&
                    (announcement.sealed || announcement.guarded);
  SegmentTable table({.layout = layout, .own_pid = kOwnPid, .ids_max = kIdsMax});
  CheckAnnouncement(table, announcement, good ? std::optional(id) : std::nullopt, maps);
  return 0;
}
