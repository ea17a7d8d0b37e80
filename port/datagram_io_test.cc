// What an errno means, in the one place that says so.
#include "port/datagram_io.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace portproof {
namespace {

// SND-2, SND-4
TEST(DatagramIoTest, SND_2_SND_4_WhatAnErrnoOfSendingMeans) {
  EXPECT_EQ(ClassifySend(EAGAIN), SendAnswer::kWouldBlock);
  for (const int error : {ENOBUFS, ENOMEM, ETOOMANYREFS}) {
    EXPECT_EQ(ClassifySend(error), SendAnswer::kBusy) << error;
  }
  for (const int error : {EPIPE, ECONNRESET, ECONNREFUSED, ENOTCONN}) {
    EXPECT_EQ(ClassifySend(error), SendAnswer::kPortError) << error;
  }
  for (const int error : {EMSGSIZE, EBADF, EINVAL, EPERM, EFAULT}) {
    EXPECT_EQ(ClassifySend(error), SendAnswer::kMessageError) << error;
  }
}

// RCV-6
TEST(DatagramIoTest, RCV_6_WhatAnErrnoOfReceivingMeans) {
  EXPECT_EQ(ClassifyReceive(EAGAIN), Answer::kEmpty);
  EXPECT_EQ(ClassifyReceive(EINTR), Answer::kInterrupted);
  EXPECT_EQ(ClassifyReceive(ENOMEM), Answer::kBusy);
  EXPECT_EQ(ClassifyReceive(ENOBUFS), Answer::kBusy);
  EXPECT_EQ(ClassifyReceive(ECONNRESET), Answer::kReset);
  for (const int error : {EBADF, ENOTCONN, EINVAL, EFAULT}) {
    EXPECT_EQ(ClassifyReceive(error), Answer::kError) << error;
  }
}

}  // namespace
}  // namespace portproof
