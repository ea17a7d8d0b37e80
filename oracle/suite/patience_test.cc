// Whose time is counted: a testee's own, not what it waits for the machine.
#include "oracle/suite/patience.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

namespace portproof::suite {
namespace {

using std::chrono::milliseconds;

TEST(Excused, WhatAThreadWaitedForAProcessor) {
  EXPECT_EQ(Excused({5, 1000000, 'S'}, {6, 1000000, 'S'}, milliseconds(20)), milliseconds(0));
  EXPECT_EQ(Excused({5, 1000000, 'S'}, {6, 8000000, 'S'}, milliseconds(20)), milliseconds(7));
  EXPECT_EQ(Excused({5, 0, 'S'}, {6, 90000000, 'S'}, milliseconds(20)), milliseconds(20));
}

TEST(Excused, AllOfItWhileRunnableAndNotRun) {
  EXPECT_EQ(Excused({5, 0, 'R'}, {5, 0, 'R'}, milliseconds(20)), milliseconds(20));
  EXPECT_EQ(Excused({5, 0, 'R'}, {6, 0, 'R'}, milliseconds(20)), milliseconds(0));
  EXPECT_EQ(Excused({5, 0, 'S'}, {5, 0, 'S'}, milliseconds(20)), milliseconds(0));
  EXPECT_EQ(Excused({5, 0, 'T'}, {5, 0, 'T'}, milliseconds(20)), milliseconds(0));
}

TEST(Excused, AllOfItWhileItWaitsForADisk) {
  EXPECT_EQ(Excused({5, 0, 'S'}, {5, 0, 'D'}, milliseconds(20)), milliseconds(20));
}

TEST(Excused, NothingWhereACounterWentBack) {
  EXPECT_EQ(Excused({5, 9000000, 'S'}, {6, 0, 'S'}, milliseconds(20)), milliseconds(0));
}

// A process that sleeps for ever, alone or as the child of another.
pid_t Sleeper(bool below) {
  const pid_t child = fork();
  if (child != 0) return child;
  if (below && fork() != 0) {
    while (wait(nullptr) >= 0) {
    }
  }
  for (;;) pause();
}

TEST(Patience, EndsWithWhoeverSleeps) {
  for (const bool below : {false, true}) {
    const pid_t child = Sleeper(below);
    Patience patience(child, 100);
    EXPECT_FALSE(patience.UsedUp());
    while (!patience.UsedUp()) poll(nullptr, 0, Patience::SliceMs());
    std::vector<pid_t> tree = ProcessTree(child);
    EXPECT_EQ(tree.size(), below ? 2u : 1u);
    for (const pid_t pid : tree) kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
  }
}

// What we slept through ourselves is nobody's time.
TEST(Patience, OwnDelayIsNotCounted) {
  const pid_t child = Sleeper(false);
  Patience patience(child, 1000);
  for (int i = 0; i < 4; ++i) {
    poll(nullptr, 0, 300);
    EXPECT_FALSE(patience.UsedUp());
  }
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

}  // namespace
}  // namespace portproof::suite
