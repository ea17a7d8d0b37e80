#include "props/verdict.h"

#include <span>
#include <string>

#include "oracle/checker.h"
#include "oracle/trace.h"
#include "protocol/chunk.h"
#include "protocol/header.h"
#include "protocol/profile.h"

namespace portproof {
namespace {

constexpr int32_t kReceiverPid = 2000;
constexpr int64_t kEventUs = 1;
constexpr int64_t kAfterwardsUs = 1000000;  // long enough for FRG-5

}  // namespace

class Verdict::Recording {
 public:
  explicit Recording(const conversation::Setup& setup)
      : profile_(PlayProfile(setup)),
        checker_({.profile = &profile_, .byte_order = ByteOrder::kLittle}) {
    Event event = At(EventKind::kOpen, kNoPid);
    const bool within = profile_.header_within_max;
    event.max_size = setup.payload_bytes() + (within ? uint32_t{kHeaderBytes} : 0);
    event.max_share = setup.share_bytes();
    Tell(event);
  }

  Event At(EventKind kind, int32_t pid) {
    Event event;
    event.kind = kind;
    event.port = "p";
    event.time_us = ++events_ * kEventUs;
    event.pid = event.tid = pid;
    return event;
  }

  Event Of(EventKind kind, int32_t pid, const WireDatagram& datagram) {
    Event event = At(kind, pid);
    event.data = {reinterpret_cast<const uint8_t*>(datagram.bytes.data()), datagram.bytes.size()};
    event.size = datagram.bytes.size();
    event.fds = static_cast<uint32_t>(datagram.fds.size());
    event.rights = datagram.fds.empty() ? 0 : 1;
    const uint8_t mmap_type = *NumberOf(profile_, Type::kMmap);
    if (event.data[10] == mmap_type) event.segment_bytes = kUnitGeometry.SegmentBytes();
    return event;
  }

  void Tell(const Event& event) {
    if (!over_) checker_.OnEvent(event);
  }
  void Over() { over_ = true; }
  void WaitLong() { events_ += kAfterwardsUs / kEventUs; }
  bool credentials() const { return profile_.credentials; }
  CheckResult Finish() { return checker_.Finish(); }

 private:
  const Profile& profile_;
  Checker checker_;
  int64_t events_ = 0;
  bool over_ = false;
};

Verdict::Verdict(const conversation::Setup& setup)
    : recording_(std::make_unique<Recording>(setup)) {}
Verdict::~Verdict() = default;

void Verdict::Sent(const WireDatagram& datagram) {
  Event event = recording_->Of(EventKind::kSend, datagram.pid, datagram);
  event.iov = datagram.iovecs;
  recording_->Tell(event);
}

void Verdict::Refused(int32_t pid, const char* error) {
  Event event = recording_->At(EventKind::kFail, pid);
  event.errno_name = error;
  recording_->Tell(event);
}

void Verdict::Arrived(const WireDatagram& datagram) {
  Event event = recording_->Of(EventKind::kRecv, kReceiverPid, datagram);
  if (recording_->credentials()) event.cred_pid = datagram.pid;
  recording_->Tell(event);
}

void Verdict::Died(int32_t pid) { recording_->Tell(recording_->At(EventKind::kExit, pid)); }

void Verdict::Closed(int32_t pid) { recording_->Tell(recording_->At(EventKind::kClose, pid)); }

void Verdict::HungUp() {
  recording_->Tell(recording_->At(EventKind::kClose, kNoPid));
  recording_->Over();
}

void Verdict::Ended(BrokenLaws& findings) {
  recording_->WaitLong();
  recording_->Tell(recording_->At(EventKind::kExit, kReceiverPid));
  for (const Violation& violation : recording_->Finish().findings) {
    if (violation.severity == Severity::kNote) continue;
    findings.push_back({Law::kVerdict, violation.rule,
                        "datagram " + std::to_string(violation.datagram) + " stream " +
                            std::to_string(violation.stream) + ": " + violation.detail});
  }
}

}  // namespace portproof
