// The two ports between the runner and a testee, the runner's side of them.
//   shapes    port A: the runner sends, the testee receives; port B: the other way round.
//             Both are SOCK_SEQPACKET, as PRT-1 and SOC-1 want them
//   returns   what arrived on B, in order; what could not be sent on A yet stays queued
//   holds     all four ends (the testee's too, to set and read options of its sockets),
//             the descriptors of what is queued, and of what arrived with a single one, as
//             announcements do; a record of every datagram for reports and traces. Beyond
//             a bound nothing more is read until what arrived was taken
//   rules     none; RCV-1 for its own reading
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_LINK_H_
#define PORTPROOF_ORACLE_SUITE_LINK_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "oracle/suite/channel.h"
#include "oracle/suite/observer.h"
#include "port/owned_fd.h"

namespace portproof::suite {

struct Outgoing {
  std::vector<uint8_t> bytes;
  std::vector<int> fds;  // borrowed until it is sent
};

struct Arrived {
  std::vector<uint8_t> bytes;
  std::vector<FileId> fds;
  std::vector<OwnedFd> opened;  // the only one, if there is one
  uint32_t rights = 0;
  int32_t cred_pid = 0;
  bool truncated = false;
};

// One line of a case's trace.
struct Recorded {
  enum class Kind : uint8_t { kSend, kRecv, kReset, kClose };
  Kind kind = Kind::kSend;
  char port = 'a';
  int64_t time_us = 0;
  int32_t pid = 0;       // that sent, or received
  int32_t cred_pid = 0;  // kRecv
  uint32_t fds = 0;
  uint32_t rights = 0;
  uint64_t size = 0;
  std::vector<uint8_t> bytes;  // fewer than size where a trace would grow too large
};

class Link : public Watcher {
 public:
  static absl::StatusOr<std::unique_ptr<Link>> Make();

  int testee_receives() const { return a_receive_.get(); }
  int testee_sends() const { return b_send_.get(); }
  void SetTesteeSendBuffer(int bytes);
  void SetBlocking(bool blocking);  // of the testee's ends: real peers clear O_NONBLOCK

  // Port A.
  void Send(Outgoing datagram) { unsent_.push_back(std::move(datagram)); }
  size_t unsent() const { return unsent_.size(); }
  // Nothing is unsent, and the testee has read all that was sent.
  bool AllTaken() const;
  void DropUnsent() { unsent_.clear(); }
  // Sends what fits now.
  void Flush();
  // Sends all of them from another process; its pid, or 0 if they did not fit.
  int32_t SendFromChild(std::vector<Outgoing>& datagrams);
  void CloseA();
  // Closes it with a datagram unread: the testee's next read says ECONNRESET, once.
  void CloseAUnread();
  bool a_open() const { return a_send_.valid(); }

  // Port B.
  void set_reading(bool reading) { reading_ = reading; }
  void Drain();
  void ReadOne();
  std::deque<Arrived>& arrived() { return arrived_; }
  void CloseB();

  std::vector<Recorded>& record() { return record_; }
  void Record(Recorded::Kind kind, char port);
  void set_testee_pid(int32_t pid) { testee_pid_ = pid; }
  int last_error() const { return last_error_; }

  int ReadFd() const override { return reading_ && CanRead() ? b_receive_.get() : -1; }
  int WriteFd() const override { return unsent_.empty() ? -1 : a_send_.get(); }
  void Readable() override { Drain(); }
  void Writable() override { Flush(); }

 private:
  Link() = default;
  bool CanRead() const;
  bool ReadB();
  void RecordDatagram(Recorded::Kind kind, char port, int32_t pid,
                      const std::vector<uint8_t>& bytes, uint32_t fds, uint32_t rights);

  OwnedFd a_send_;
  OwnedFd a_receive_;
  OwnedFd b_send_;
  OwnedFd b_receive_;
  std::deque<Outgoing> unsent_;
  std::deque<Arrived> arrived_;
  std::vector<Recorded> record_;
  uint64_t recorded_bytes_ = 0;
  uint64_t arrived_bytes_ = 0;  // since nothing was waiting
  size_t opened_ = 0;           // descriptors, the same
  bool b_ended_ = false;        // the testee shut its end down
  int32_t testee_pid_ = 0;
  int last_error_ = 0;
  bool reading_ = true;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(size_t{160} << 10);
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_LINK_H_
