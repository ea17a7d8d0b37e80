#include "oracle/delivery.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <tuple>
#include <utility>

#include "protocol/header.h"

namespace portproof {
namespace {

constexpr size_t kLateKept = 64;
constexpr size_t kDepthMax = 4096;  // of a search, which only a violation needs
constexpr size_t kLanesKept = 16;
constexpr size_t kLanesMax = 256;  // threads with datagrams on their way
constexpr int kLikenessMin = 2;

uint64_t Mix(uint64_t a, uint64_t b) {
  const __uint128_t product =
      static_cast<__uint128_t>(a ^ 0x9e3779b97f4a7c15ULL) * (b ^ 0xd1b54a32d192ed03ULL);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Sixteen bytes, or as many as there are and zeros behind them.
struct Block {
  uint64_t words[2] = {0, 0};
  bool zero() const { return (words[0] | words[1]) == 0; }
};
constexpr size_t kBlockBytes = sizeof(Block);

Block BlockAt(std::span<const uint8_t> bytes, size_t at) {
  Block block;
  const size_t left = bytes.size() - at;
  if (left >= kBlockBytes) {
    memcpy(&block, bytes.data() + at, kBlockBytes);
  } else if (at >= kBlockBytes && std::endian::native == std::endian::little) {
    // The end of it, without a copy of so many bytes: read with what is in front.
    memcpy(&block, bytes.data() + bytes.size() - kBlockBytes, kBlockBytes);
    const unsigned surplus = 8 * static_cast<unsigned>(kBlockBytes - left);  // 8 to 120
    if (surplus >= 64) {
      block.words[0] = block.words[1] >> (surplus - 64);
      block.words[1] = 0;
    } else {
      block.words[0] = block.words[0] >> surplus | block.words[1] << (64 - surplus);
      block.words[1] >>= surplus;
    }
  } else if (left > 0) {
    memcpy(&block, bytes.data() + at, left);
  }
  return block;
}

// Of the bytes as if zeros followed them up to `size`; blocks of zeros at the end do not
// count, so that "data" and "data_zero" may be cut anywhere.
uint64_t HashOf(std::span<const uint8_t> bytes, uint64_t size) {
  static constexpr std::array<uint8_t, 256> kZeros = {};
  while (bytes.size() > kZeros.size() &&
         memcmp(bytes.data() + bytes.size() - kZeros.size(), kZeros.data(), kZeros.size()) == 0) {
    bytes = bytes.first(bytes.size() - kZeros.size());  // whole blocks of them
  }
  size_t last = bytes.empty() ? 0 : (bytes.size() - 1) / kBlockBytes * kBlockBytes;
  Block block = BlockAt(bytes, last);
  while (block.zero() && last > 0) {
    last -= kBlockBytes;
    block = BlockAt(bytes, last);
  }
  uint64_t lanes[2] = {size, ~size};
  for (size_t at = 0; at < last; at += kBlockBytes) {
    const Block one = BlockAt(bytes, at);
    lanes[0] = Mix(one.words[0], lanes[0]);
    lanes[1] = Mix(one.words[1], lanes[1]);
  }
  return Mix(Mix(block.words[0], lanes[0]), Mix(block.words[1], lanes[1]));
}

bool SameBytes(const Print& a, const Print& b) {
  if (a.size != b.size || a.head != b.head) return false;
  return !a.whole || !b.whole || a.all == b.all;
}

}  // namespace

Print PrintOf(const Event& event) {
  Print print;
  print.size = event.size;
  print.whole = IsWhole(event);
  const Block head = BlockAt(event.data, 0);
  static_assert(kBlockBytes == kHeaderBytes);
  print.head = Mix(head.words[0], ~head.words[1]);
  print.all = print.whole ? HashOf(event.data, event.size) : 0;
  return print;
}

Delivery::Lane& Delivery::LaneOf(int32_t tid) {
  for (Lane& lane : lanes_) {
    if (lane.tid == tid) return lane;
  }
  if (lanes_.size() >= kLanesKept) {
    std::erase_if(lanes_, [](const Lane& lane) { return lane.waiting.empty(); });
  }
  if (lanes_.size() >= kLanesMax) ForgetLanes();
  lanes_.push_back({tid, {}, {}});
  return lanes_.back();
}

// The older half: threads whose datagrams nobody read.
void Delivery::ForgetLanes() {
  forgot_ = true;
  const auto half = lanes_.begin() + static_cast<ptrdiff_t>(lanes_.size() / 2);
  for (auto lane = lanes_.begin(); lane != half; ++lane) outstanding_ -= lane->waiting.size();
  lanes_.erase(lanes_.begin(), half);
}

void SentQueue::PushFront(const Sent& sent) {
  if (head_ == 0) {
    items_.insert(items_.begin(), sent);
  } else {
    items_[--head_] = sent;
  }
}

void SentQueue::PopFront(size_t count) {
  head_ += count;
  if (head_ == items_.size()) {
    items_.clear();
    head_ = 0;
  } else if (head_ >= 64 && head_ * 2 >= items_.size()) {
    items_.erase(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
}

void SentQueue::Erase(size_t index) {
  items_.erase(items_.begin() + static_cast<ptrdiff_t>(head_ + index));
}

void Delivery::Push(int32_t tid, const Sent& sent) {
  LaneOf(tid).waiting.PushBack(sent);
  ++outstanding_;
  if (outstanding_ > kOutstandingMax) Forget();
}

// The older half: whatever read this port would have read it by now.
void Delivery::Forget() {
  forgot_ = true;
  for (Lane& lane : lanes_) {
    const size_t half = lane.waiting.size() / 2;
    lane.waiting.PopFront(half);
    outstanding_ -= half;
  }
}

void Delivery::Take(const Event& received, uint64_t entered, uint64_t returned, Match& match) {
  match.kind = Match::Kind::kUnsent;
  match.sent.reset();
  match.lost.clear();
  returned_ = returned;
  const Print print = PrintOf(received);
  if (TakePassed(received, print, entered, true, match) || TakeHead(received, print, match) ||
      TakePassed(received, print, entered, false, match) || TakeDeep(print, match) ||
      TakeKept(print, match)) {
    return;
  }
  TakeAltered(received, print, match);
}

// One that was passed over by a receive which may have been after this one.
bool Delivery::TakePassed(const Event& received, const Print& print, uint64_t entered,
                          bool by_sender, Match& match) {
  for (auto passed = passed_.begin(); passed != passed_.end(); ++passed) {
    if (entered >= passed->returned || !SameBytes(passed->sent.print, print)) continue;
    if (by_sender && received.cred_pid > 0 && passed->sent.pid != received.cred_pid) continue;
    match.kind = Match::Kind::kSame;
    match.sent = passed->sent;
    passed_.erase(passed);
    return true;
  }
  return false;
}

// One that should have been received before, or was.
bool Delivery::TakeKept(const Print& print, Match& match) {
  for (auto passed = passed_.begin(); passed != passed_.end(); ++passed) {
    if (!SameBytes(passed->sent.print, print)) continue;
    match.kind = passed->sent.killed ? Match::Kind::kSame : Match::Kind::kOrder;
    match.sent = passed->sent;
    passed_.erase(passed);
    return true;
  }
  for (size_t i = 0; i < late_.size(); ++i) {
    if (!SameBytes(late_[i].print, print)) continue;
    match.kind = Match::Kind::kLate;
    match.sent = late_[i];
    late_.Erase(i);
    return true;
  }
  for (const Lane& lane : lanes_) {
    for (const Sent& sent : lane.consumed) {
      if (!SameBytes(sent.print, print)) continue;
      match.kind = Match::Kind::kTwice;
      match.sent = sent;
      return true;
    }
  }
  return false;
}

void Delivery::Pass(const Sent& sent, Match& match) {
  passed_.push_back({sent, returned_});
  if (passed_.size() <= kPassedKept) return;
  if (!passed_.front().sent.killed) match.lost.push_back(passed_.front().sent);
  passed_.erase(passed_.begin());
}

void Delivery::Abandon(uint64_t entered, uint64_t ended) {
  if (abandoned_.size() < kPassedKept) abandoned_.push_back({entered, ended});
}

std::vector<Sent> Delivery::TakeLost() {
  // An abandoned receive explains a loss only near its end: strace prints a return soon.
  constexpr uint64_t kNear = 256;
  std::vector<Sent> lost;
  for (const Passed& passed : passed_) {
    if (passed.sent.killed) continue;
    const auto taker =
        std::find_if(abandoned_.begin(), abandoned_.end(), [&](const Abandoned& abandoned) {
          return abandoned.entered < passed.returned && abandoned.ended < passed.returned + kNear;
        });
    if (taker == abandoned_.end()) {
      lost.push_back(passed.sent);
    } else {
      abandoned_.erase(taker);
    }
  }
  passed_.clear();
  abandoned_.clear();
  return lost;
}

void Delivery::Consume(Lane& lane, size_t depth, Match& match) {
  for (size_t i = 0; i <= depth; ++i) {
    --outstanding_;
    if (i == depth) {
      match.sent = lane.waiting.front();
      lane.waiting.PopFront();
      lane.consumed.PushBack(*match.sent);
      if (lane.consumed.size() > kConsumedKept) lane.consumed.PopFront();
      return;
    }
    const Sent sent = lane.waiting.front();
    lane.waiting.PopFront();
    if (sent.killed || !Exchange(lane, sent)) Pass(sent, match);
  }
}

// `passed` was not lost if an equal datagram of another thread, taken for it before,
// can still be outstanding instead.
bool Delivery::Exchange(const Lane& lane, const Sent& passed) {
  for (Lane& other : lanes_) {
    if (&other == &lane || other.consumed.empty()) continue;
    if (!SameBytes(other.consumed.back().print, passed.print)) continue;
    other.waiting.PushFront(other.consumed.back());
    other.consumed.PopBack();
    ++outstanding_;
    return true;
  }
  return false;
}

bool Delivery::TakeHead(const Event& received, const Print& print, Match& match) {
  Lane* best = nullptr;
  size_t best_depth = 0;
  // The smallest rank wins: the sender that the credentials name, then a datagram that surely
  // left, then the earliest.
  std::tuple<bool, bool, uint64_t> best_rank;
  for (Lane& lane : lanes_) {
    const std::optional<size_t> depth = HeadLike(lane, print);
    if (!depth) continue;
    const Sent& head = lane.waiting[*depth];
    const bool named = received.cred_pid > 0 && head.pid == received.cred_pid;
    const std::tuple<bool, bool, uint64_t> rank = {!named, head.killed, head.sequence};
    if (best != nullptr && rank > best_rank) continue;
    best = &lane;
    best_depth = *depth;
    best_rank = rank;
  }
  if (best == nullptr) return false;
  match.kind = Match::Kind::kSame;
  Consume(*best, best_depth, match);
  return true;
}

// The position of the thread's next datagram, if its bytes are these. Datagrams whose send was
// killed may not have left, so the first one that surely left is preferred to them.
std::optional<size_t> Delivery::HeadLike(const Lane& lane, const Print& print) {
  size_t sure = 0;
  while (sure < lane.waiting.size() && lane.waiting[sure].killed) ++sure;
  if (sure < lane.waiting.size() && SameBytes(lane.waiting[sure].print, print)) return sure;
  if (sure > 0 && SameBytes(lane.waiting.front().print, print)) return 0;
  return std::nullopt;
}

bool Delivery::TakeDeep(const Print& print, Match& match) {
  Lane* best = nullptr;
  size_t best_depth = kDepthMax;
  for (Lane& lane : lanes_) {
    const size_t limit = std::min(lane.waiting.size(), best_depth);
    for (size_t depth = 1; depth < limit; ++depth) {
      if (!SameBytes(lane.waiting[depth].print, print)) continue;
      best = &lane;
      best_depth = depth;
      break;
    }
  }
  if (best == nullptr) return false;
  match.kind = Match::Kind::kSame;
  Consume(*best, best_depth, match);
  return true;
}

// The head that resembles it most: the same header, else the same size, else the same sender.
void Delivery::TakeAltered(const Event& received, const Print& print, Match& match) {
  Lane* best = nullptr;
  int best_likeness = 0;
  for (Lane& lane : lanes_) {
    while (!lane.waiting.empty() && lane.waiting.front().killed && lane.waiting.size() > 1) {
      lane.waiting.PopFront();
      --outstanding_;
    }
    if (lane.waiting.empty() || lane.waiting.front().killed) continue;
    const Sent& head = lane.waiting.front();
    int likeness = 1;
    if (head.print.head == print.head)
      likeness = 4;
    else if (head.print.size == print.size)
      likeness = 3;
    else if (received.cred_pid > 0 && head.pid == received.cred_pid)
      likeness = 2;
    if (likeness > best_likeness) {
      best = &lane;
      best_likeness = likeness;
    }
  }
  if (best == nullptr || best_likeness < kLikenessMin) return;
  match.kind = Match::Kind::kAltered;
  Consume(*best, 0, match);
  // If it was another datagram after all, its own receive is no second finding.
  Sent again = *match.sent;
  again.delivered = true;
  late_.PushBack(again);
  if (late_.size() > kLateKept) late_.PopFront();
}

}  // namespace portproof
