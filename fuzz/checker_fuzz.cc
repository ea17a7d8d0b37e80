// Laws of the checker, on events made from bytes: it ends, counts what it was given,
// says the same twice, and a rule that is switched off is not found broken.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <span>
#include <string>

#include "oracle/checker.h"
#include "protocol/header.h"

using namespace portproof;

namespace {

constexpr size_t kEventBytes = 12;
constexpr size_t kEventsMax = 256;

constexpr size_t kPayloadMax = 31;

struct OwnEvent {
  Event event;
  std::array<uint8_t, kHeaderBytes + kPayloadMax> data;
};

// Small numbers, so that streams, ports and processes meet often.
void Decode(const uint8_t* bytes, OwnEvent& made) {
  static constexpr std::string_view kPorts[] = {"a", "b", "c", ""};
  Event& event = made.event;
  event = Event();
  event.kind = static_cast<EventKind>(bytes[0] % 9);
  event.port = kPorts[bytes[1] % 3];
  event.time_us = bytes[2] == 255 ? kNoTime : int64_t{bytes[2]} * 5000;
  event.pid = bytes[3] % 8 == 7 ? kNoPid : 100 + bytes[3] % 3;
  event.tid = event.pid == kNoPid ? kNoPid : event.pid + (bytes[3] >> 6) % 2;
  event.killed = (bytes[4] & 1) != 0 && event.kind == EventKind::kSend;
  event.truncated = (bytes[4] & 2) != 0;
  event.ctrl_truncated = (bytes[4] & 4) != 0;
  event.fds = (bytes[4] >> 3) % 4;
  event.rights = event.fds > 0 ? 1 : 0;
  event.iov = bytes[4] >> 5;
  event.cred_pid = bytes[5] % 4 == 0 ? kNoPid : 99 + bytes[5] % 4;
  if (event.kind == EventKind::kFail) event.errno_name = bytes[6] % 2 == 0 ? "EAGAIN" : "EPIPE";
  if (event.kind != EventKind::kSend && event.kind != EventKind::kRecv) return;
  Header header;
  header.stream = bytes[6] % 3;
  header.pid = 100 + bytes[7] % 3;
  header.type = bytes[8] % 16;
  header.last = (bytes[9] & 1) != 0;
  header.mmap = (bytes[9] & 6) == 6;
  header.nf = (bytes[9] & 8) != 0;
  header.mf = (bytes[9] & 16) != 0;
  const auto encoded = EncodeHeader(header);
  std::copy(encoded.begin(), encoded.end(), made.data.begin());
  std::fill(made.data.begin() + kHeaderBytes, made.data.end(), bytes[11]);
  const size_t size =
      bytes[10] == 255 ? bytes[11] % kHeaderBytes : kHeaderBytes + bytes[10] % (kPayloadMax + 1);
  event.data = std::span(made.data).first(size);
  event.size = size;
  if (bytes[10] == 254) event.size += 16000;  // cut by the recorder
}

CheckResult Run(std::span<const OwnEvent> events, const CheckOptions& options) {
  Checker checker(options);
  for (const OwnEvent& made : events) checker.OnEvent(made.event);
  return checker.Finish();
}

bool Same(const CheckResult& a, const CheckResult& b) {
  return a.counts == b.counts &&
         std::equal(a.findings.begin(), a.findings.end(), b.findings.begin(), b.findings.end(),
                    [](const Violation& x, const Violation& y) {
                      return x.rule == y.rule && x.datagram == y.datagram && x.detail == y.detail;
                    });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  CheckOptions options;
  options.profile = &Profiles()[data[0] % Profiles().size()];
  static std::array<OwnEvent, kEventsMax> room;
  size_t count = 0;
  for (size_t at = 1; at + kEventBytes <= size && count < kEventsMax; at += kEventBytes) {
    Decode(data + at, room[count]);
    ++count;
    room[count - 1].event.line = count;
  }
  const std::span<const OwnEvent> events = std::span(room).first(count);
  const CheckResult result = Run(events, options);
  uint64_t receives = 0;
  for (const OwnEvent& made : events) receives += made.event.kind == EventKind::kRecv ? 1 : 0;
  if (result.counts.received != receives) std::abort();
  if (result.counts.undelivered > result.counts.datagrams) std::abort();
  if (result.counts.unfinished_streams > result.counts.fragmented_streams) std::abort();
  for (const Violation& found : result.findings) {
    if (found.datagram > events.size() || found.line > events.size()) std::abort();
  }
  // Of the two laws that need another run, the first byte says which.
  if (data[0] < 128) {
    if (!Same(result, Run(events, options))) std::abort();
    return 0;
  }
  if (result.findings.empty()) return 0;
  const Rule rule = result.findings[size % result.findings.size()].rule;
  options.off[static_cast<size_t>(rule)] = true;
  for (const Violation& found : Run(events, options).findings) {
    if (found.rule == rule) std::abort();
  }
  return 0;
}
