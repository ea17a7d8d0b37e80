#include "oracle/suite/testees/plain_receiver.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "oracle/suite/pattern.h"
#include "oracle/suite/testees/lies.h"
#include "protocol/bytes.h"
#include "protocol/chunk_map.h"

namespace portproof::testee {
namespace {

constexpr int kDatagramsATurn = 32;

// What makes a hostile datagram hostile enough for the lies that need one.
bool IsHostile(const std::vector<uint8_t>& bytes) {
  return bytes.size() >= 150 && bytes[10] >= 200;
}

}  // namespace

bool PlainReceiver::Handles(Type type) {
  return type == Type::kData || type == Type::kRpcReady || type == Type::kMmap ||
         type == Type::kRemovePid || type == Type::kGetMmap;
}

void PlainReceiver::Start(const Profile& profile, const StartRequest& request) {
  profile_ = &profile;
  start_ = request;
  const int on = 1;
  if (profile.credentials && !Lie("no-credentials"))
    setsockopt(kReceiveFd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

int32_t PlainReceiver::SenderOf(const Received& received, const Header& header) const {
  if (Lie("header-pid-is-identity")) return header.pid;
  return received.cred_pid != 0 ? received.cred_pid : header.pid;
}

PlainReceiver::Key PlainReceiver::KeyOf(const Received& received, const Header& header) const {
  const bool by_sender = profile_->key_has_sender && !Lie("key-without-sender");
  const uint32_t stream = Lie("streams-of-16-bits") ? header.stream & 0xffff : header.stream;
  return {by_sender ? SenderOf(received, header) : 0, stream};
}

void PlainReceiver::CloseAll(std::vector<int>& fds) {
  for (const int fd : fds) close(fd);
  fds.clear();
}

bool PlainReceiver::ReceiveOne() {
  Received received;
  received.bytes.resize(start_.max_size + kHeaderBytes + 1);
  iovec vector = {received.bytes.data(), received.bytes.size()};
  alignas(cmsghdr) std::array<uint8_t, 2048> control;
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const int flags =
      (Lie("blocking-read") ? 0 : MSG_DONTWAIT) | (Lie("no-close-on-exec") ? 0 : MSG_CMSG_CLOEXEC);
  const ssize_t got = recvmsg(kReceiveFd, &message, flags);
  if (got < 0 && errno == ECONNRESET && Lie("reset-is-the-end")) HangUp();
  if (got < 0) return open_ && (errno == EINTR || errno == ECONNRESET);
  received.truncated = (message.msg_flags & MSG_TRUNC) != 0;
  received.control_truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    const size_t bytes = head->cmsg_len - CMSG_LEN(0);
    if (head->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials = {};
      std::memcpy(&credentials, CMSG_DATA(head), sizeof(credentials));
      received.cred_pid = credentials.pid;
    } else if (head->cmsg_type == SCM_RIGHTS) {
      received.fds.resize(bytes / sizeof(int));
      std::memcpy(received.fds.data(), CMSG_DATA(head), bytes);
    }
  }
  received.bytes.resize(static_cast<size_t>(got));
  if (got == 0 && received.fds.empty()) {
    pollfd poller = {kReceiveFd, POLLIN | POLLRDHUP, 0};
    poll(&poller, 1, 0);
    int left = 0;
    ioctl(kReceiveFd, FIONREAD, &left);
    const bool ended = (poller.revents & (POLLHUP | POLLRDHUP)) != 0 && left == 0;
    if (ended || Lie("empty-is-the-end")) {
      HangUp();
      return false;
    }
  }
  Handle(received);
  return true;
}

void PlainReceiver::HangUp() {
  open_ = false;
  while (!assemblies_.empty()) {
    if (Lie("hang-up-keeps-messages")) break;
    Discard(assemblies_.begin()->first);
  }
  if (!Lie("hang-up-keeps-what-is-held")) Forget([](const Waiting&) { return true; });
  if (!Lie("hang-up-untold")) events_.push_back({{"ev", "closed"}});
}

bool PlainReceiver::Turn() {
  bool any = false;
  for (int i = 0; open_ && i < kDatagramsATurn && ReceiveOne(); ++i) any = true;
  return any;
}

void PlainReceiver::Refuse(const char* rule, Received& received) {
  const bool mmap =
      received.bytes.size() >= kHeaderBytes && TypeOf(*profile_, received.bytes[10]) == Type::kMmap;
  const bool keeps =
      (Lie("fd-leak-on-refusal") && !mmap) || (Lie("fd-leak-with-empty") && received.bytes.empty());
  if (!keeps) CloseAll(received.fds);
  events_.push_back({{"ev", "refused"}, {"rule", rule}});
  if (Lie("skips-one-after-a-refusal") && received.bytes.size() == 4) skips_next_ = true;
  if (!IsHostile(received.bytes)) return;
  if (Lie("hangs-on-hostile-input")) pause();
  if (Lie("exits-on-hostile-input")) _exit(7);
  if (Lie("answers-garbage")) garbled_ = true;
}

std::optional<std::string> PlainReceiver::FirstFault(const Received& received,
                                                     const std::optional<Header>& header) const {
  if (received.fds.size() > profile_->fds_max && !Lie("surplus-fds-taken")) return "FDS-2";
  if (received.control_truncated && !Lie("ctrunc-ignored")) return "RCV-1";
  if (!header) return "HDR-1";
  if (received.bytes.size() > start_.max_size + kHeaderBytes && !Lie("trunc-ignored"))
    return "RCV-1";
  const auto type = TypeOf(*profile_, header->type);
  if (!type && !Lie("unknown-type-accepted")) return "HDR-4";
  if (type && !Handles(*type)) {
    if (Lie("unhandled-type-crashes")) _exit(9);
    return "HDR-4";
  }
  if (Lie("byte-15-judged") && header->byte15 != 0 && !header->mmap) return "HDR-5";
  if (header->nf && !received.fds.empty() && !Lie("fds-on-later-fragments")) return "FDS-1";
  return std::nullopt;
}

void PlainReceiver::Handle(Received& received) {
  for (const auto& [segment, chunk] : std::exchange(freed_before_, {})) {  // chunks-freed-twice
    AtomicWords words = segments_.at(segment).Words(profile_->segment_layout);
    FreeChunks(words, chunk, 1);
  }
  if (skips_next_) {
    skips_next_ = false;
    CloseAll(received.fds);
    return;
  }
  std::vector<uint8_t> bytes = received.bytes;
  if (Lie("short-accepted") && !bytes.empty() && bytes.size() < kHeaderBytes)
    bytes.resize(kHeaderBytes);
  const auto decoded = DecodeHeader(bytes);
  std::optional<Header> header;
  if (decoded) header = decoded->header;
  if (header && Lie("only-1-is-true")) header->last = bytes[11] == 1;
  if (header && Lie("reply-port-swapped"))
    header->reply_port = static_cast<uint16_t>(header->reply_port >> 8 | header->reply_port << 8);
  const auto fault = FirstFault(received, header);
  if (fault) {
    if (*fault == "RCV-1" && header && !Lie("trunc-keeps-the-message"))
      Discard(KeyOf(received, *header));
    if (header && Lie("any-refusal-discards")) Discard(KeyOf(received, *header));
    Refuse(fault->c_str(), received);
    return;
  }
  if (TypeOf(*profile_, header->type) == Type::kMmap) return Announced(received, *header);
  if (Waits(KeyOf(received, *header))) return Hold(received, *header);
  std::vector<uint8_t> payload(bytes.begin() + kHeaderBytes, bytes.end());
  std::vector<Chunk> chunks;
  if (header->mmap && !Lie("lists-are-bytes") && !Resolve(received, *header, payload, chunks))
    return;
  if (Cancelled(received, *header)) {
    Free(chunks);
    CloseAll(received.fds);
    return;
  }
  if (header->nf || header->mf) {
    Fragment(received, *header, std::move(payload), std::move(chunks));
    return;
  }
  if (Lie("a-whole-message-closes-all")) {
    for (auto& [key, assembly] : assemblies_) CloseAll(assembly.fds);
  }
  if (Lie("a-whole-message-discards")) Discard(KeyOf(received, *header));
  Deliver(*header, received.fds, payload, header->last);
  Free(chunks);
}

void PlainReceiver::Deliver(const Header& first, const std::vector<int>& fds,
                            const std::vector<uint8_t>& payload, bool last) {
  std::vector<std::string> names;
  names.reserve(fds.size());
  for (const int fd : fds) names.push_back(FileName(fd));
  if (Lie("hundreds-are-too-many") && events_.size() > 200) return;
  if (Lie("fd-from-the-datagram-before") && names.empty()) names = previous_fds_;
  previous_fds_ = names;
  const Json event = {
      {"ev", "delivered"},
      {"type", first.type},
      {"stream", first.stream},
      {"pid", Lie("pids-are-unsigned") ? Json(static_cast<uint32_t>(first.pid)) : Json(first.pid)},
      {"reply_port", first.reply_port},
      {"last", last},
      {"bytes", payload.size()},
      {"crc32", suite::CrcText(suite::UpdateCrc32(0, payload) ^ (Lie("wrong-checksum") ? 1u : 0u))},
      {"fds", names}};
  events_.push_back(event);
  if (Lie("empty-message-twice") && payload.empty()) events_.push_back(event);
  for (const int fd : fds) {
    if (keeps_) {
      kept_.push_back(fd);
    } else if (!Lie("fds-left-are-leaked")) {
      close(fd);
    }
  }
  if (payload.size() != sizeof(uint32_t)) return;
  const auto type = TypeOf(*profile_, first.type);
  const auto number = Load<uint32_t>(payload.data(), MachineByteOrder());
  if (type == Type::kRemovePid) Died(static_cast<int32_t>(number));
  if (type == Type::kGetMmap) answer_(number);
}

void PlainReceiver::Died(int32_t sender) {
  if (Lie("dead-sender-stays")) return;
  std::vector<Key> keys;
  for (const auto& [key, assembly] : assemblies_) {
    if (key.first == sender || (key.first == 0 && assembly.first.pid == sender))
      keys.push_back(key);
  }
  for (const Key& key : keys) Discard(key);
  if (!Lie("dead-senders-messages-stay-held"))
    Forget([sender](const Waiting& held) { return held.sender == sender; });
}

bool PlainReceiver::Fits(const Key& key, int32_t sender, uint64_t more) const {
  const auto open = assemblies_.find(key);
  const int32_t owner = open == assemblies_.end() ? sender : open->second.sender;
  uint64_t own = 0;
  uint64_t own_bytes = 0;
  for (const auto& [other, assembly] : assemblies_) {
    if (assembly.sender != owner) continue;
    ++own;
    own_bytes += assembly.payload.size();
  }
  for (const Waiting& held : waiting_) own += held.sender == owner ? 1 : 0;
  if (open == assemblies_.end() && !Lie("streams-unbounded")) {
    const uint64_t all = assemblies_.size() + waiting_.size();
    if (own >= limits_.assemblies_per_sender || all >= limits_.assemblies_per_port) return false;
    const uint64_t others_leave = limits_.assemblies_per_port - (all - own);
    if (own + 1 > others_leave / 2 && !Lie("one-sender-takes-all")) return false;
  }
  if (Lie("bytes-unbounded")) return true;
  const uint64_t has = open == assemblies_.end() ? 0 : open->second.payload.size();
  if (has + more > limits_.assembly_bytes || held_bytes_ + more > limits_.total_bytes) return false;
  const uint64_t others_leave = limits_.total_bytes - (held_bytes_ - own_bytes);
  return own_bytes + more <= others_leave / 2 || Lie("one-sender-takes-all-bytes");
}

void PlainReceiver::Fragment(Received& received, const Header& header, std::vector<uint8_t> payload,
                             std::vector<Chunk> chunks) {
  const Key key = KeyOf(received, header);
  auto open = assemblies_.find(key);
  const char* refused = nullptr;
  if (!header.nf && open != assemblies_.end()) {
    refused = "FRG-1";
    if (Lie("duplicate-discards")) Discard(key);
    if (Lie("duplicate-replaces")) {
      Discard(key);
      refused = nullptr;
    }
  } else if (header.nf && open == assemblies_.end()) {
    if (!Lie("orphan-kept") || seen_keys_.contains(key)) refused = "FRG-2";
  } else if (payload.empty() && Lie("empty-fragments-refused")) {
    refused = "FRG-7";
  } else if (header.nf && open->second.first.type != header.type && !Lie("type-change-appended")) {
    refused = "FRG-3";
    if (!Lie("type-change-keeps-the-message")) Discard(key);
  }
  if (refused == nullptr && !Fits(key, SenderOf(received, header), payload.size())) {
    refused = "FRG-8";
    if (!Lie("beyond-a-limit-keeps-the-message")) Discard(key);
    if (Lie("beyond-a-limit-keeps-fds")) received.fds.clear();
  }
  if (refused != nullptr) {
    if (!Lie("refused-chunks-kept")) Free(chunks);
    Refuse(refused, received);
    return;
  }
  seen_keys_.insert(key);
  Assembly& assembly = assemblies_[key];
  if (!header.nf || assembly.first == Header{}) {
    assembly.first = header;
    assembly.sender = SenderOf(received, header);
    assembly.fds = received.fds;
  }
  assembly.last = assembly.last || (header.last && !(Lie("last-of-the-first-only") && header.nf));
  assembly.payload.insert(assembly.payload.end(), payload.begin(), payload.end());
  assembly.chunks.insert(assembly.chunks.end(), chunks.begin(), chunks.end());
  held_bytes_ += payload.size();
  if (Lie("a-buffer-for-each-fragment")) assembly.waste.emplace_back(16384, 1);
  if (header.mf) return;
  Assembly whole = std::move(assembly);
  held_bytes_ -= whole.payload.size();
  assemblies_.erase(key);
  Deliver(whole.first, whole.fds, whole.payload, whole.last);
  Free(whole.chunks);
}

void PlainReceiver::Discard(const Key& key) {
  const auto open = assemblies_.find(key);
  if (open == assemblies_.end()) return;
  CloseAll(open->second.fds);
  Free(open->second.chunks);
  held_bytes_ -= open->second.payload.size();
  assemblies_.erase(open);
}

template <typename Which>
void PlainReceiver::Forget(Which which) {
  for (Waiting& held : waiting_) {
    if (which(held)) CloseAll(held.received.fds);
  }
  std::erase_if(waiting_, which);
}

void PlainReceiver::Reset() {
  while (!assemblies_.empty()) Discard(assemblies_.begin()->first);
  CloseAll(kept_);
  keeps_ = false;
  skips_next_ = false;
  seen_keys_.clear();
  Forget([](const Waiting&) { return true; });
  asked_.clear();
  if (open_) {
    const auto lie = std::exchange(ChosenLie(), "");
    Json ignored = Json::array();
    std::swap(ignored, events_);
    while (open_ && ReceiveOne()) {
    }
    while (!assemblies_.empty()) Discard(assemblies_.begin()->first);
    Forget([](const Waiting&) { return true; });
    asked_.clear();
    CloseAll(kept_);
    ChosenLie() = lie;
  }
  events_ = Json::array();
}

}  // namespace portproof::testee
