// What is asked of a kernel that gives less than was wanted.
#include "port/socket_pair.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "port/testing.h"

namespace portproof {
namespace {

using testing::Newest;
using testing::ProfileOf;

// Its buffers have the sizes it says, whatever is set.
class StubbornKernel : public RealKernel {
 public:
  int SocketPair(int type, int fds[2]) override {
    if (refused == 0 || (type & SOCK_DGRAM) == SOCK_DGRAM) return RealKernel::SocketPair(type, fds);
    errno = refused;
    return -1;
  }
  int GetOption(int fd, int name, int& value) override {
    if (RealKernel::GetOption(fd, name, value) != 0) return -1;
    if (name == SO_SNDBUF) value = send_bytes;
    if (name == SO_RCVBUF) value = receive_bytes;
    return 0;
  }
  int SetOption(int /*fd*/, int name, int value) override {
    set.emplace_back(name, value);
    return 0;
  }

  int refused = 0;  // errno of SOCK_SEQPACKET
  int send_bytes = 1 << 21;
  int receive_bytes = 1 << 24;
  std::vector<std::pair<int, int>> set;
};

TEST(SocketPairTest, SOC_1_DatagramsWhereSeqpacketIsMissing) {
  for (const int error : {EPROTONOSUPPORT, ESOCKTNOSUPPORT}) {
    StubbornKernel kernel;
    kernel.refused = error;
    auto pair = SocketPair::Create(Newest(), {}, kernel);
    ASSERT_TRUE(pair.ok()) << pair.status();
    EXPECT_TRUE(CheckReceiveEnd(pair->receive_end.get(), {}, kernel).ok());
  }
  StubbornKernel kernel;
  kernel.refused = EMFILE;
  EXPECT_FALSE(SocketPair::Create(Newest(), {}, kernel).ok());
}

// SOC-2, SOC-4: raised where lower, and only there.
TEST(SocketPairTest, SOC_2_BuffersAreRaised) {
  using Set = std::vector<std::pair<int, int>>;
  const Profile& oldest = ProfileOf("unit-0.2");
  StubbornKernel kernel;
  kernel.send_bytes = 999;
  kernel.receive_bytes = 4 * 999 - 1;
  ASSERT_TRUE(SocketPair::Create(oldest, {.max_size = 1000}, kernel).ok());
  EXPECT_EQ(kernel.set, (Set{{SO_SNDBUF, 1000}, {SO_RCVBUF, 4 * 999}}));
  kernel.set.clear();
  kernel.send_bytes = 1000;
  kernel.receive_bytes = 4000;
  ASSERT_TRUE(SocketPair::Create(oldest, {.max_size = 1000}, kernel).ok());
  EXPECT_EQ(kernel.set, Set());
  ASSERT_TRUE(SocketPair::Create(Newest(), {.max_size = 1000}, kernel).ok());
  EXPECT_EQ(kernel.set, (Set{{SO_PASSCRED, 1}}));
}

TEST(SocketPairTest, SOC_2_MaxIsTheLargestThatFits) {
  StubbornKernel kernel;
  kernel.send_bytes = 1000;
  EXPECT_EQ(SocketPair::Create(ProfileOf("unit-0.2"), {}, kernel)->sizes.max_size, 1000U - 32 - 16);
  EXPECT_EQ(SocketPair::Create(Newest(), {}, kernel)->sizes.max_size, 1000U - 32);
  EXPECT_EQ(SocketPair::Create(Newest(), {.max_size = 900}, kernel)->sizes.max_size, 900U);
  kernel.send_bytes = 64 + 32;
  EXPECT_EQ(SocketPair::Create(Newest(), {}, kernel)->sizes.max_size, 64U);
  kernel.send_bytes = 64 + 31;
  EXPECT_FALSE(SocketPair::Create(Newest(), {}, kernel).ok());
}

TEST(SocketPairTest, SND_11_ExactlyTheLimitsAreAllowed) {
  StubbornKernel kernel;
  for (const uint32_t max_size : {64U, 1U << 20}) {
    EXPECT_TRUE(SocketPair::Create(Newest(), {.max_size = max_size}, kernel).ok()) << max_size;
  }
  for (const uint32_t max_size : {63U, (1U << 20) + 1}) {
    EXPECT_FALSE(SocketPair::Create(Newest(), {.max_size = max_size}, kernel).ok()) << max_size;
  }
}

}  // namespace
}  // namespace portproof
