// Laws of the strace reader: whatever the text, it ends; lines are named that exist;
// the same text gives the same verdict, and so does the trace as JSON Lines, unless
// lines were lost.
#include "fuzz/readings.h"
#include "protocol/profile.h"

using namespace portproof;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Profile& profile = Profiles()[size % Profiles().size()];
  const Reading reading = ReadAndJudge(text, TextKind::kStrace, profile);
  CheckLaws(reading, text);
  if (size % 8 != 0) return 0;
  CheckSame(reading, ReadAndJudge(text, TextKind::kStrace, profile), true);
  if (!reading.read || reading.log.damaged_count > 0) return 0;
  const std::string lines = AsJsonLines(text, TextKind::kStrace);
  CheckSame(reading, ReadAndJudge(lines, TextKind::kJsonLines, profile), false);
  return 0;
}
