#include "oracle/guess.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "protocol/header.h"

namespace portproof {
namespace {

// How much a datagram that a row does not explain counts against it.
constexpr uint64_t kTelling = 6;  // impossible in that row
constexpr uint64_t kUnlikely = 2;
constexpr uint64_t kHint = 1;

constexpr uint64_t kNewPortBytes = 32;
constexpr uint64_t kPortNameBytes = 8;
constexpr uint64_t kPidBytes = 4;
constexpr uint64_t kSmallerLimit = 16368;
constexpr uint64_t kEmptyCap = 20;
constexpr uint64_t kByte15Cap = 20;
constexpr size_t kProcessesKept = 256;  // per type
constexpr uint64_t kMargin = 6;         // a row so little worse could be the right one

}  // namespace

void ProfileEvidence::Add(const Event& event) {
  const bool receive = event.kind == EventKind::kRecv;
  if (receive && event.killed) return;  // no bytes of it are known
  if (receive) {
    ++receives_;
    if (event.cred_pid != kNoPid) ++credentials_;
  }
  if (!receive && event.kind != EventKind::kSend) return;
  const auto decoded = DecodeHeader(event.data, order_);
  if (!decoded || event.size < kHeaderBytes) return;
  ++datagrams_;
  const Header& header = decoded->header;
  const uint64_t payload = event.size - kHeaderBytes;
  Shape& shape = shapes_[header.type];
  const bool whole = !header.nf && !header.mf;
  const bool new_port = whole && payload == kNewPortBytes && event.fds > 0 && !header.mmap;
  const bool mmap = whole && payload == 0 && event.fds == 1 && header.stream == 0 && !header.mmap;
  const bool remove_pid = whole && payload == kPidBytes && event.fds == 0 && !header.mmap;
  const bool modules = payload > 0 && !header.nf && event.data.size() > kHeaderBytes &&
                       event.data[kHeaderBytes] == '[';
  ++shape.count;
  shape.like_new_port += new_port ? 1 : 0;
  shape.like_mmap += mmap ? 1 : 0;
  shape.like_remove_pid += remove_pid ? 1 : 0;
  shape.like_modules += modules ? 1 : 0;
  shape.empty += payload == 0 ? 1 : 0;
  shape.eight_bytes += payload == kPortNameBytes ? 1 : 0;
  shape.four_bytes += payload == kPidBytes ? 1 : 0;
  shape.at_most_one_byte += payload <= 1 ? 1 : 0;
  shape.references += header.mmap && payload > 0 ? 1 : 0;
  absl::flat_hash_set<int32_t>& processes = receive ? shape.receivers : shape.senders;
  if (event.pid != kNoPid && processes.size() < kProcessesKept) processes.insert(event.pid);
  shape.without_fd += !header.nf && event.fds == 0 ? 1 : 0;
  shape.with_one_fd += !header.nf && event.fds == 1 ? 1 : 0;
  if (event.fds == 1) ++one_fd_;
  if (event.fds >= 2) ++two_fds_;
  if (!header.mmap && payload > kSmallerLimit) ++long_payloads_;
  if (!header.mmap && header.mf && payload == kSmallerLimit) ++full_at_16368_;
  if (header.byte15 > 1) ++byte15_odd_;
  if (header.byte15 != 0) ++byte15_set_;
  if (!header.mmap || payload == 0) return;
  if (header.byte15 == 1 && payload % 12 == 8) {
    ++tracked_references_;
  } else if (payload % 12 != 0) {
    ++odd_references_;
  }
}

bool ProfileEvidence::Shape::BothWays() const {
  return std::any_of(senders.begin(), senders.end(),
                     [this](int32_t pid) { return receivers.contains(pid); });
}

const ProfileEvidence::Shape& ProfileEvidence::ShapeOf(const Profile& profile, Type type) const {
  static const Shape kNone;
  const std::optional<uint8_t> number = NumberOf(profile, type);
  return number ? shapes_[*number] : kNone;
}

// Types whose payload has one form.
uint64_t ProfileEvidence::PenaltyOfShapes(const Profile& profile) const {
  uint64_t penalty = 0;
  for (const Type type : {Type::kOosm, Type::kShmAck, Type::kPortAck, Type::kReqHeadersAck}) {
    const Shape& shape = ShapeOf(profile, type);
    penalty += kTelling * (shape.count - shape.empty);
  }
  const Shape& get_port = ShapeOf(profile, Type::kGetPort);
  penalty += kTelling * (get_port.count - get_port.eight_bytes);
  const Shape& get_mmap = ShapeOf(profile, Type::kGetMmap);
  penalty += kTelling * (get_mmap.count - get_mmap.four_bytes);
  const Shape& quit = ShapeOf(profile, Type::kQuit);
  penalty += kTelling * (quit.count - quit.at_most_one_byte);
  for (const Type type : {Type::kNewPort, Type::kRemovePid, Type::kQuit, Type::kProcessReady,
                          Type::kGetPort, Type::kGetMmap, Type::kChangeFile, Type::kWhoami}) {
    penalty += kTelling * ShapeOf(profile, type).references;
  }
  return penalty;
}

// Who sends what to whom.
uint64_t ProfileEvidence::PenaltyOfRoles(const Profile& profile) const {
  uint64_t penalty = 0;
  // A router sends requests and receives none.
  const Shape& requests = ShapeOf(profile, Type::kReqHeaders);
  if (requests.BothWays()) penalty += kTelling * requests.count;
  // shm_ack answers oosm, each oosm once for every port.
  const Shape& acks = ShapeOf(profile, Type::kShmAck);
  if (ShapeOf(profile, Type::kOosm).count == 0) {
    penalty += kUnlikely * std::min(acks.count, kEmptyCap);
  }
  // An application answers a request with data.
  if (requests.count > 0 && ShapeOf(profile, Type::kData).count == 0 && !profile.queues) {
    penalty += kUnlikely * std::min(requests.count, kEmptyCap);
  }
  return penalty;
}

uint64_t ProfileEvidence::PenaltyOfTypes(const Profile& profile) const {
  uint64_t penalty = 0;
  for (size_t number = profile.types.size(); number < shapes_.size(); ++number) {
    penalty += kTelling * shapes_[number].count;
  }
  Shape all;
  for (const Shape& shape : shapes_) {
    all.like_new_port += shape.like_new_port;
    all.like_mmap += shape.like_mmap;
    all.like_remove_pid += shape.like_remove_pid;
  }
  const auto shape_of = [&](Type type) -> const Shape& { return ShapeOf(profile, type); };
  const Shape& new_port = shape_of(Type::kNewPort);
  penalty += kTelling * (new_port.count - new_port.like_new_port);
  penalty += kTelling * (all.like_new_port - new_port.like_new_port);
  const Shape& mmap = shape_of(Type::kMmap);
  penalty += kTelling * (mmap.count - mmap.like_mmap);
  penalty += kHint * (all.like_mmap - mmap.like_mmap);
  const Shape& remove_pid = shape_of(Type::kRemovePid);
  penalty += kTelling * (remove_pid.count - remove_pid.like_remove_pid);
  penalty += kHint * (all.like_remove_pid - remove_pid.like_remove_pid);
  const Shape& modules = shape_of(Type::kModules);
  penalty += kUnlikely * (modules.count - modules.like_modules);
  penalty += kTelling * shape_of(Type::kChangeFile).without_fd;  // FDS-6
  penalty += kTelling * shape_of(Type::kStartWorker).with_one_fd;
  const Shape& ready = shape_of(Type::kProcessReady);
  penalty += kUnlikely * (ready.count - ready.empty);
  const Shape& read_queue = shape_of(Type::kReadQueue);
  penalty += kUnlikely * (read_queue.count - read_queue.empty);
  penalty += kTelling * shape_of(Type::kReadSocket).count;  // only ever an item of a queue
  return penalty;
}

uint64_t ProfileEvidence::PenaltyOfBytes(const Profile& profile) const {
  uint64_t penalty = 0;
  if (profile.fds_max < 2) penalty += kTelling * two_fds_;
  if (profile.credentials) {
    penalty += kHint * (receives_ - credentials_);
    if (receives_ > 0 && credentials_ == 0) penalty += kTelling;
  } else {
    penalty += kTelling * credentials_;
  }
  if (profile.header_within_max) {
    penalty += kTelling * long_payloads_;
  } else {
    penalty += kTelling * full_at_16368_;
  }
  switch (profile.byte15) {
    case Byte15::kTracking:
      penalty += kUnlikely * std::min(byte15_odd_, kByte15Cap) + kUnlikely * odd_references_;
      break;
    case Byte15::kTrackingZero:
      penalty += kHint * std::min(byte15_set_, kByte15Cap) +
                 kUnlikely * (odd_references_ + tracked_references_);
      break;
    case Byte15::kPadding:
      penalty += kUnlikely * (odd_references_ + tracked_references_);
      break;
  }
  return penalty;
}

uint64_t ProfileEvidence::Penalty(const Profile& profile) const {
  return PenaltyOfTypes(profile) + PenaltyOfShapes(profile) + PenaltyOfRoles(profile) +
         PenaltyOfBytes(profile);
}

ProfileGuess ProfileEvidence::Guess() const {
  ProfileGuess guess;
  uint64_t least = 0;
  const Profile* oldest = nullptr;  // 0.2
  for (const Profile& profile : Profiles()) {
    if (profile.newest == "unit-seed") continue;
    if (oldest == nullptr) oldest = &profile;
    const uint64_t penalty = Penalty(profile);
    if (guess.profile == nullptr || penalty <= least) {
      guess.profile = &profile;
      least = penalty;
    }
  }
  if (guess.profile->newest == "unit-0.7" && Penalty(*oldest) == least) guess.profile = oldest;
  guess.why = "types";
  if (two_fds_ > 0) guess.why += ", two fds";
  if (credentials_ > 0) guess.why += ", credentials";
  if (long_payloads_ + full_at_16368_ > 0) guess.why += ", fragment sizes";
  if (tracked_references_ > 0) guess.why += ", tracking";
  const auto seen = [&](Type type) {
    const std::optional<uint8_t> number = NumberOf(*guess.profile, type);
    return number && shapes_[*number].count > 0;
  };
  guess.weak = !seen(Type::kNewPort) && !seen(Type::kMmap) && !seen(Type::kRemovePid);
  for (const Profile& profile : Profiles()) {
    if (profile.newest == "unit-seed" || &profile == guess.profile) continue;
    const uint64_t penalty = Penalty(profile);
    if (penalty == least) guess.also.push_back(&profile);
    if (penalty < least + kMargin && !NamesAlike(profile, *guess.profile)) guess.weak = true;
  }
  return guess;
}

// Do both rows give the types that were seen the same names?
bool ProfileEvidence::NamesAlike(const Profile& a, const Profile& b) const {
  for (size_t number = 0; number < shapes_.size(); ++number) {
    const auto index = static_cast<uint8_t>(number);
    if (shapes_[number].count > 0 && TypeName(a, index) != TypeName(b, index)) return false;
  }
  return true;
}

}  // namespace portproof
