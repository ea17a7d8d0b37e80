#include "props/send_laws.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace portproof {

std::string_view Name(Law law) {
  switch (law) {
    case Law::kConservation:
      return "conservation";
    case Law::kShape:
      return "shape";
    case Law::kCompletions:
      return "completions";
    case Law::kFairness:
      return "fairness";
    case Law::kOrder:
      return "order";
    case Law::kLiveness:
      return "liveness";
    case Law::kDescriptors:
      return "descriptors";
    case Law::kBounds:
      return "bounds";
    case Law::kModel:
      return "model";
    case Law::kArrival:
      return "arrival";
    case Law::kVerdict:
      return "verdict";
  }
  return {};
}

std::string ToString(const BrokenLaw& finding) {
  const std::string_view rule = Id(finding.rule);
  const std::string_view law = Name(finding.law);
  return std::string(law) + " (" + std::string(rule) + "): " + finding.text;
}

void SenderLaws::Check(bool holds, Law law, Rule rule, uint64_t id, std::string_view sentence) {
  if (holds) return;
  std::string text = absl::StrCat("message ", id, ": ");
  text.append(sentence);
  findings_.push_back({law, rule, text});
}

void SenderLaws::Wrote(const WriteRequest& request, uint32_t announces,
                       const SendActions& actions) {
  ++now_;
  const uint64_t id = request.message_id;
  const auto refusal = std::find_if(actions.begin(), actions.end(), [](const SendAction& action) {
    return action.kind == SendAction::Kind::kRefuse;
  });
  const bool accepted = refusal == actions.end();
  size_t waiting = 0;
  uint64_t bytes = 0;
  size_t fds = request.fd_count;
  for (const Buffer& buffer : request.chain) bytes += buffer.bytes;
  for (const auto& [other, message] : messages_) {
    if (!Waiting(message)) continue;
    ++waiting;
    bytes += message.addresses.size() - message.sent;
    if (!message.begun) fds += message.request.fd_count;
  }
  const bool fits = waiting < limits_.messages_max && bytes <= limits_.bytes_max &&
                    fds <= limits_.fds_max && request.fd_count <= limits_.fds_per_message;
  const bool other_reason = !accepted && (refusal->answer == WriteAnswer::kClosed ||
                                          refusal->answer == WriteAnswer::kFailed ||
                                          refusal->answer == WriteAnswer::kNoSegment);
  Check(other_reason || accepted == fits, Law::kBounds, Rule::kSnd12, id,
        "not refused by the bounds");
  Check(accepted || actions.size() == 1U + request.fd_count, Law::kBounds, Rule::kSnd1, id,
        "refused, yet something is done");
  Check(std::none_of(
            actions.begin(), actions.end(),
            [](const SendAction& action) { return action.kind == SendAction::Kind::kComplete; }),
        Law::kCompletions, Rule::kCmp4, id, "completed inside its write");
  if (!accepted) return;
  SentMessage message;
  message.request = request;
  message.request.chain = {};
  message.chain.assign(request.chain.begin(), request.chain.end());
  for (const Buffer& buffer : request.chain) {
    for (uint32_t i = 0; i < buffer.bytes; ++i) message.addresses.push_back(buffer.address + i);
    message.ends.push_back(message.addresses.size());
    if (buffer.bytes > 0) message.segments.insert(buffer.segment_id);
  }
  const bool nameable =
      std::all_of(request.chain.begin(), request.chain.end(), [this](const Buffer& buffer) {
        return buffer.bytes == 0 || (buffer.kind == BufferKind::kShared && buffer.usable &&
                                     buffer.segment_offset % limits_.chunk_bytes == 0);
      });
  if (!nameable) message.segments.clear();  // SHM-3
  message.announces = announces;
  message.owned = request.close_fds;
  message.written_at = now_;
  for (size_t i = 0; i < request.fd_count; ++i) fd_owner_[request.fds[i]] = id;
  messages_[id] = std::move(message);
}

void SenderLaws::Withdrew(uint64_t message_id) {
  SentMessage& message = messages_.at(message_id);
  message.withdrawn = true;
  Check(!message.begun && message.completed == 0, Law::kBounds, Rule::kSnd1, message_id,
        "withdrawn after something was done for it");
}

void SenderLaws::Left(const PlannedDatagram& datagram, std::span<const ByteRun> runs) {
  ++now_;
  if (datagram.header.mmap) {
    for (const ByteRun& run : runs) LeaveHandedOver(ReferenceOf(run, limits_.chunk_bytes));
  }
  const uint64_t id = uint64_t{datagram.header.reply_port} - 1;
  const auto found = messages_.find(id);
  Check(found != messages_.end(), Law::kConservation, Rule::kIov1, id, "was never accepted");
  if (found == messages_.end()) return;
  SentMessage& message = found->second;
  Check(Waiting(message), Law::kConservation, Rule::kIov1, id, "left after its end");
  CheckOrder(datagram, message, id);
  CheckFairness(datagram, message, id);
  CheckDescriptors(datagram, message, id);
  CheckBytes(datagram, runs, message, id);
  CheckShape(datagram, runs, message, id);
  message.begun = true;
  message.last = datagram.header.last;
  message.datagram_ends.push_back(message.sent);
  message.datagram_times.push_back(now_);
  message.finished = message.sent == message.addresses.size();
  if (message.announces != ~0u) announced_.insert(message.announces);
}

// IOV-1: none lost, none twice, none moved.
void SenderLaws::CheckBytes(const PlannedDatagram& datagram, std::span<const ByteRun> runs,
                            SentMessage& message, uint64_t id) {
  for (const ByteRun& run : runs) {
    for (uint64_t i = 0; i < run.bytes; ++i) {
      uint64_t address = run.place + i;
      if (datagram.header.mmap) {  // its address is where the buffer of that place lies
        for (const Buffer& buffer : message.chain) {
          const uint64_t place = PlaceInSegment(buffer.segment_id, buffer.segment_offset);
          if (address >= place && address < place + buffer.bytes) {
            address = address - place + buffer.address;
            break;
          }
        }
      }
      const bool right =
          message.sent < message.addresses.size() && message.addresses[message.sent] == address;
      Check(right, Law::kConservation, Rule::kIov1, id, "the next byte is not the chain's next");
      if (!right) return;
      ++message.sent;
    }
  }
}

void SenderLaws::CheckShape(const PlannedDatagram& datagram, std::span<const ByteRun> runs,
                            SentMessage& message, uint64_t id) {
  const Header& header = datagram.header;
  const bool more = message.sent < message.addresses.size();
  Check(header.mf == more, Law::kShape, Rule::kIov5, id, "mf is not whether bytes remain");
  Check(header.nf == message.begun, Law::kShape, Rule::kFrg2, id, "nf is not whether it had begun");
  bool last = message.request.last;
  for (size_t i = 0; i < message.chain.size(); ++i) {
    if (message.chain[i].last && message.ends[i] <= message.sent) last = true;
  }
  Check(header.last == last, Law::kShape, Rule::kIov6, id, "last is not whether a mark was passed");
  Check(header.stream == message.request.stream && header.type == message.request.type &&
            header.pid == limits_.pid,
        Law::kShape, Rule::kFrg3, id, "a field differs from what was written");
  uint64_t bytes = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    bytes += runs[i].bytes;
    Check(runs[i].bytes > 0, Law::kShape, Rule::kIov3, id, "an empty run");
    Check(i == 0 || runs[i - 1].place + runs[i - 1].bytes != runs[i].place, Law::kShape,
          Rule::kIov2, id, "adjacent runs are not one");
  }
  Check(datagram.payload_bytes <= limits_.payload_bytes, Law::kShape, Rule::kIov3, id,
        "more payload than L");
  Check(!message.addresses.empty() || (datagram.payload_bytes == 0 && !header.nf), Law::kShape,
        Rule::kIov7, id, "an empty message is not one datagram of a header");
  const bool by_reference = !message.segments.empty();
  Check(header.mmap ? by_reference : !by_reference || bytes <= 12, Law::kShape, Rule::kShm3, id,
        "shared and plain in one message");
  if (header.mmap) {
    Check(runs.size() <= 79, Law::kShape, Rule::kShm11, id, "more than 79 references");
    Check(bytes > 12, Law::kShape, Rule::kShm4, id, "a reference to 12 bytes or fewer");
    Check(datagram.payload_bytes == 12 * runs.size(), Law::kShape, Rule::kShm1, id,
          "the payload is not its references");
    return;
  }
  Check(datagram.payload_bytes == bytes, Law::kShape, Rule::kIov3, id, "payload and runs differ");
  Check(by_reference || runs.size() <= limits_.plain_runs, Law::kShape, Rule::kIov3, id,
        "too many runs");
  Check(
      by_reference || !more || bytes == limits_.payload_bytes || runs.size() == limits_.plain_runs,
      Law::kShape, Rule::kIov4, id, "not full, and not the last");
}

void SenderLaws::CheckOrder(const PlannedDatagram& datagram, const SentMessage& message,
                            uint64_t id) {
  for (const auto& [other_id, other] : messages_) {
    if (message.begun || !Waiting(other) || other_id == id) continue;
    Check(other.begun || other.written_at > message.written_at, Law::kOrder, Rule::kSnd6, id,
          "begins before one written earlier");
    Check(!other.begun || other.request.stream != message.request.stream, Law::kOrder, Rule::kSnd6,
          id, "begins while its stream is busy");
  }
  if (!datagram.header.mmap) return;
  for (const uint32_t segment : message.segments) {
    Check(announced_.contains(segment), Law::kOrder, Rule::kShm10, id,
          "refers to a segment not yet announced");
  }
}

// SND-5: between two datagrams of a begun message, each other begun one has at most one
// turn, and one that begins was written before the waiting one last rotated.
void SenderLaws::CheckFairness(const PlannedDatagram& datagram, SentMessage& message, uint64_t id) {
  const uint64_t wire_bytes = kHeaderBytes + datagram.payload_bytes;
  for (auto& [other_id, other] : messages_) {
    if (other_id == id || !other.begun || !Waiting(other)) continue;
    uint64_t& bytes = other.since_mine[id];
    Check(bytes < limits_.share_bytes, Law::kFairness, Rule::kSnd5, id,
          "goes on beyond its share while another waits");
    Check(message.begun || message.written_at < other.rotated_at, Law::kFairness, Rule::kSnd5, id,
          "begins though written after the one that waits last rotated");
    bytes += wire_bytes;
  }
  message.since_mine.clear();
  message.share += wire_bytes;
  if (message.share >= limits_.share_bytes) {
    message.share = 0;
    message.rotated_at = now_;
  }
}

void SenderLaws::CheckDescriptors(const PlannedDatagram& datagram, const SentMessage& message,
                                  uint64_t id) {
  const bool first = !message.begun;
  Check(datagram.fd_count == (first ? message.request.fd_count : 0), Law::kDescriptors, Rule::kSnd8,
        id, "fds not with the first datagram only");
  Check(!first || datagram.fds == message.request.fds, Law::kDescriptors, Rule::kSnd8, id,
        "other fds than written");
  Check(message.fds_closed == 0 || !first, Law::kDescriptors, Rule::kSnd9, id,
        "its fds were closed before they were sent");
}

void SenderLaws::Did(const SendAction& action) {
  switch (action.kind) {
    case SendAction::Kind::kComplete:
      Completed(action);
      return;
    case SendAction::Kind::kCloseFd:
    case SendAction::Kind::kReleaseFd:
    case SendAction::Kind::kDuplicateFd:
      DescriptorAction(action);
      return;
    case SendAction::Kind::kArm:
    case SendAction::Kind::kDisarm:
      armed_ = action.kind == SendAction::Kind::kArm;
      return;
    case SendAction::Kind::kRetryLater:
      retry_asked_ = true;
      return;
    case SendAction::Kind::kForget:
      announced_.erase(action.segment_id);
      return;
    case SendAction::Kind::kRefuse:
    case SendAction::Kind::kTrack:
    case SendAction::Kind::kUntrack:
    case SendAction::Kind::kFlush:
      return;
    case SendAction::Kind::kHandOver:
      handed_over_.push_back(action.reference);
      return;
    case SendAction::Kind::kTakeBack:
      LeaveHandedOver(action.reference);
      return;
  }
}

// What leaves, or is taken back, was handed over before.
void SenderLaws::LeaveHandedOver(const Reference& reference) {
  const auto found = std::find(handed_over_.begin(), handed_over_.end(), reference);
  Check(found != handed_over_.end(), Law::kConservation, Rule::kShm6, reference.segment_id,
        "chunks leave or come back that were not handed over");
  if (found != handed_over_.end()) handed_over_.erase(found);
}

void SenderLaws::DescriptorAction(const SendAction& action) {
  const auto found = fd_owner_.find(action.fd);
  Check(found != fd_owner_.end(), Law::kDescriptors, Rule::kSnd9, action.fd, "nobody's fd");
  if (found == fd_owner_.end()) return;
  const uint64_t id = found->second;
  SentMessage& message = messages_.at(id);
  const bool owned = message.withdrawn ? copied_.contains(action.fd) : message.owned;
  if (action.kind == SendAction::Kind::kReleaseFd) {
    ++message.fds_released;
    Check(!owned, Law::kDescriptors, Rule::kSnd9, id, "gives back an fd that it owns");
    return;
  }
  if (action.kind == SendAction::Kind::kCloseFd) {
    ++message.fds_closed;
    Check(owned, Law::kDescriptors, Rule::kSnd9, id, "closes the caller's fd");
    Check(message.fds_closed <= message.request.fd_count, Law::kDescriptors, Rule::kSnd9, id,
          "closes an fd twice");
    return;
  }
  ++message.fds_copied;
  copied_.insert(action.fd);
  message.owned = message.fds_copied == message.request.fd_count;
  Check(!message.request.close_fds && !message.begun &&
            message.fds_copied <= message.request.fd_count,
        Law::kDescriptors, Rule::kSnd8, id, "copies an fd without need");
}

void SenderLaws::Completed(const SendAction& action) {
  const uint64_t id = action.message_id;
  const auto found = messages_.find(id);
  Check(found != messages_.end(), Law::kCompletions, Rule::kCmp1, id, "was never accepted");
  if (found == messages_.end()) return;
  SentMessage& message = found->second;
  const size_t index = message.completed++;
  const size_t completions = std::max<size_t>(1, message.chain.size());
  Check(index < completions, Law::kCompletions, Rule::kCmp1, id, "completes too often");
  if (index >= completions) return;
  Check(action.writer == message.request.writer, Law::kCompletions, Rule::kCmp6, id,
        "completes to another writer");
  Check(action.has_buffer == !message.chain.empty(), Law::kCompletions, Rule::kCmp1, id,
        "a completion without its buffer");
  Check(message.chain.empty() || action.buffer_id == message.chain[index].id, Law::kCompletions,
        Rule::kCmp2, id, "completes out of chain order");
  if (!action.ok) {
    Check(!message.finished, Law::kConservation, Rule::kSnd4, id, "fails after it left whole");
    message.failed = true;
    return;
  }
  Check(!message.failed, Law::kConservation, Rule::kSnd4, id, "succeeds after it failed");
  const size_t end = message.chain.empty() ? 0 : message.ends[index];
  size_t datagram = 0;
  while (datagram < message.datagram_ends.size() && message.datagram_ends[datagram] < end) {
    ++datagram;
  }
  const bool left = datagram < message.datagram_ends.size();
  Check(left, Law::kCompletions, Rule::kCmp3, id, "completes before its last byte left");
  if (!left) return;
  Check(message.datagram_times[datagram] >= latest_completion_, Law::kCompletions, Rule::kCmp2, id,
        "completes after one whose datagram left later");
  latest_completion_ = message.datagram_times[datagram];
}

void SenderLaws::CheckOnTime(const SentMessage& message, uint64_t id) {
  size_t due = message.failed ? std::max<size_t>(1, message.chain.size()) : 0;
  if (!message.failed && message.begun) {
    for (const size_t end : message.ends) due += end <= message.sent;
    if (message.chain.empty()) due = 1;
  }
  const Rule rule = message.failed ? Rule::kCmp5 : Rule::kCmp3;
  Check(message.completed == due, Law::kCompletions, rule, id, "not what is due has completed");
}

void SenderLaws::Settled(bool batched) {
  Check(handed_over_.empty(), Law::kConservation, Rule::kShm6, 0,
        "chunks are handed over that did not leave");
  bool any_waiting = false;
  bool any_begun = false;
  for (const auto& [id, message] : messages_) {
    if (message.withdrawn) continue;
    CheckOnTime(message, id);
    const size_t fds = message.request.fd_count;
    const bool over = message.begun || message.failed;
    Check(!over || message.fds_closed == (message.owned ? fds : 0), Law::kDescriptors, Rule::kSnd9,
          id, "owned fds are not closed once");
    Check(!over || message.fds_released == (message.owned ? 0 : fds), Law::kDescriptors,
          Rule::kSnd9, id, "borrowed fds are not given back once");
    Check(over || fds == 0 || message.owned, Law::kDescriptors, Rule::kSnd8, id,
          "waits with borrowed fds");
    any_waiting |= Waiting(message);
    any_begun |= Waiting(message) && message.begun;
  }
  const bool watched = armed_ || retry_asked_;
  Check(!any_waiting || watched || (batched && !any_begun), Law::kLiveness, Rule::kSnd7, 0,
        "something waits, and nothing will send it");
}

void SenderLaws::Drained() {
  for (const auto& [id, message] : messages_) {
    Check(!Waiting(message), Law::kConservation, Rule::kFrg5, id, "neither left nor failed");
  }
}

}  // namespace portproof
