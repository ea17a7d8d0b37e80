// Laws of admission: a run of records of what recvmsg gave, each 12 bytes (profile,
// fds, rights, flags, type, credentials, length), against the order of section 5
// written as one chain of conditions.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "protocol/control.h"

using namespace portproof;

namespace {

constexpr size_t kRecordBytes = 12;
constexpr uint32_t kMax = 64;

std::string_view Expected(const Received& got, const Header& header, const Intake& receiver) {
  const Profile& profile = *receiver.profile;
  return got.rights_messages > 1               ? "FDS-2"
         : got.fds > profile.fds_max           ? "FDS-2"
         : got.control_truncated               ? "RCV-1"
         : got.bytes == 0                      ? "HDR-8"
         : got.bytes < 16                      ? "HDR-1"
         : got.truncated                       ? "RCV-1"
         : got.bytes > kMax + 16               ? "RCV-1"
         : header.type >= profile.types.size() ? "HDR-4"
         : !receiver.handled.Has(header.type)  ? "HDR-4"
         : header.nf && got.fds > 0            ? "FDS-1"
                                               : "";
}

// -128 to 127
int32_t SmallPid(uint8_t byte) { return byte < 128 ? byte : byte - 256; }

void CheckRecord(const uint8_t* record) {
  const Profile& profile = Profiles()[record[0] % Profiles().size()];
  const Intake receiver = {&profile, kMax, HandledTypes::All().Without(record[1] % 64)};
  Received got;
  got.fds = record[2];
  got.rights_messages = record[3] % 3;
  got.truncated = (record[4] & 1) != 0;
  got.control_truncated = (record[4] & 2) != 0;
  got.credentials_pid = SmallPid(record[5]);
  got.bytes = record[6] % (kMax + 18);
  Header header;
  header.nf = (record[4] & 4) != 0;
  header.type = record[7];
  header.pid = SmallPid(record[8]);
  const bool has_header = got.bytes >= kHeaderBytes;
  const Admission admission = Admit(got, has_header ? &header : nullptr, receiver);
  const std::string_view expected = Expected(got, header, receiver);
  if (admission.refused.has_value() == expected.empty()) std::abort();
  if (admission.refused && Id(*admission.refused) != expected) std::abort();
  if ((admission.fds == Fate::kAdopt) == admission.refused.has_value()) std::abort();  // FDS-5
  if (!has_header) return;
  const int32_t sender = got.credentials_pid != 0 ? got.credentials_pid : header.pid;  // HDR-7
  if (admission.sender != sender) std::abort();
  if (admission.pid_differs && sender == header.pid) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (; size >= kRecordBytes; data += kRecordBytes, size -= kRecordBytes) CheckRecord(data);
  return 0;
}
