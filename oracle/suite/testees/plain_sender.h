// A sender as simple as it can be, correct unless it lies: one list, walked from the front.
//   shapes    messages in, datagrams on fd 4 and completions out
//   returns   Turn: whether anything left
//   holds     the messages' bytes, their descriptors, its segments
//   rules     sections 3, 4, 6 and 7 for a sender; from 1.19 on it announces a segment
//             when it is asked, as a router does
//   source    none; shares no code with port/
#ifndef PORTPROOF_ORACLE_SUITE_TESTEES_PLAIN_SENDER_H_
#define PORTPROOF_ORACLE_SUITE_TESTEES_PLAIN_SENDER_H_

#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "oracle/suite/testees/command_loop.h"
#include "port/mapping.h"
#include "port/owned_fd.h"
#include "protocol/header.h"
#include "protocol/profile.h"

namespace portproof::testee {

class PlainSender {
 public:
  struct Limits {
    size_t messages = 512;
    uint64_t bytes = uint64_t{8} << 20;
    size_t fds = 64;
  };

  explicit PlainSender(Json& events) : events_(events) {}
  // Why these numbers are refused; empty if they are not.
  std::string Start(const Profile& profile, const StartRequest& request);
  SendAnswer Send(const SendRequest& request);
  void Ask(uint32_t segment);       // get_mmap, for the receiver
  void Announce(uint32_t segment);  // because the peer asked
  bool Turn();
  bool waits() const { return !queue_.empty() && !stalled_ && !failed_; }
  void Reset();
  size_t size() const { return queue_.size(); }
  const Limits& limits() const { return limits_; }

 private:
  struct Piece {
    PieceRequest asked;
    const uint8_t* memory = nullptr;
    uint64_t place = 0;  // adjacency is judged by it
    uint32_t segment = 0;
    uint32_t chunk = 0;
    uint32_t chunks = 0;
    bool handed_over = false;
    bool done = false;
  };
  struct Message {
    int64_t id = 0;
    Header header;
    bool last_flag = false;
    bool internal = false;  // an announcement, a question: nobody waits for its completion
    std::vector<Piece> chain;
    std::vector<uint8_t> memory;
    std::vector<int> fds;
    bool owns_fds = false;
    bool begun = false;
    bool shared = false;
    bool marked = false;
    bool announced = false;
    size_t piece = 0;
    uint32_t skip = 0;
    uint64_t share = 0;
    uint32_t sent = 0;  // datagrams
  };
  struct Cut {
    std::vector<uint8_t> payload;
    size_t piece = 0;
    uint32_t skip = 0;
    bool marked = false;
    bool more = false;
    bool shared = false;
    bool at_limit = false;
  };
  struct OwnSegment {
    OwnedFd fd;
    Mapping mapping;
    bool announced = false;
  };
  using Place = std::list<Message>::iterator;

  std::string Refused(const SendRequest& request) const;
  void Build(Message& message, const SendRequest& request);
  void Allocate(Piece& piece);
  void AllocateSegment();
  void AnnounceSegments(Place before);
  Message AnnouncementOf(uint32_t id);
  Message ErrorAnswer();
  void Queue(Message message);
  Place Next();
  bool SendNext();
  Cut Compose(const Message& message) const;
  bool ChoosesShared(const Message& message, size_t from) const;
  void AddPlain(const Message& message, const Piece& piece, uint32_t skip, uint32_t bytes,
                Cut& cut) const;
  Header HeaderOf(const Message& message, const Cut& cut) const;
  int Transmit(const Message& message, const Header& header, const Cut& cut) const;
  void Sent(Place place, const Cut& cut, size_t bytes);
  void Blocked(Place place);
  void Rotate(Place place);
  void Complete(Message& message, size_t until, bool ok);
  void Release(Piece& piece);
  void Drop(Message& message);
  void FailPort();
  void OwnFds(Message& message);

  Json& events_;
  Limits limits_;
  const Profile* profile_ = nullptr;
  StartRequest start_;
  uint32_t limit_ = 0;
  std::list<Message> queue_;
  std::deque<OwnSegment> segments_;
  std::vector<int> lent_;
  bool failed_ = false;
  bool stalled_ = false;
  bool sticky_ = false;
  bool writes_directly_ = false;
};

}  // namespace portproof::testee

#endif  // PORTPROOF_ORACLE_SUITE_TESTEES_PLAIN_SENDER_H_
