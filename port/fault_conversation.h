// A fixed conversation over a port whose kernel may fail once, and what became of it.
//   shapes    Kind: which messages; Ends: between which ends. Messages are numbered from
//             1; their number goes along as reply_port. 17 is written when the others are
//             done: whether the port goes on
//   returns   Play: false where no port came to be. Then what was accepted, refused,
//             failed, what arrived, and what was refused on arrival
//   holds     both ends until End, which makes the census: each buffer completed once and
//             in order (CMP-1, CMP-2), how many chunks did not come back
//   rules     CMP-1, CMP-2, FRG-4, RCV-3, FDS-5, SND-7 are checked always
//   source    none
#ifndef PORTPROOF_PORT_FAULT_CONVERSATION_H_
#define PORTPROOF_PORT_FAULT_CONVERSATION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "port/fault_kernel.h"
#include "port/receiver.h"
#include "port/sender.h"
#include "port/testing.h"
#include "port/workspace.h"

namespace portproof::testing {

enum class Kind : uint8_t {
  kSmall,
  kBatched,
  kLarge,
  kPieces,
  kDescriptors,
  kShared,
  kMixed,
  kClosed,  // the send end, right after the last write
};
inline constexpr std::array kKinds = {Kind::kSmall,  Kind::kBatched,     Kind::kLarge,
                                      Kind::kPieces, Kind::kDescriptors, Kind::kShared,
                                      Kind::kMixed,  Kind::kClosed};

struct Ends {
  const Profile* profile = &Newest();
  bool seqpacket = true;       // else SOCK_DGRAM
  bool shared_sender = false;  // else a Sender
  bool batches = false;        // the receiver reads in batches; else singly (RCV-5)
};

// What a conversation needs of either kind of sender.
class SendEnd {
 public:
  virtual ~SendEnd() = default;
  virtual WriteAnswer Write(const Outgoing& message) = 0;
  virtual WriteAnswer Announce(const std::shared_ptr<Segment>& segment) = 0;
  virtual void Flush() = 0;
  virtual bool Attend() = 0;  // what it asks for, done; false: nothing
  virtual size_t queued_messages() = 0;
  virtual void TakeCompletions(std::vector<Completion>& completions) = 0;
  virtual void Close() = 0;
};

class FaultConversation {
 public:
  static constexpr uint32_t kMessages = 16;  // as many as a batch holds
  static constexpr uint32_t kAfter = kMessages + 1;
  static constexpr uint32_t kSharedBytes = 20'000;  // two chunks

  FaultConversation(const Ends& ends, Kind kind, const Fault& fault);

  bool Play();
  void End();

  const FaultKernel& kernel() const { return kernel_; }
  std::set<uint32_t> accepted() const;
  const std::set<uint32_t>& failed() const { return failed_; }
  const std::set<uint32_t>& arrived() const { return arrived_; }
  const std::set<uint32_t>& shared() const { return shared_; }  // written as references
  size_t writes_refused() const { return writes_refused_; }     // announcements too
  WriteAnswer answer_after() const { return answer_after_; }
  const std::vector<Refusal>& refusals() const { return refusals_; }
  const Receiver& receiver() const { return *receiver_; }
  size_t held_messages() const { return held_messages_; }
  bool ended() const { return next_ == Next::kEnd; }
  bool has_segment() const { return segment_ != nullptr; }
  uint32_t chunks_missing() const { return chunks_missing_; }
  uint32_t StreamOf(uint32_t id) const { return id == kAfter ? 77 : id % 5; }

 private:
  bool Adopt(SocketPair pair);
  void OpenSegment();
  void WriteAll();
  void WriteOne(uint32_t id);
  WriteAnswer Put(const Outgoing& message);
  WriteAnswer Write(uint32_t id, size_t bytes, size_t fd_count, bool batch);
  void WritePieces(uint32_t id);
  void WriteShared(uint32_t id);
  void BeginBatches(int send_end);
  void OnMessage(Message& message);
  void TakeCompletions();
  void Run();

  Ends ends_;
  Kind kind_;
  uint8_t type_;
  FaultKernel kernel_;
  std::unique_ptr<Workspace> workspace_;
  std::shared_ptr<Segment> segment_;
  std::unique_ptr<SendEnd> sender_;
  std::unique_ptr<Receiver> receiver_;
  std::vector<Payload> kept_;
  std::map<uint32_t, std::string> texts_;
  std::map<uint32_t, size_t> fd_counts_;
  std::map<uint32_t, std::string> spaced_;
  std::map<uint32_t, size_t> accepted_;  // buffers
  std::map<uint32_t, size_t> completed_;
  std::map<uint32_t, ChunkRange> ranges_;
  std::set<uint32_t> shared_;
  std::set<uint32_t> failed_;
  std::set<uint32_t> arrived_;
  std::vector<Refusal> refusals_;
  size_t writes_refused_ = 0;
  size_t held_messages_ = 0;
  WriteAnswer answer_after_ = WriteAnswer::kAccepted;
  Next next_ = Next::kCallAgain;
  uint32_t chunks_missing_ = 0;
};

}  // namespace portproof::testing

#endif  // PORTPROOF_PORT_FAULT_CONVERSATION_H_
