// A kernel that fails one chosen call, for tests.
//   shapes    Call: which; Fault: its how-manieth, from 0, and what goes wrong. Met: what
//             it went wrong with: the first datagram of the call, or the option
//   returns   what the real kernel says, but for that one
//   holds     counts of calls, and of datagrams sent and received
//   rules     SND-2, SND-4, RCV-1, RCV-6 are tried with it
//   source    none
#ifndef PORTPROOF_PORT_FAULT_KERNEL_H_
#define PORTPROOF_PORT_FAULT_KERNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "port/kernel.h"
#include "protocol/header.h"

namespace portproof::testing {

enum class Call : uint8_t {
  kSend,
  kSendBatch,
  kReceive,
  kSocketPair,
  kGetOption,
  kSetOption,
  kReadableBytes,
  kHungUp,
  kDuplicate,
  kClose,
  kFreeSlots,
  kMemoryFile,
  kTruncate,
  kAddSeals,
  kGetSeals,
  kStatus,
  kReadAt,
  kMap,
};
inline constexpr size_t kCalls = 18;

struct Fault {
  Call call = Call::kSend;
  uint64_t number = ~uint64_t{0};
  int error = 0;             // errno; 0: as below
  int prefix = -1;           // a batch: so many go; with an error, the next call has it
  int flags = 0;             // receive: the first datagram carries MSG_TRUNC or MSG_CTRUNC
  bool empty = false;        // receive: one without bytes comes before those that wait,
  size_t fds = 0;            //   with so many descriptors
  bool short_count = false;  // send: of the last datagram one byte less went
};

std::string ToString(const Fault& fault);

struct Met {
  std::optional<Header> header;
  int option = 0;       // of GetOption and SetOption
  uint64_t unread = 0;  // datagrams in the socket, where one without bytes came
};

class FaultKernel : public RealKernel {
 public:
  // `seqpacket`: the system has it.
  explicit FaultKernel(const Fault& fault = {}, bool seqpacket = true)
      : fault_(fault), seqpacket_(seqpacket) {}

  // Neither fails nor counts anything until it is woken.
  void set_asleep(bool asleep) { asleep_ = asleep; }

  bool fired() const { return fired_; }
  const Met& met() const { return met_; }
  uint64_t count(Call call) const { return counts_[static_cast<size_t>(call)]; }
  uint64_t unread() const { return sent_ - received_; }              // datagrams
  const std::vector<unsigned>& batches() const { return batches_; }  // of each kSendBatch

  ssize_t SendMessage(int fd, const msghdr* message, int flags) override;
  int SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) override;
  ssize_t ReceiveMessage(int fd, msghdr* message, int flags) override;
  int ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) override;
  int SocketPair(int type, int fds[2]) override;
  int GetOption(int fd, int name, int& value) override;
  int SetOption(int fd, int name, int value) override;
  int ReadableBytes(int fd, int& bytes) override;
  int HungUp(int fd, bool& hung_up) override;
  int Duplicate(int fd) override;
  int Close(int fd) override;
  int FreeSlots(unsigned most, unsigned& free) override;
  int MemoryFile(const char* name) override;
  int Truncate(int fd, off_t bytes) override;
  int AddSeals(int fd, int seals) override;
  int GetSeals(int fd) override;
  int Status(int fd, struct stat& status) override;
  ssize_t ReadAt(int fd, void* bytes, size_t count, off_t offset) override;
  void* Map(size_t bytes, int fd) override;

 private:
  bool Due(Call call);
  bool Fails(Call call);
  bool NextFails();
  void Meet(const msghdr& message);
  int SendPart(int fd, mmsghdr* messages, unsigned count, int flags);
  int ReceiveEmpty(int fd, mmsghdr* messages, unsigned count, int flags);
  void MakeEmpty(mmsghdr& message);

  Fault fault_;
  bool seqpacket_;
  bool asleep_ = false;
  bool fired_ = false;
  bool next_fails_ = false;
  Met met_;
  std::vector<unsigned> batches_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  std::array<uint64_t, kCalls> counts_ = {};
};

}  // namespace portproof::testing

#endif  // PORTPROOF_PORT_FAULT_KERNEL_H_
