// A send queue written to be obviously right: a list of messages, a list of bytes, and
// the sentences of section 4 in order. It shares no code with the core.
//   shapes    the events of SendMachine, one datagram at a time; a NaiveDatagram lists
//             where each of its bytes is
//   returns   Next: the next datagram, if there is one; Sent: what follows from it.
//             The actions are those the machine must name, in its order
//   holds     every byte's address; small conversations only
//   rules     SND-1, SND-2, SND-3, SND-4, SND-5, SND-6, SND-7, SND-8, SND-9, SND-10,
//             SND-11, SND-12, CMP-1, CMP-2, CMP-3, CMP-4, CMP-5, CMP-6, IOV-1, IOV-2,
//             IOV-3, IOV-4, IOV-5, IOV-6, IOV-7, SHM-3, SHM-4, SHM-5
//   source    the rules
#ifndef PORTPROOF_PROPS_NAIVE_QUEUE_H_
#define PORTPROOF_PROPS_NAIVE_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/send_machine.h"

namespace portproof {

struct NaiveDatagram {
  uint32_t stream = 0;
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool last = false;
  bool mmap = false;
  bool nf = false;
  bool mf = false;
  uint32_t wire_bytes = 0;  // header included
  uint32_t runs = 0;
  std::vector<uint64_t> bytes;  // each byte's address; with mmap its PlaceInSegment
  std::vector<FdSlot> fds;

  friend bool operator==(const NaiveDatagram&, const NaiveDatagram&) = default;
};
std::string ToString(const NaiveDatagram& datagram);

class NaiveQueue {
 public:
  explicit NaiveQueue(const SendLimits& limits) : limits_(limits) {}

  void Write(const WriteRequest& request, SendActions& actions) {
    Put(request, std::nullopt, actions);
  }
  void Announce(const AnnounceSegment& announce, SendActions& actions);
  void NotDuplicated(FdSlot fd, SendActions& actions);

  std::optional<NaiveDatagram> Next() const;
  // The datagram that Next names left. True if its message rotated: a plan ends here.
  bool Sent(SendActions& actions);
  // The chunks that a datagram by reference names, given away or taken back.
  void Name(const NaiveDatagram& datagram, SendAction::Kind kind, SendActions& actions) const;

  void WouldBlock(SendActions& actions);
  void Busy(SendActions& actions);
  void MessageError(SendActions& actions);
  void Fail(WriteAnswer why, SendActions& actions);
  void Writable(SendActions& actions);
  void Retry(SendActions& actions);

  bool empty() const { return queue_.empty(); }

 private:
  struct Byte {
    uint64_t address = 0;
    uint64_t place = 0;
  };
  struct Link {  // a buffer: it completes when `end` bytes have left
    uint64_t id = 0;
    size_t end = 0;
    bool marked = false;
  };
  struct Message {
    WriteRequest request;
    std::shared_ptr<const std::vector<Byte>> all_bytes;  // models are copied at every plan
    std::vector<Link> links;
    size_t sent = 0;
    size_t completed = 0;
    uint64_t share = 0;
    bool shared = false;
    bool begun = false;
    bool owns_fds = false;
    std::optional<uint32_t> announces = {};

    const std::vector<Byte>& bytes() const { return *all_bytes; }
  };

  WriteAnswer Judge(const Message& message) const;
  bool Put(const WriteRequest& request, std::optional<uint32_t> announces, SendActions& actions);
  static void Refuse(const WriteRequest& request, WriteAnswer answer, SendActions& actions);
  void FailNaming(uint32_t segment_id, SendActions& actions);
  std::list<Message>::const_iterator NextPlace() const;
  NaiveDatagram Compose(const Message& message) const;
  static NaiveDatagram Take(const Message& message, bool by_place, size_t bytes_max,
                            size_t runs_max);
  void Own(Message& message, SendActions& actions) const;
  static void LetFdsGo(const Message& message, SendActions& actions);
  static void CompleteOne(Message& message, bool ok, SendActions& actions);
  static void FailOne(Message& message, SendActions& actions);
  void SetArmed(bool armed, SendActions& actions);

  SendLimits limits_;
  std::list<Message> queue_;                // the one queue of SND-6, begun and unbegun ones
  std::map<uint32_t, uint32_t> announced_;  // tracking slots, by id
  std::optional<WriteAnswer> over_;
  bool waits_for_event_ = false;
  bool waits_for_retry_ = false;
  bool armed_ = false;
  uint32_t refusals_in_a_row_ = 0;  // of a busy kernel
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_NAIVE_QUEUE_H_
