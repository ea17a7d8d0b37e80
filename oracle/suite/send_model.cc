#include "oracle/suite/send_model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "oracle/suite/pattern.h"

namespace portproof::suite {
namespace {

constexpr uint32_t kPlainRuns = 7;
constexpr uint32_t kSharedRuns = 79;
constexpr uint32_t kSmallestShared = 13;  // SHM-4: 12 bytes or fewer go plain
constexpr uint32_t kChunk = 16384;
constexpr uint64_t kApart = 1 << 20;

[[noreturn]] void Break(Rule rule, std::string expected, std::string seen) {
  throw CaseEnd{Verdict::kFail, rule, std::move(expected), std::move(seen)};
}

std::string TextOf(const SendModel::Completion& completion) {
  return absl::StrCat("message ", completion.first, " buffer ",
                      completion.second ? absl::StrCat(*completion.second) : "none");
}

std::string Times(const char* flag, bool set) { return absl::StrCat(flag, " = ", set ? 1 : 0); }

}  // namespace

Json Message::Command() const {
  Json command = {{"cmd", "send"}, {"message", id}, {"type", type}, {"stream", stream}};
  Json pieces = Json::array();
  for (const Piece& piece : chain) {
    Json object = Json::object();
    if (piece.sync) {
      object["sync"] = true;
      if (piece.last) object["last"] = true;
    } else {
      object = {{"bytes", piece.bytes}, {"seed", piece.seed}};
      if (piece.adjacent) object["adjacent"] = true;
      if (piece.shm) object["shm"] = true;
    }
    pieces.push_back(std::move(object));
  }
  command["chain"] = std::move(pieces);
  if (reply_port != 0) command["reply_port"] = reply_port;
  if (last) command["last"] = true;
  if (fds != 0) command["fds"] = fds;
  if (close_fd) command["close_fd"] = true;
  if (batch) command["batch"] = true;
  return command;
}

bool SendModel::ChoosesShared(const Item& item) {
  bool any = false;
  for (const Piece& piece : item.message.chain) {
    if (piece.sync || piece.bytes == 0) continue;
    if (!piece.shm) return false;
    any = true;
  }
  return any;
}

void SendModel::Write(const Message& message, std::vector<FileId> fds) {
  Item item;
  item.message = message;
  item.fds = std::move(fds);
  item.shared = ChoosesShared(item);
  uint64_t end = 0;
  bool first = true;
  for (const Piece& piece : message.chain) {
    if (piece.sync) {
      item.places.push_back(0);
      continue;
    }
    uint64_t place = piece.adjacent && !first ? end : end + kApart;
    if (piece.shm) place = (place + kChunk - 1) / kChunk * kChunk;
    item.places.push_back(place);
    end = place + piece.bytes;
    first = false;
    const std::vector<uint8_t> bytes = Pattern(piece.seed, piece.bytes);
    item.bytes.insert(item.bytes.end(), bytes.begin(), bytes.end());
  }
  queue_.push_back(std::move(item));
}

// The four steps of section 3.
SendModel::Next SendModel::Compose(const Item& item, bool merge) const {
  const uint64_t limit = item.shared ? 0x7fffffff : config_.payload_bytes;
  const uint32_t runs_max =
      item.shared ? std::min(kSharedRuns, config_.payload_bytes / 12) : kPlainRuns;
  Next next;
  next.piece = item.piece;
  next.skip = item.skip;
  uint64_t total = 0;
  uint32_t runs = 0;
  uint64_t end = 0;
  const std::vector<Piece>& chain = item.message.chain;
  for (; next.piece < chain.size(); ++next.piece, next.skip = 0) {
    const Piece& piece = chain[next.piece];
    if (piece.sync) {
      next.marked = next.marked || piece.last;
      continue;
    }
    const uint64_t left = piece.bytes - next.skip;
    if (left == 0) continue;
    if (total == limit) break;
    const uint64_t place = item.places[next.piece] + next.skip;
    if (runs == 0 || !merge || place != end) {
      if (runs == runs_max) break;
      ++runs;
    }
    const uint64_t taken = std::min(left, limit - total);
    total += taken;
    end = place + taken;
    if (taken < left) {
      next.skip += static_cast<uint32_t>(taken);
      break;
    }
  }
  const auto from = item.bytes.begin() + static_cast<std::ptrdiff_t>(item.sent);
  next.payload.assign(from, from + static_cast<std::ptrdiff_t>(total));
  next.more = item.sent + total < item.bytes.size();
  next.last = item.message.last || item.marked || next.marked;
  next.shared = item.shared && total >= kSmallestShared;
  next.small = item.shared && !next.shared;
  return next;
}

SendModel::Next SendModel::ComposeNext(const Item& item) const {
  Next next = Compose(item, true);
  next.unmerged = Compose(item, false).payload;
  return next;
}

// SND-6: the first in the queue that has begun, or that is the first unbegun one and
// whose stream is free.
size_t SendModel::NextIndex() const {
  bool first_unbegun = true;
  for (size_t i = 0; i < queue_.size(); ++i) {
    if (queue_[i].begun) return i;
    if (!first_unbegun) continue;
    first_unbegun = false;
    const bool busy = std::any_of(queue_.begin(), queue_.end(), [&](const Item& other) {
      return other.begun && other.message.stream == queue_[i].message.stream;
    });
    if (!busy) return i;
  }
  return 0;
}

std::string SendModel::NextText() const {
  if (queue_.empty()) return "nothing";
  const Item& item = queue_[NextIndex()];
  const Next next = ComposeNext(item);
  return absl::StrCat("message ", item.message.id, " (stream ", item.message.stream,
                      "): ", next.payload.size(), " bytes", next.shared ? " in shared memory" : "",
                      item.begun ? " nf" : "", next.more ? " mf" : "", next.last ? " last" : "");
}

Rule SendModel::LossRule() const {
  const Item& item = queue_[NextIndex()];
  if (item.begun) return Rule::kFrg5;
  if (item.bytes.empty()) return Rule::kIov7;
  return pressed_ ? Rule::kSnd2 : Rule::kSnd1;
}

bool SendModel::IsBegun(int64_t id) const {
  return std::any_of(queue_.begin(), queue_.end(),
                     [id](const Item& item) { return item.message.id == id && item.begun; });
}

std::vector<FileId> SendModel::WaitingFds() const {
  std::vector<FileId> fds;
  for (const Item& item : queue_) {
    if (!item.begun) fds.insert(fds.end(), item.fds.begin(), item.fds.end());
  }
  return fds;
}

void SendModel::JudgeHeader(const Arrived& arrived) const {
  const std::vector<uint8_t>& bytes = arrived.bytes;
  if (bytes.size() < kHeaderBytes)
    Break(Rule::kHdr1, "16 bytes at least", absl::StrCat(bytes.size(), " bytes"));
  for (size_t offset = 11; offset < 15; ++offset) {
    if (bytes[offset] > 1)
      Break(Rule::kHdr3, "flags of 0 or 1", absl::StrCat("byte ", offset, " = ", bytes[offset]));
  }
  if (bytes[15] != 0) Break(Rule::kHdr5, "0 in byte 15", absl::StrCat(bytes[15]));
  const Header header = DecodeHeader(bytes)->header;
  if (header.pid != config_.pid)
    Break(Rule::kHdr6, absl::StrCat("pid ", config_.pid), absl::StrCat("pid ", header.pid));
  if (header.type >= config_.profile->types.size())
    Break(Rule::kHdr4, absl::StrCat("a type below ", config_.profile->types.size()),
          absl::StrCat("type ", header.type));
  if (header.nf && !arrived.fds.empty())
    Break(Rule::kSnd8, "no descriptors behind the first datagram",
          absl::StrCat(arrived.fds.size(), " descriptors"));
  if (arrived.rights > 1 || arrived.fds.size() > config_.profile->fds_max)
    Break(Rule::kFds2, absl::StrCat("at most ", config_.profile->fds_max, " descriptors"),
          absl::StrCat(arrived.fds.size(), " in ", arrived.rights, " control messages"));
}

const SendModel::Item* SendModel::Owner(const Header& header) const {
  for (const Item& item : queue_) {
    if (item.message.stream == header.stream && item.begun == header.nf) return &item;
  }
  return nullptr;
}

// Which message goes on: SND-5 and SND-6.
void SendModel::JudgeOrder(const Header& header, const Item& item) const {
  const std::string expected = NextText();
  const std::string seen = ToString(header);
  if (item.message.stream == header.stream && item.begun == header.nf) return;
  const Item* const owner = Owner(header);
  if (owner == nullptr) {
    if (header.nf) Break(Rule::kFrg2, expected, seen);
    if (item.message.stream == header.stream) Break(Rule::kFrg1, expected, seen);
    Break(Rule::kIov1, expected, absl::StrCat(seen, ", which nothing waiting has"));
  }
  const bool busy = std::any_of(queue_.begin(), queue_.end(), [&](const Item& other) {
    return other.begun && other.message.stream == header.stream;
  });
  if (!item.begun && item.bytes.empty()) Break(Rule::kIov7, expected, seen);
  if (pressed_ && !item.begun && !owner->begun && !busy) Break(Rule::kSnd2, expected, seen);
  // Not begun, and not even the first of those: it passed one that waits.
  const auto first =
      std::find_if(queue_.begin(), queue_.end(), [](const Item& other) { return !other.begun; });
  const bool passed = !owner->begun && &*first != owner;
  const bool order = passed || (!owner->begun && (busy || !item.begun));
  Break(order ? Rule::kSnd6 : Rule::kSnd5, expected, seen);
}

void SendModel::JudgePlain(std::span<const uint8_t> payload, bool more, const Item& item,
                           const Next& next) const {
  const size_t got = payload.size();
  const size_t want = next.payload.size();
  const std::string expected = absl::StrCat(want, " bytes of payload");
  const std::string seen = absl::StrCat(got, " bytes");
  if (got == want) return;
  if (item.bytes.empty()) Break(Rule::kIov7, expected, seen);
  if (got > config_.payload_bytes)
    Break(Rule::kIov3, absl::StrCat("at most ", config_.payload_bytes, " bytes"), seen);
  if (got > want)
    Break(item.sent + got <= item.bytes.size() ? Rule::kIov3 : Rule::kIov1, expected, seen);
  if (got == next.unmerged.size()) Break(Rule::kIov2, expected, seen);
  if (got == 0) Break(Rule::kFrg7, expected, seen);
  Break(more ? Rule::kIov4 : Rule::kIov1, expected, seen);
}

void SendModel::JudgeShared(std::span<const uint8_t> payload, const Item& item, const Next& next,
                            std::vector<Unread>& unread) const {
  std::vector<Reference> references;
  if (!DecodeReferences(payload, false, MachineByteOrder(), references))
    Break(Rule::kShm1, "a list of references", absl::StrCat(payload.size(), " bytes"));
  std::vector<uint8_t> content;
  for (const Reference& reference : references) {
    if (!InRange(reference, kUnitGeometry))
      Break(Rule::kShm2, "a reference to chunks of a segment", ToString(reference));
    auto bytes = config_.content(reference);
    if (!bytes) {  // taken on trust until the segment is known
      const size_t from = std::min(content.size(), next.payload.size());
      const size_t count = std::min<size_t>(reference.bytes, next.payload.size() - from);
      const auto begin = next.payload.begin() + static_cast<std::ptrdiff_t>(from);
      bytes.emplace(begin, begin + static_cast<std::ptrdiff_t>(count));
      bytes->resize(reference.bytes);
      unread.push_back({reference, *bytes});
    }
    if (bytes->size() != reference.bytes)
      Break(Rule::kShm2, "a reference to busy chunks of an announced segment", ToString(reference));
    content.insert(content.end(), bytes->begin(), bytes->end());
  }
  const uint32_t runs_max = std::min(kSharedRuns, config_.payload_bytes / 12);
  if (references.size() > runs_max)
    Break(Rule::kShm11, absl::StrCat("at most ", runs_max, " references"),
          absl::StrCat(references.size()));
  if (content.size() != next.payload.size())
    Break(content.size() < next.payload.size() && item.sent + content.size() < item.bytes.size()
              ? Rule::kShm11
              : Rule::kIov1,
          absl::StrCat(next.payload.size(), " bytes referred to"), absl::StrCat(content.size()));
  if (content != next.payload)
    Break(Rule::kIov1, "the bytes of the chain behind the references", "other bytes");
}

std::set<uint32_t> SendModel::UnknownSegments() const {
  std::set<uint32_t> ids;
  for (const Unread& unread : unread_) ids.insert(unread.reference.segment_id);
  return ids;
}

void SendModel::Announced() {
  std::vector<Unread> still;
  for (Unread& unread : unread_) {
    const auto bytes = config_.content(unread.reference);
    if (!bytes) {
      still.push_back(std::move(unread));
    } else if (bytes->size() != unread.reference.bytes) {
      Break(Rule::kShm2, "a reference to chunks that are busy when the announcement came",
            ToString(unread.reference));
    } else if (*bytes != unread.expected) {
      Break(Rule::kIov1, "the bytes of the chain behind the references", "other bytes");
    }
  }
  unread_ = std::move(still);
}

void SendModel::JudgeFds(const Arrived& arrived, const Item& item) const {
  const size_t wanted = item.begun ? 0 : item.fds.size();
  if (arrived.fds.size() != wanted)
    Break(Rule::kSnd8, absl::StrCat(wanted, " descriptors with this datagram"),
          absl::StrCat(arrived.fds.size()));
  if (!item.begun && arrived.fds != item.fds)
    Break(Rule::kSnd8, "the files the testee named", "others");
}

// A wrong mmap flag: chosen wrongly, too small, or left over.
Rule SendModel::ModeRule(const Item& item, const Next& next) {
  if (next.small) return Rule::kShm4;
  const bool any = std::any_of(item.message.chain.begin(), item.message.chain.end(),
                               [](const Piece& piece) { return piece.shm; });
  return any ? Rule::kShm3 : Rule::kShm5;
}

void SendModel::JudgeFields(const Arrived& arrived, const Header& header, const Item& item,
                            const Next& next, std::vector<Unread>& unread) const {
  const auto payload = std::span(arrived.bytes).subspan(kHeaderBytes);
  const Rule wrong = item.begun ? Rule::kFrg3 : Rule::kHdr2;
  if (header.type != item.message.type || header.reply_port != item.message.reply_port)
    Break(wrong, absl::StrCat("type ", item.message.type, " reply_port ", item.message.reply_port),
          ToString(header));
  if (header.mmap != next.shared)
    Break(ModeRule(item, next), Times("mmap", next.shared), ToString(header));
  if (next.shared) {
    JudgeShared(payload, item, next, unread);
  } else {
    JudgePlain(payload, header.mf, item, next);
  }
  if (header.mf != next.more) Break(Rule::kIov5, Times("mf", next.more), ToString(header));
  if (header.last != next.last) Break(Rule::kIov6, Times("last", next.last), ToString(header));
  if (!next.shared && !std::equal(payload.begin(), payload.end(), next.payload.begin()))
    Break(Rule::kIov1, "the bytes of the chain", "other bytes");
  JudgeFds(arrived, item);
}

void SendModel::Take(const Arrived& arrived) {
  ++datagrams_;
  JudgeHeader(arrived);
  const Header header = DecodeHeader(arrived.bytes)->header;
  if (queue_.empty()) Break(Rule::kIov1, "nothing more: all was sent", ToString(header));
  const size_t index = NextIndex();
  const Item& item = queue_[index];
  JudgeOrder(header, item);
  const Next next = ComposeNext(item);
  std::vector<Unread> unread;
  try {
    JudgeFields(arrived, header, item, next, unread);
  } catch (const CaseEnd& end) {
    if (end.rule < Rule::kIov1 || end.rule > Rule::kIov7) throw;
    // Another one of that stream that waits, and is this very datagram: it overtook.
    for (const Item& other : queue_) {
      if (other.begun || &other == &item || other.message.stream != header.stream || item.begun)
        continue;
      const Next ahead = ComposeNext(other);
      if (!std::equal(ahead.payload.begin(), ahead.payload.end(),
                      arrived.bytes.begin() + kHeaderBytes, arrived.bytes.end()))
        continue;
      Break(Rule::kSnd6, NextText(), absl::StrCat("message ", other.message.id, " before it"));
    }
    throw;
  }
  unread_.insert(unread_.end(), unread.begin(), unread.end());
  Commit(index, next, arrived.bytes.size());
}

void SendModel::Commit(size_t index, const Next& next, size_t datagram_bytes) {
  Item& item = queue_[index];
  for (size_t piece = item.piece; piece < next.piece; ++piece)
    due_.push_back({{item.message.id, static_cast<int64_t>(piece)}});
  if (item.message.chain.empty()) due_.push_back({{item.message.id, std::nullopt}});
  item.begun = true;
  item.piece = next.piece;
  item.skip = next.skip;
  item.sent += next.payload.size();
  item.marked = item.marked || next.marked;
  if (!next.more) {
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(index));
    return;
  }
  item.share += datagram_bytes;
  if (item.share < config_.share_bytes) return;
  item.share = 0;  // SND-5
  Item rotated = std::move(item);
  queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(index));
  queue_.push_back(std::move(rotated));
}

void SendModel::Fail() {
  for (const Item& item : queue_) {
    for (size_t piece = item.piece; piece < item.message.chain.size(); ++piece)
      due_.push_back({{item.message.id, static_cast<int64_t>(piece)}, false});
    if (item.message.chain.empty()) due_.push_back({{item.message.id, std::nullopt}, false});
  }
  queue_.clear();
}

void SendModel::Complete(const std::vector<SeenEvent>& seen) {
  missing_.reset();
  if (!config_.completes) return due_.clear();
  size_t index = 0;
  for (const SeenEvent& event : seen) {
    if (event.kind != SeenEvent::Kind::kCompleted) continue;
    const Completion what = {event.message, event.buffer};
    const std::string expected =
        index < due_.size()
            ? absl::StrCat(TextOf(due_[index].what), due_[index].ok ? " completed" : " failed")
            : "no completion";
    const auto same = [&](const Due& due) { return due.what == what; };
    if (index >= due_.size() || !same(due_[index])) {
      if (done_.contains(what))
        Break(Rule::kCmp1, expected, absl::StrCat(TextOf(what), " a second time"));
      const bool missing = index < due_.size() &&
                           std::none_of(seen.begin(), seen.end(), [&](const SeenEvent& other) {
                             return due_[index].what == Completion(other.message, other.buffer);
                           });
      if (missing) missing_ = due_[index].what;
      if (missing)
        Break(due_[index].ok ? Rule::kCmp1 : Rule::kCmp5, expected, "no such completion");
      if (std::any_of(due_.begin(), due_.end(), same))
        Break(Rule::kCmp2, expected, ToString(event));
      const bool waits = std::any_of(queue_.begin(), queue_.end(), [&](const Item& item) {
        return item.message.id == event.message;
      });
      Break(waits ? Rule::kCmp3 : Rule::kCmp1, expected, ToString(event));
    }
    if (due_[index].ok != event.ok)
      Break(due_[index].ok ? Rule::kSnd4 : Rule::kCmp5, expected, ToString(event));
    done_.insert(what);
    ++index;
  }
  if (index < due_.size()) {
    missing_ = due_[index].what;
    Break(due_[index].ok ? Rule::kCmp1 : Rule::kCmp5,
          absl::StrCat(TextOf(due_[index].what), due_[index].ok ? " completed" : " failed"),
          "no such completion");
  }
  due_.clear();
}

}  // namespace portproof::suite
