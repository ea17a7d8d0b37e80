#include "oracle/suite/testees/plain_sender.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "oracle/suite/pattern.h"
#include "oracle/suite/testees/lies.h"
#include "protocol/chunk.h"
#include "protocol/chunk_map.h"
#include "protocol/segment_header.h"

namespace portproof::testee {
namespace {

constexpr uint32_t kChunk = 16384;
constexpr uint64_t kSegmentPlace = uint64_t{1} << 40;  // places of different segments lie far apart

uint32_t TakeHighest(AtomicWords& words, uint32_t count) {
  const auto free = [&](uint32_t chunk) { return (words.Load(chunk / 64) >> chunk % 64 & 1) != 0; };
  uint32_t first = 640 - count;
  for (uint32_t run = 0; run < count; ++run) {
    if (free(first + run)) continue;
    --first;
    run = ~0u;
  }
  for (uint32_t chunk = first; chunk < first + count; ++chunk)
    words.Take(chunk / 64, words.Load(chunk / 64), uint64_t{1} << chunk % 64);
  return first;
}

}  // namespace

std::string PlainSender::Start(const Profile& profile, const StartRequest& request) {
  profile_ = &profile;
  start_ = request;
  limit_ = PayloadLimit(profile, request.max_size);
  if (Lie("start-unchecked")) return "";
  if (request.max_size < 64 || request.max_size > 1u << 20) return "max_size";
  if (request.max_share < 1) return "max_share";
  int buffer = 0;
  socklen_t size = sizeof(buffer);
  getsockopt(kSendFd, SOL_SOCKET, SO_SNDBUF, &buffer, &size);
  if (limit_ + kHeaderBytes > static_cast<uint32_t>(buffer) - 32) return "SO_SNDBUF";
  return "";
}

std::string PlainSender::Refused(const SendRequest& request) const {
  if (failed_ && !Lie("failed-port-accepts")) return "the port failed";
  if (request.type >= profile_->types.size() && !Lie("any-type-written")) return "type";
  if (request.fds > profile_->fds_max && !Lie("any-number-of-fds")) return "fds";
  if (Lie("queue-unbounded")) return "";
  uint64_t bytes = 0;
  size_t fds = request.fds;
  for (const PieceRequest& piece : request.chain) bytes += piece.bytes;
  for (const Message& message : queue_) {
    for (const Piece& piece : message.chain) bytes += piece.done ? 0 : piece.asked.bytes;
    fds += message.begun ? 0 : message.fds.size();
  }
  if (queue_.size() >= limits_.messages || bytes > limits_.bytes || fds > limits_.fds)
    return "the queue is full";
  return "";
}

void PlainSender::AllocateSegment() {
  OwnSegment made;
  made.fd = OwnedFd(memfd_create("liar segment", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const uint64_t bytes = kUnitGeometry.SegmentBytes();
  const uint64_t more = Lie("segments-too-large") ? kChunk : 0;
  if (ftruncate(made.fd.get(), static_cast<off_t>(bytes + more)) != 0) _exit(4);
  fcntl(made.fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
  made.mapping = Mapping::Map(Kernel::Real(), made.fd.get(), bytes);
  EncodeSegmentHeader({.id = static_cast<uint32_t>(segments_.size()),
                       .source_pid = start_.pid + (Lie("segments-of-another") ? 1 : 0),
                       .destination_pid = profile_->queues ? 0 : start_.peer_pid,
                       .sent_over = profile_->queues ? kSentOverAny : start_.port_id},
                      profile_->segment_layout, kUnitGeometry,
                      made.mapping.bytes().first(kUnitGeometry.header_bytes));
  segments_.push_back(std::move(made));
}

void PlainSender::Allocate(Piece& piece) {
  const uint32_t count = std::max(1u, (piece.asked.bytes + kChunk - 1) / kChunk);
  for (uint32_t id = 0;; ++id) {
    if (id == segments_.size()) AllocateSegment();
    AtomicWords words = segments_[id].mapping.Words(profile_->segment_layout);
    auto first = AllocateChunks(words, kUnitGeometry, count);
    if (!first) continue;
    if (Lie("highest-chunks-first")) {
      FreeChunks(words, *first, count);
      first = TakeHighest(words, count);
    }
    piece.segment = id;
    piece.chunk = *first;
    piece.chunks = count;
    const size_t offset = kUnitGeometry.header_bytes + size_t{*first} * kChunk;
    const auto bytes = segments_[id].mapping.bytes().subspan(offset, piece.asked.bytes);
    suite::FillPattern(piece.asked.seed, bytes);
    piece.memory = bytes.data();
    piece.place = kSegmentPlace * (id + 1) + uint64_t{*first} * kChunk;
    return;
  }
}

void PlainSender::Build(Message& message, const SendRequest& request) {
  size_t total = 0;
  for (const PieceRequest& piece : request.chain) total += piece.shm ? 0 : piece.bytes + 1;
  message.memory.resize(total + 1);
  size_t end = 0;
  bool first = true;
  uint64_t shared_end = 0;
  for (const PieceRequest& asked : request.chain) {
    Piece piece;
    piece.asked = asked;
    if (asked.sync) {
      piece.asked.bytes = 0;
    } else if (asked.shm) {
      Allocate(piece);
      // A chunk right behind the one before is adjacent only where that was wished for.
      if (!asked.adjacent && piece.place == shared_end) piece.place += kSegmentPlace / 2;
      shared_end = piece.place + asked.bytes;
      first = false;
    } else {
      if (!first && !asked.adjacent) ++end;
      piece.memory = message.memory.data() + end;
      piece.place = end;
      suite::FillPattern(asked.seed, std::span(message.memory).subspan(end, asked.bytes));
      end += asked.bytes;
      first = false;
    }
    message.chain.push_back(piece);
  }
  message.shared = ChoosesShared(message, 0);
}

SendAnswer PlainSender::Send(const SendRequest& request) {
  SendAnswer answer;
  answer.refused = Refused(request);
  if (!answer.refused.empty()) return answer;
  stalled_ = stalled_ && !Lie("stalls-after-its-share") && !Lie("direct-write-stops-at-its-share");
  Message message;
  message.id = request.message;
  message.header.stream = request.stream;
  message.header.pid = start_.pid + (Lie("wrong-pid") ? 1 : 0);
  message.header.reply_port = request.reply_port;
  if (Lie("reply-port-sent-swapped"))
    message.header.reply_port =
        static_cast<uint16_t>(request.reply_port >> 8 | request.reply_port << 8);
  message.header.type = static_cast<uint8_t>(request.type);
  message.last_flag = request.last;
  for (uint32_t i = 0; i < request.fds; ++i) {
    message.fds.push_back(MakeFile());
    answer.fds.push_back(FileName(message.fds.back()));
  }
  message.owns_fds = request.close_fd;
  if (!request.close_fd) lent_.insert(lent_.end(), message.fds.begin(), message.fds.end());
  Build(message, request);
  if (Lie("write-lost-behind-others") && !request.batch && !queue_.empty()) return answer;
  Queue(std::move(message));
  const auto written = std::prev(queue_.end());
  if (written->shared) AnnounceSegments(written);
  const size_t waiting = queue_.size();
  const bool alone = waiting == 1 + (written->shared ? 1u : 0u);
  // Behind others it must wait; the next run sends.
  if (request.batch || !alone) {
    OwnFds(*written);
    return answer;
  }
  writes_directly_ = true;
  while (!queue_.empty() && SendNext()) {
  }
  writes_directly_ = false;
  if (!queue_.empty() && !queue_.back().begun) OwnFds(queue_.back());
  return answer;
}

void PlainSender::Queue(Message message) { queue_.push_back(std::move(message)); }

void PlainSender::OwnFds(Message& message) {
  if (message.owns_fds || message.begun || Lie("lent-fds-not-copied") || Lie("lent-fds-closed"))
    return;
  for (int& fd : message.fds)
    fd = fcntl(fd, Lie("copies-survive-exec") ? F_DUPFD : F_DUPFD_CLOEXEC, 0);
  message.owns_fds = true;
}

PlainSender::Message PlainSender::AnnouncementOf(uint32_t id) {
  Message announcement;
  announcement.internal = true;
  announcement.header.type = NumberOf(*profile_, Type::kMmap).value_or(0);
  announcement.header.pid = start_.pid;
  announcement.header.stream = Lie("announced-on-a-stream") ? 9 : 0;
  announcement.last_flag = true;
  if (!Lie("announced-without-its-fd")) announcement.fds = {segments_[id].fd.get()};
  segments_[id].announced = true;
  return announcement;
}

void PlainSender::AnnounceSegments(Place before) {
  for (uint32_t id = 0; id < segments_.size() && !profile_->queues; ++id) {
    if (segments_[id].announced) continue;
    queue_.insert(Lie("announced-too-late") ? queue_.end() : before, AnnouncementOf(id));
  }
}

// To a question for no segment.
PlainSender::Message PlainSender::ErrorAnswer() {
  Message error;
  error.internal = true;
  error.header.type = NumberOf(*profile_, Type::kRpcError).value_or(1);
  error.header.pid = start_.pid;
  error.last_flag = true;
  return error;
}

void PlainSender::Announce(uint32_t segment) {
  if (Lie("get-mmap-unanswered")) return;
  if (Lie("get-mmap-answered-with-another")) AllocateSegment();
  if (Lie("get-mmap-answered-with-another")) segment = static_cast<uint32_t>(segments_.size()) - 1;
  queue_.push_back(segment < segments_.size() ? AnnouncementOf(segment) : ErrorAnswer());
}

void PlainSender::Ask(uint32_t segment) {
  Message question;
  question.internal = true;
  question.header.type = NumberOf(*profile_, Type::kGetMmap).value_or(0);
  question.header.pid = start_.pid;
  question.memory.resize(4);
  Store<uint32_t>(segment, question.memory.data(), MachineByteOrder());
  Piece piece;
  piece.asked.bytes = 4;
  question.chain.push_back(piece);
  queue_.push_back(std::move(question));
  queue_.back().chain[0].memory = queue_.back().memory.data();
}

void PlainSender::Reset() {
  for (Message& message : queue_) Drop(message);
  queue_.clear();
  for (const int fd : lent_) close(fd);
  lent_.clear();
  stalled_ = false;
  sticky_ = false;
}

void PlainSender::Drop(Message& message) {
  for (Piece& piece : message.chain) {
    if (!piece.done) Release(piece);
  }
  if (message.owns_fds && !message.begun && !Lie("reset-leaves-fds")) {
    for (const int fd : message.fds) close(fd);
  }
}

// SHM-6: what was handed over the receiver frees.
void PlainSender::Release(Piece& piece) {
  if (piece.chunks == 0 || piece.handed_over || Lie("unsent-chunks-kept")) return;
  AtomicWords words = segments_[piece.segment].mapping.Words(profile_->segment_layout);
  FreeChunks(words, piece.chunk, piece.chunks);
}

void PlainSender::FailPort() {
  failed_ = true;
  while (!queue_.empty()) {
    Message& message = queue_.front();
    Complete(message, message.chain.size(), Lie("failure-told-as-success"));
    if (message.owns_fds && !message.begun && !Lie("failure-leaves-fds")) {
      for (const int fd : message.fds) close(fd);
    }
    queue_.pop_front();
  }
}

void PlainSender::Complete(Message& message, size_t until, bool ok) {
  if (message.internal) return;
  std::vector<Json> completed;
  for (size_t i = 0; i < until; ++i) {
    Piece& piece = message.chain[i];
    if (piece.done) continue;
    piece.done = true;
    Release(piece);
    if (!ok && piece.asked.sync && Lie("failed-sync-untold")) continue;
    if (piece.asked.sync && Lie("sync-never-completes")) continue;
    completed.push_back({{"ev", "completed"}, {"message", message.id}, {"buffer", i}, {"ok", ok}});
  }
  if (message.chain.empty() && !message.announced) {
    message.announced = true;
    completed.push_back(
        {{"ev", "completed"}, {"message", message.id}, {"buffer", nullptr}, {"ok", ok}});
  }
  if (Lie("completed-backwards")) std::reverse(completed.begin(), completed.end());
  for (const Json& event : completed) {
    events_.push_back(event);
    if (Lie("completed-twice")) events_.push_back(event);
  }
}

}  // namespace portproof::testee
