// Another project's reassembly: what it would have anyway, as small as it can be.
#ifndef SECOND_WORKSPACE_TINY_REASSEMBLY_H_
#define SECOND_WORKSPACE_TINY_REASSEMBLY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

struct TinyHeader {
  uint32_t stream = 0;
  int32_t pid = 0;
  uint8_t type = 0;
  bool last = false;
  bool nf = false;
  bool mf = false;
};

struct TinyMessage {
  TinyHeader first;
  bool last = false;
  uint64_t bytes = 0;
};

class TinyReassembly {
 public:
  enum class Verdict { kTaken, kDelivered, kRefused };

  // A datagram with so many bytes of payload; `delivered` is set where one ends a message.
  Verdict Take(const TinyHeader& header, uint64_t bytes, TinyMessage& delivered) {
    const std::pair key(header.pid, header.stream);
    const auto open = open_.find(key);
    if (!header.nf && !header.mf) {
      delivered = {header, header.last, bytes};
      return Verdict::kDelivered;
    }
    if (!header.nf) {
      if (open != open_.end()) return Verdict::kRefused;
      open_[key] = {header, header.last, bytes};
      return Verdict::kTaken;
    }
    if (open == open_.end()) return Verdict::kRefused;
    TinyMessage& message = open->second;
    if (message.first.type != header.type) {
      open_.erase(open);
      return Verdict::kRefused;
    }
    message.last = message.last || header.last;
    message.bytes += bytes;
    if (header.mf) return Verdict::kTaken;
    delivered = message;
    open_.erase(open);
    return Verdict::kDelivered;
  }

 private:
  std::map<std::pair<int32_t, uint32_t>, TinyMessage> open_;
};

#endif  // SECOND_WORKSPACE_TINY_REASSEMBLY_H_
