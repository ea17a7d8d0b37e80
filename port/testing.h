// For tests of the shell: a port with both ends here, its messages as text.
//   shapes    LocalPort: one sender, one receiver, one workspace. Text of a payload
//   returns   what tests compare
//   holds     both ends
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_PORT_TESTING_H_
#define PORTPROOF_PORT_TESTING_H_

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "port/receiver.h"
#include "port/sender.h"
#include "port/workspace.h"

namespace portproof::testing {

const Profile& ProfileOf(std::string_view name);
inline const Profile& Newest() { return ProfileOf("unit-1.35.0"); }
uint8_t TypeNumber(const Profile& profile, Type type);

// Of this process; the directory that is read does not count.
size_t OpenDescriptors();

// As many are open after a test as before it.
class CensusTest : public ::testing::Test {
 protected:
  CensusTest() : before_(OpenDescriptors()) {}
  ~CensusTest() override { EXPECT_EQ(OpenDescriptors(), before_); }

 private:
  size_t before_;
};

std::string TextOf(const Payload& payload);
// Bytes that differ from place to place and from seed to seed.
std::string Pattern(size_t bytes, uint32_t seed);
inline std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline Buffer TextBuffer(std::string_view text, uint64_t id = 0) {
  return PlainBuffer(BytesOf(text), id);
}

struct Delivered {
  Header header;
  int32_t sender = 0;
  std::string text;
  size_t fds = 0;
};

struct LocalPort {
  explicit LocalPort(const Profile& profile = Newest(), ReceiverOptions receiving = {},
                     SenderOptions sending = {}, PortSizes sizes = {},
                     Kernel& kernel = Kernel::Real(),
                     size_t retained = BufferPool::kRetainedDefault);

  // Turns until nothing more comes.
  Next Drain();
  WriteAnswer Write(std::string_view text, uint32_t stream = 1, std::span<const int> fds = {});
  // Gives the receiver so many datagrams without descriptors that it reads in batches from
  // now on (RCV-5); nothing else is left of them.
  void BeginBatches();

  Workspace workspace;
  std::unique_ptr<Sender> sender;
  std::unique_ptr<Receiver> receiver;
  std::vector<Delivered> delivered;
  std::vector<Refusal> told;
  Receiver::Handler handler;  // besides; may be empty
  uint8_t data_type = 0;
  PortSizes sizes;
};

// A datagram as anybody could send it over the socket. SendBytes answers as sendmsg does.
ssize_t SendBytes(int socket, std::string_view bytes, std::span<const int> fds, int flags);
void SendRaw(int socket, const Header& header, const std::string& payload,
             const std::vector<int>& fds = {});
inline void SendRaw(const LocalPort& port, const Header& header, const std::string& payload,
                    const std::vector<int>& fds = {}) {
  SendRaw(port.sender->fd(), header, payload, fds);
}
// A segment of this process that may be used over every port.
std::shared_ptr<Segment> NewSegment(uint32_t id, const Profile& profile = Newest());
std::string ReferenceText(const Reference& reference);

}  // namespace portproof::testing

#endif  // PORTPROOF_PORT_TESTING_H_
