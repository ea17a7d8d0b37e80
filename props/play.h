// Plays a conversation: senders that run the core, a model of the kernel's socket, and
// whoever receives, with every law checked after every action.
//   shapes    a conversation (oracle/conversation); Recipients are told what arrives
//   returns   findings, empty if all laws held; what the conversation reached, by name
//   holds     everything that was ever written
//   rules     those of send_laws.h; SND-1, SND-2, SND-7 for the shell played here
//   source    none
#ifndef PORTPROOF_PROPS_PLAY_H_
#define PORTPROOF_PROPS_PLAY_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"
#include "props/naive_queue.h"
#include "props/send_laws.h"
#include "protocol/profile.h"
#include "protocol/send_machine.h"

namespace portproof {

// A datagram in the model socket.
struct WireDatagram {
  uint8_t sender = 0;
  int32_t pid = 0;
  std::string bytes;
  std::vector<int> fds;
  uint32_t iovecs = 0;
};

// Who is told what happens on the wire and behind it.
class Recipient {
 public:
  virtual ~Recipient() = default;
  virtual void Sent(const WireDatagram& datagram) = 0;       // the kernel took it
  virtual void Refused(int32_t pid, const char* error) = 0;  // a send sent nothing
  virtual void Arrived(const WireDatagram& datagram) = 0;    // it was read
  virtual void Died(int32_t pid) = 0;
  virtual void AllOfDeadRead(int32_t pid) = 0;  // nothing of it is in the socket any more
  virtual void Closed(int32_t pid) = 0;         // its end of the port
  virtual void HungUp() = 0;
  // All is read that will ever be.
  virtual void Ended(BrokenLaws& findings) = 0;
};

// The byte at an address, and at a place in a sender's segment, of every Play.
uint8_t ByteAt(uint8_t sender, uint64_t address);
uint64_t SegmentAddress(uint32_t segment_id, uint32_t segment_offset);

inline constexpr uint32_t kPlayChunkBytes = 16;
inline constexpr uint32_t kPlaySegmentBytes = 640 * kPlayChunkBytes;
const Profile& PlayProfile(const conversation::Setup& setup);
int32_t PlayPid(uint8_t sender);

class Play {
 public:
  explicit Play(const conversation::Setup& setup, std::vector<Recipient*> recipients = {});

  void Perform(const conversation::Action& action);
  // The kernel takes everything, the receiver reads everything (SND-7, FRG-5).
  void Drain();

  const BrokenLaws& findings() const { return findings_; }
  const std::set<std::string>& reached() const { return reached_; }
  const SenderLaws& laws(uint8_t sender) const { return senders_[sender].laws; }
  // Tells of each thing that happens, for a reader.
  void set_narrator(std::function<void(const std::string&)> narrator) {
    narrator_ = std::move(narrator);
  }

 private:
  struct Sender {
    Sender(const SendLimits& limits, BrokenLaws& findings)
        : machine(limits), model(limits), laws(limits, findings) {}
    SendMachine machine;
    NaiveQueue model;
    SenderLaws laws;
    std::optional<conversation::Script> script;
    bool no_descriptors = false;
    bool dead = false;
    bool batched = false;
    uint64_t next_address = 1 << 12;
    uint32_t segments = 0;  // announced; the ids below are theirs
    uint32_t segment_used = 0;
    std::map<uint32_t, uint32_t> used_of = {};   // bytes, by segment
    std::set<uint32_t> lost;                     // announcements failed, perhaps made again
    std::map<uint64_t, uint32_t> announcements;  // message id, segment
    std::vector<NaiveDatagram> planned;          // of the plan that is being sent
  };
  // What the actions of an event answered.
  struct Done {
    bool accepted = true;
    bool flush = false;
  };
  struct KernelAnswer {
    size_t taken = 0;
    std::optional<conversation::Answer> refusal;  // then taken is 0
  };

  void Act(const conversation::Write& write);
  void Act(const conversation::Flush& flush);
  void Act(const conversation::Turn& turn);
  void Act(const conversation::Receive& receive);
  void Act(const conversation::Script& script);
  void Act(const conversation::HangUp& hang_up);
  void Act(const conversation::Die& die);
  void Act(const conversation::Close& close);
  // Of receive ports: not this player's.
  template <typename Other>
  void Act(const Other&) {}

  std::vector<Buffer> MakeChain(Sender& sender, const conversation::Write& write);
  void PlaceShared(Sender& sender, const conversation::BufferSpec& spec, uint64_t& end,
                   Buffer& buffer);
  std::optional<uint32_t> Announce(uint8_t index);
  std::optional<uint32_t> AnnouncedNext(const Sender& sender, const SendPlan& plan) const;
  template <typename Event>
  Done Do(Sender& sender, const Event& event, const SendActions& expected);
  bool Wrote(uint8_t index, const WriteRequest& request, Done done);
  bool CannotCopy(Sender& sender, const SendActions& actions, size_t i);
  void Lost(Sender& sender, uint32_t segment);
  void NoteQueued(const Sender& sender, uint32_t stream);
  void FlushQueue(uint8_t index);
  void Conclude(uint8_t index, const KernelAnswer& answer);
  void NoteRefusal(uint8_t index, conversation::Answer answer);
  KernelAnswer Send(uint8_t index, const SendPlan& plan);
  void Take(uint8_t index, const SendPlan& plan, const PlannedDatagram& datagram);
  void ComparePlan(Sender& sender, const SendPlan& plan);
  void Settle();
  void Find(Law law, Rule rule, const std::string& text);
  void Tell(const std::string& text) {
    if (narrator_) narrator_(text);
  }
  bool HasRoom() const { return hung_up_ || socket_.size() < setup_.capacity_datagrams(); }
  void ReadOne();

  conversation::Setup setup_;
  std::vector<Recipient*> recipients_;
  BrokenLaws findings_;
  std::deque<Sender> senders_;
  std::deque<WireDatagram> socket_;
  std::set<std::string> reached_;
  std::function<void(const std::string&)> narrator_;
  std::unique_ptr<SendPlan> plan_ = std::make_unique<SendPlan>();
  bool hung_up_ = false;
  // What is being written, for the laws: a message, and the segment that it announces.
  std::pair<const WriteRequest*, uint32_t> writing_ = {};
  uint64_t next_message_ = 0;
  FdSlot next_fd_ = 100;
};

// Plays all of it and drains it; what was found.
BrokenLaws PlayWhole(const conversation::Conversation& conversation,
                     std::set<std::string>* reached = nullptr);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_PLAY_H_
