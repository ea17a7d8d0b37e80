// A receiver as simple as it can be, correct unless it lies: one datagram at a time, maps
// of vectors.
//   shapes    datagrams of fd 3 in, events out
//   returns   Turn: whether anything came
//   holds     open messages, the descriptors kept, mapped segments
//   rules     sections 2, 5, 6 and 7 for a receiver
//   source    none; shares no code with port/
#ifndef PORTPROOF_ORACLE_SUITE_TESTEES_PLAIN_RECEIVER_H_
#define PORTPROOF_ORACLE_SUITE_TESTEES_PLAIN_RECEIVER_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "oracle/suite/testees/command_loop.h"
#include "port/mapping.h"
#include "protocol/chunk.h"
#include "protocol/header.h"
#include "protocol/profile.h"

namespace portproof::testee {

class PlainReceiver {
 public:
  struct Limits {
    uint64_t assemblies_per_sender = 16;
    uint64_t assemblies_per_port = 64;
    uint64_t assembly_bytes = uint64_t{1} << 20;
    uint64_t total_bytes = uint64_t{2} << 20;
  };

  // `ask` sends get_mmap for a segment, `answer` announces one that the peer asked for.
  PlainReceiver(Json& events, std::function<void(uint32_t)> ask,
                std::function<void(uint32_t)> answer)
      : events_(events), ask_(std::move(ask)), answer_(std::move(answer)) {}
  void Start(const Profile& profile, const StartRequest& request);
  bool Turn();
  bool open() const { return open_; }
  bool garbled() const { return garbled_; }
  void Keep(bool fds) { keeps_ = fds; }
  void Reset();
  static bool Handles(Type type);
  size_t open_assemblies() const { return assemblies_.size(); }
  uint64_t held_bytes() const { return held_bytes_; }
  uint32_t busy_chunks() const { return static_cast<uint32_t>(held_.size()); }
  const Limits& limits() const { return limits_; }

 private:
  using Key = std::pair<int32_t, uint32_t>;
  using Chunk = std::pair<uint64_t, uint32_t>;  // segment key, chunk
  struct Received {
    std::vector<uint8_t> bytes;
    std::vector<int> fds;
    int32_t cred_pid = 0;
    bool truncated = false;
    bool control_truncated = false;
  };
  struct Assembly {
    Header first;
    int32_t sender = 0;
    std::vector<int> fds;
    std::vector<uint8_t> payload;
    std::vector<Chunk> chunks;
    bool last = false;
    std::vector<std::vector<uint8_t>> waste;
  };
  struct Waiting {  // for the announcement of a segment, or behind such a one
    Received received;
    Key key;
    int32_t sender = 0;
  };

  bool ReceiveOne();
  void Handle(Received& received);
  std::optional<std::string> FirstFault(const Received& received,
                                        const std::optional<Header>& header) const;
  bool Resolve(Received& received, const Header& header, std::vector<uint8_t>& payload,
               std::vector<Chunk>& chunks);
  std::string CheckReference(int32_t sender, const Reference& reference,
                             const std::vector<Chunk>& taken) const;
  void Fragment(Received& received, const Header& header, std::vector<uint8_t> payload,
                std::vector<Chunk> chunks);
  bool Fits(const Key& key, int32_t sender, uint64_t more) const;
  bool Waits(const Key& key) const;
  void Hold(Received& received, const Header& header);
  void AskFor(int32_t sender, uint32_t id);
  void GoOn();
  template <typename Which>
  void Forget(Which which);
  void Announced(Received& received, const Header& header);
  std::string JudgeSegment(const Received& received, const Header& header, SegmentHeader& segment,
                           uint64_t& bytes) const;
  void Deliver(const Header& first, const std::vector<int>& fds,
               const std::vector<uint8_t>& payload, bool last);
  void Refuse(const char* rule, Received& received);
  void Discard(const Key& key);
  void Free(const std::vector<Chunk>& chunks);
  bool Cancelled(const Received& received, const Header& header);
  void CloseAll(std::vector<int>& fds);
  void Died(int32_t sender);
  void HangUp();
  int32_t SenderOf(const Received& received, const Header& header) const;
  Key KeyOf(const Received& received, const Header& header) const;
  static uint64_t SegmentKey(int32_t sender, uint32_t id) {
    return uint64_t{static_cast<uint32_t>(sender)} << 32 | id;
  }

  Json& events_;
  std::function<void(uint32_t)> ask_;
  std::function<void(uint32_t)> answer_;
  const Profile* profile_ = nullptr;
  StartRequest start_;
  Limits limits_;
  bool open_ = true;
  bool keeps_ = false;
  bool skips_next_ = false;
  bool garbled_ = false;
  std::map<Key, Assembly> assemblies_;
  std::set<Key> seen_keys_;
  std::set<Key> cancelled_;
  uint64_t held_bytes_ = 0;
  std::vector<int> kept_;
  std::vector<std::string> previous_fds_;
  std::map<uint64_t, Mapping> segments_;
  std::set<Chunk> held_;
  std::vector<Chunk> freed_before_;
  std::deque<Waiting> waiting_;
  std::set<uint64_t> asked_;  // segments
};

}  // namespace portproof::testee

#endif  // PORTPROOF_ORACLE_SUITE_TESTEES_PLAIN_RECEIVER_H_
