// What a receiver must say of the datagrams it is sent, written from section 5 for
// obviousness: no code shared with protocol/.
//   shapes    Incoming: one datagram as it left; Expected: the event it must cause
//   returns   On: the event, or none (a fragment that was taken)
//   holds     open assemblies, their descriptors' names; never a payload
//   rules     FDS-1, FDS-2, RCV-1, HDR-1, HDR-4, HDR-8, FRG-1, FRG-2, FRG-3, FRG-4,
//             FRG-8; memory references are the cases' own matter
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_RECEIVE_MODEL_H_
#define PORTPROOF_ORACLE_SUITE_RECEIVE_MODEL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "oracle/suite/observer.h"
#include "oracle/suite/session.h"
#include "protocol/header.h"
#include "protocol/profile.h"
#include "protocol/rule.h"

namespace portproof::suite {

struct Incoming {
  std::vector<uint8_t> bytes;
  std::vector<FileId> fds;
  int32_t process = 0;  // that sent it
  bool control_truncated = false;
  std::optional<Rule> about;
};

struct Expected {
  SeenEvent event;  // delivered or refused
  Rule blame = Rule::kRcv3;
  std::optional<Rule> disturbed_by;  // an earlier refusal of the same key
  bool fragmented = false;
  bool refused_before = false;  // anything, in this case
  bool any_rule = false;        // refused: whatever the testee names
  std::string datagram = {};    // that causes it: "3, 20 bytes [...]"
};

class ReceiveModel {
 public:
  struct Config {
    const Profile* profile = nullptr;
    uint32_t max_size = 16384;
    std::set<uint8_t> handled;  // types
    bool by_credentials = false;
    Limits limits;
  };
  explicit ReceiveModel(Config config) : config_(std::move(config)) {}

  std::optional<Expected> On(const Incoming& incoming);

  // Descriptors that open assemblies hold.
  std::vector<FileId> HeldFds() const;
  size_t open() const { return open_.size(); }
  bool IsOpen(uint32_t stream) const;
  uint64_t held_bytes() const { return bytes_; }
  void DiscardAll() {
    open_.clear();
    bytes_ = 0;
  }
  void DiscardSender(int32_t sender);

 private:
  using Key = std::pair<int32_t, uint32_t>;
  struct Assembly {
    Header first;
    std::vector<FileId> fds;
    bool last = false;
    uint64_t bytes = 0;
    uint32_t crc = 0;
    std::optional<Rule> disturbed_by;
  };

  std::optional<Rule> Judge(const Incoming& incoming, const std::optional<Header>& header) const;
  std::optional<Expected> OnFragment(const Incoming& incoming, const Header& header);
  bool Fits(const Key& key, int32_t sender, uint64_t more, bool opens) const;
  Expected Refuse(Rule rule, const Incoming& incoming);
  Expected Deliver(const Incoming& incoming, const Assembly& whole, bool fragmented);
  Key KeyOf(const Incoming& incoming, const Header& header) const;
  int32_t SenderOf(const Incoming& incoming, const Header& header) const;
  void Discard(const Key& key);

  Config config_;
  std::map<Key, Assembly> open_;
  std::map<Key, int32_t> openers_;
  uint64_t bytes_ = 0;
  bool refused_ = false;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_RECEIVE_MODEL_H_
