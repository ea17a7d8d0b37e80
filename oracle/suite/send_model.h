// What a sender must put on the wire for the messages it was given, written from sections
// 3 and 4 for obviousness: no code shared with protocol/.
//   shapes    Message: a `send` command; Arrived: a datagram read from port B
//   returns   Take: judges the next datagram, throws CaseEnd naming the rule it breaks.
//             Completions that are due, in order
//   holds     what was written and not yet seen whole; what references must name whose
//             segment was not announced yet
//   rules     HDR-1, HDR-2, HDR-3, HDR-4, HDR-5, HDR-6, IOV-1, IOV-2, IOV-3, IOV-4,
//             IOV-5, IOV-6, IOV-7, SND-5, SND-6, SND-8, CMP-1, CMP-2, CMP-3, CMP-4,
//             CMP-5, FRG-1, FRG-2, FRG-3, SHM-3, SHM-4, SHM-5, SHM-10, SHM-11, FDS-1,
//             FDS-2
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_SEND_MODEL_H_
#define PORTPROOF_ORACLE_SUITE_SEND_MODEL_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "oracle/suite/link.h"
#include "oracle/suite/piece.h"
#include "oracle/suite/session.h"
#include "protocol/chunk.h"
#include "protocol/header.h"
#include "protocol/profile.h"

namespace portproof::suite {

struct Message {
  int64_t id = 0;
  uint8_t type = 0;
  uint32_t stream = 0;
  uint16_t reply_port = 0;
  bool last = false;
  std::vector<Piece> chain = {};
  uint32_t fds = 0;
  bool close_fd = false;
  bool batch = true;

  Json Command() const;
};

class SendModel {
 public:
  struct Config {
    const Profile* profile = nullptr;
    uint32_t payload_bytes = 0;  // L
    uint32_t share_bytes = 65536;
    int32_t pid = 0;
    bool completes = true;  // else completions are nobody's concern
    // The bytes behind a reference; empty where it names nothing (SHM-2), none where its
    // segment may still be announced (SHM-10, from 1.19).
    std::function<std::optional<std::vector<uint8_t>>(const Reference&)> content = {};
  };
  using Completion = std::pair<int64_t, std::optional<int64_t>>;

  explicit SendModel(Config config) : config_(std::move(config)) {}

  void Write(const Message& message, std::vector<FileId> fds);
  void Take(const Arrived& arrived);
  // What any datagram of the testee's must be like.
  void JudgeHeader(const Arrived& arrived) const;
  // Segments that references name and nobody announced, each once.
  std::set<uint32_t> UnknownSegments() const;
  // One was announced: judges what lies behind references to it.
  void Announced();
  bool empty() const { return queue_.empty(); }
  size_t size() const { return queue_.size(); }
  std::string NextText() const;  // what is to come
  bool IsBegun(int64_t id) const;
  // Files that waiting messages still hold.
  std::vector<FileId> WaitingFds() const;

  // Everything written fails, in queue order (CMP-5).
  void Fail();
  // Judges the completions of one run against what was sent so far.
  void Complete(const std::vector<SeenEvent>& seen);
  void Forget() {
    queue_.clear();
    due_.clear();
    done_.clear();
    unread_.clear();
    datagrams_ = 0;
    pressed_ = false;
  }
  // That the last Complete missed.
  const std::optional<Completion>& missing() const { return missing_; }
  uint64_t datagrams() const { return datagrams_; }
  // From now on what waits has met a full socket: who is passed over lost its place (SND-2).
  void Pressed() { pressed_ = true; }
  // Which rule it breaks that the next one never comes.
  Rule LossRule() const;

 private:
  struct Item {
    Message message;
    std::vector<FileId> fds;
    std::vector<uint8_t> bytes;  // of the chain, joined
    std::vector<uint64_t> places;
    size_t piece = 0;   // the first that is not wholly sent
    uint32_t skip = 0;  // of it
    size_t sent = 0;
    bool begun = false;
    bool shared = false;
    bool marked = false;
    uint64_t share = 0;
  };
  struct Next {
    std::vector<uint8_t> payload;
    std::vector<uint8_t> unmerged;  // what a sender that merges nothing would send
    bool last = false;
    bool more = false;
    bool shared = false;
    bool small = false;  // plain for SHM-4
    size_t piece = 0;
    uint32_t skip = 0;
    bool marked = false;
  };
  struct Unread {
    Reference reference;
    std::vector<uint8_t> expected;
  };
  struct Due {
    Completion what;
    bool ok = true;
  };

  static bool ChoosesShared(const Item& item);
  Next Compose(const Item& item, bool merge) const;
  Next ComposeNext(const Item& item) const;
  size_t NextIndex() const;
  const Item* Owner(const Header& header) const;
  void JudgeOrder(const Header& header, const Item& item) const;
  void JudgeFields(const Arrived& arrived, const Header& header, const Item& item, const Next& next,
                   std::vector<Unread>& unread) const;
  void JudgePlain(std::span<const uint8_t> payload, bool more, const Item& item,
                  const Next& next) const;
  static Rule ModeRule(const Item& item, const Next& next);
  void JudgeShared(std::span<const uint8_t> payload, const Item& item, const Next& next,
                   std::vector<Unread>& unread) const;
  void JudgeFds(const Arrived& arrived, const Item& item) const;
  void Commit(size_t index, const Next& next, size_t datagram_bytes);

  Config config_;
  std::deque<Item> queue_;
  std::vector<Due> due_;
  std::set<Completion> done_;
  std::optional<Completion> missing_;
  std::vector<Unread> unread_;
  uint64_t datagrams_ = 0;
  bool pressed_ = false;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_SEND_MODEL_H_
