// A kernel that fails one chosen call, for tests.
//   shapes    Call: which; Fault: its how-manieth, from 0, and what goes wrong
//   returns   what the real kernel says, but for that one
//   holds     counts of calls
//   rules     SND-2, SND-4, RCV-1, RCV-6 are tried with it
//   source    none
#ifndef PORTPROOF_PORT_FAULT_KERNEL_H_
#define PORTPROOF_PORT_FAULT_KERNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "port/kernel.h"

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
  kMemoryFile,
  kTruncate,
  kAddSeals,
  kGetSeals,
  kStatus,
  kReadAt,
  kMap,
};
inline constexpr size_t kCalls = 17;

struct Fault {
  Call call = Call::kSend;
  uint64_t number = ~uint64_t{0};
  int error = 0;             // errno; 0: as below
  int prefix = -1;           // a batch: so many go, the rest do not
  int flags = 0;             // receive: the first datagram carries MSG_TRUNC or MSG_CTRUNC
  bool empty = false;        // receive: the first datagram has no bytes
  bool short_count = false;  // send: one byte less went than was asked
};

std::string ToString(const Fault& fault);

class FaultKernel : public RealKernel {
 public:
  explicit FaultKernel(const Fault& fault = {}) : fault_(fault) {}

  bool fired() const { return fired_; }
  uint64_t count(Call call) const { return counts_[static_cast<size_t>(call)]; }

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

  Fault fault_;
  bool fired_ = false;
  std::array<uint64_t, kCalls> counts_ = {};
};

}  // namespace portproof::testing

#endif  // PORTPROOF_PORT_FAULT_KERNEL_H_
