// What a case plays on: one testee that has started, and the words to play with.
//   shapes    receiving: Post datagrams, then Settle compares every event with the model's.
//             sending: Write messages, then Settle reads port B and judges each datagram
//             and completion. Both may be mixed
//   returns   nothing: the first expectation that is not met throws CaseEnd
//   holds     the models' states, the files it passed (open until the case is over, so
//             that their numbers stay theirs)
//   rules     those of the models; FDS-3, FDS-5, SND-1, SND-2, SND-7, SND-9, RCV-5, SHM-10
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_STAGE_H_
#define PORTPROOF_ORACLE_SUITE_STAGE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "oracle/suite/datagram.h"
#include "oracle/suite/memory.h"
#include "oracle/suite/receive_model.h"
#include "oracle/suite/send_model.h"
#include "oracle/suite/session.h"

namespace portproof::suite {

struct StageConfig {
  const Profile* profile = nullptr;
  StartParameters start;
  uint32_t max_size = 16384;  // in force
  std::set<uint8_t> handled;  // types
  int timeout_ms = 5000;
  int idle_ms = 3;
  Rule own_rule = Rule::kRcv5;  // of the case
  bool direct = false;          // every message is written without batching
  bool free_files = false;      // the testee may open files of its own
};

class Stage {
 public:
  Stage(Session& session, StageConfig config);

  const Profile& profile() const { return *config_.profile; }
  const Hello& hello() const { return session_.hello(); }
  const Limits& limits() const { return session_.hello().limits; }
  Session& session() { return session_; }
  Link& link() { return session_.link(); }
  bool Has(const std::string& feature) const { return hello().features.contains(feature); }
  uint32_t limit() const { return PayloadLimit(profile(), config_.max_size); }  // L
  uint32_t max_size() const { return config_.max_size; }
  uint32_t share() const { return config_.start.max_share; }
  Rule own_rule() const { return config_.own_rule; }
  const StartParameters& start() const { return config_.start; }
  const std::set<uint8_t>& handled() const { return config_.handled; }
  uint8_t plain_type() const { return plain_type_; }  // handled, no meaning of its own
  std::optional<uint8_t> other_type() const;          // another such one
  std::optional<uint8_t> NumberFor(Type type) const;  // if the testee handles it
  uint8_t WireNumber(Type type) const;                // in this profile

  void Expect(bool met, Rule rule, const std::string& expected, const std::string& seen) const;
  [[noreturn]] void Unsupported(const std::string& why) const;

  // Receiving.
  void Post(const Datagram& datagram);
  void PostExpecting(const Datagram& datagram, std::vector<Expected> expected);
  // From another process; its pid.
  int32_t PostFromOther(const std::vector<Datagram>& datagrams);
  ReceiveModel& received() { return receive_model_; }
  void ControlIsTruncated(bool truncated) { control_truncated_ = truncated; }
  Expected Delivery(const Datagram& datagram, Rule blame) const;
  Expected Refusal(Rule rule, Rule blame) const;
  // Adds an event to those the next Settle expects.
  void AlsoExpect(Expected expected) { ExpectOf(std::move(expected)); }
  void Keep();
  const std::vector<FileId>& posted_fds() const { return posted_fds_; }

  // A message of the plain type whose stream is its id.
  Message MessageOf(int64_t id, std::vector<Piece> chain) const;
  // Sending. Write expects to be accepted, and returns the files the testee named.
  std::vector<FileId> Write(const Message& message);
  Json TryWrite(const Message& message);  // its answer, whatever it is
  SendModel& sent() { return send_model_; }
  // Datagrams beside the model's: mmap announcements and get_mmap are taken out first.
  // From 1.19 a segment that a reference names and nobody announced is asked for.
  size_t announcements() const { return announcements_; }
  // The segments the testee asked for, in order.
  const std::vector<uint32_t>& questions() const { return questions_; }
  void AskForSegment(uint32_t id);
  PeerMemory& peer_memory() { return peer_memory_; }
  // Which rule a wrong order, or a loss, breaks here: SND-2 under pressure.
  void BlameOrder(Rule rule) { order_rule_ = rule; }
  // What leaves at once stays in the socket until the next run: the socket is to fill.
  void ReadLater(bool later) { reads_later_ = later; }
  // rpc_error answers a question for a segment that is not there.
  void ErrorsAreAnswers() { errors_are_answers_ = true; }

  // Runs until nothing more comes, judges everything; with `all`, nothing may be left.
  void Settle(bool all = true);
  // Nothing may be said meanwhile; what is, breaks `rule`.
  void SettleSilently(Rule rule);
  // What is expected may come in any order of its streams.
  void SettleInAnyOrder();
  // One `run` during which port B is not read.
  void RunWithoutReading();
  void JudgeArrived();
  std::vector<SeenEvent> RunOnce();
  void JudgeEvents(const std::vector<SeenEvent>& events);
  void PortFailed() { port_failed_ = true; }

  // What ends every case that leaves the port alive: a message that must come through, and
  // the census of open files and busy chunks.
  void Sanity();
  void Census(Rule rule);
  void TakeBaseline();
  void set_baseline(std::map<FileId, OpenFile> baseline) { baseline_ = std::move(baseline); }
  void Reset();
  Json Stats();
  int OpenCount(const FileId& file) const;
  const std::map<FileId, OpenFile>& baseline() const { return baseline_; }

  // A file of our own, to pass; stays open until the case is over.
  int MakeFile();

 private:
  Outgoing Prepare(const Datagram& datagram, Incoming& incoming);
  void JudgeCompletions(const std::vector<SeenEvent>& events);
  void Number(const Incoming& incoming);
  void ExpectOf(Expected expected);
  std::string Wanted(const Expected& expected) const;
  void Play(bool all);
  void OnAnnouncement(const Arrived& announcement);
  void OnQuestion(const Arrived& question);
  void AskForUnknown();
  void JudgeReceived(const std::vector<SeenEvent>& events);
  void CompareOne(const Expected& expected, const SeenEvent* seen) const;
  void CompareDelivered(const Expected& expected, const SeenEvent& seen) const;
  [[noreturn]] void Surplus(const SeenEvent& seen) const;
  void NothingMoves();

  Session& session_;
  StageConfig config_;
  uint8_t plain_type_ = 0;
  ReceiveModel receive_model_;
  SendModel send_model_;
  PeerMemory peer_memory_;
  std::vector<Expected> expected_;
  std::vector<SeenEvent> received_;  // not yet compared
  std::vector<OwnedFd> files_;
  std::vector<FileId> posted_fds_;
  std::vector<FileId> kept_fds_;
  std::vector<FileId> held_fds_;  // written without close_fd
  std::vector<FileId> closing_fds_;
  size_t announcements_ = 0;
  std::vector<uint32_t> questions_;
  size_t asked_ = 0;
  std::map<FileId, OpenFile> baseline_;
  std::optional<Rule> order_rule_;
  std::optional<SeenEvent> last_delivered_;
  std::string newest_;   // datagram posted, as a report names it
  size_t numbered_ = 0;  // since the last comparison
  size_t total_ = 0;     // of those being compared
  bool reads_later_ = false;
  bool errors_are_answers_ = false;
  bool keeps_ = false;
  bool control_truncated_ = false;
  bool port_failed_ = false;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_STAGE_H_
