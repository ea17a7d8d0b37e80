// Laws of the JSON Lines reader: as for strace; what is written and read again is
// the same trace.
#include "fuzz/readings.h"
#include "protocol/profile.h"

using namespace portproof;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text =
      "{\"portproof\":1}\n" + std::string(reinterpret_cast<const char*>(data), size);
  const Profile& profile = Profiles()[size % Profiles().size()];
  const Reading reading = ReadAndJudge(text, TextKind::kJsonLines, profile);
  CheckLaws(reading, text);
  if (size % 8 != 0) return 0;
  CheckSame(reading, ReadAndJudge(text, TextKind::kJsonLines, profile), true);
  if (reading.log.damaged_count > 0) return 0;
  const std::string again = AsJsonLines(text, TextKind::kJsonLines);
  CheckSame(reading, ReadAndJudge(again, TextKind::kJsonLines, profile), false);
  return 0;
}
