#include "port/testing.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace portproof::testing {

const Profile& ProfileOf(std::string_view name) {
  const auto resolved = ResolveProfile(name);
  EXPECT_TRUE(resolved.has_value()) << name;
  return *resolved->profile;
}

uint8_t TypeNumber(const Profile& profile, Type type) {
  const auto number = NumberOf(profile, type);
  EXPECT_TRUE(number.has_value()) << Name(type);
  return number.value_or(0);
}

size_t OpenDescriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  size_t count = 0;
  while (const dirent* const entry = ::readdir(directory)) count += entry->d_name[0] != '.';
  ::closedir(directory);
  return count - 1;
}

std::string TextOf(const Payload& payload) {
  std::string text;
  for (const Part& part : payload) text.append(part.bytes().begin(), part.bytes().end());
  return text;
}

std::string Pattern(size_t bytes, uint32_t seed) {
  std::string text(bytes, '\0');
  uint32_t state = seed * 2654435761U + 1;
  for (char& byte : text) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return text;
}

LocalPort::LocalPort(const Profile& profile, ReceiverOptions receiving, SenderOptions sending,
                     PortSizes asked, Kernel& kernel, size_t retained)
    : workspace(kernel, asked.max_size + kHeaderBytes, retained),
      data_type(TypeNumber(profile, Type::kData)) {
  auto pair = SocketPair::Create(profile, asked, kernel);
  EXPECT_TRUE(pair.ok()) << pair.status();
  if (!pair.ok()) return;
  sizes = pair->sizes;
  sending.profile = receiving.profile = &profile;
  sending.sizes = receiving.sizes = sizes;
  receiving.observer = [this](const Refusal& refusal) { told.push_back(refusal); };
  auto send_end = Sender::Adopt(workspace, std::move(pair->send_end), sending);
  EXPECT_TRUE(send_end.ok()) << send_end.status();
  auto receive_end =
      Receiver::Adopt(workspace, std::move(pair->receive_end), receiving, [this](Message& message) {
        delivered.push_back(
            {message.header, message.sender, TextOf(message.payload), message.fds.size()});
        if (handler) handler(message);
      });
  EXPECT_TRUE(receive_end.ok()) << receive_end.status();
  if (send_end.ok()) sender = *std::move(send_end);
  if (receive_end.ok()) receiver = *std::move(receive_end);
}

Next LocalPort::Drain() {
  Next next = Next::kCallAgain;
  while (next == Next::kCallAgain) next = receiver->Turn();
  return next;
}

WriteAnswer LocalPort::Write(std::string_view text, uint32_t stream, std::span<const int> fds) {
  const Buffer buffer = TextBuffer(text);
  return sender->Write({.type = data_type, .stream = stream, .fds = fds, .chain = {&buffer, 1}});
}

void LocalPort::BeginBatches() {
  for (uint32_t i = 0; i < kSinglyReads; ++i) EXPECT_EQ(Write(""), WriteAnswer::kAccepted);
  EXPECT_EQ(Drain(), Next::kWait);
  std::vector<Completion> completions;
  sender->TakeCompletions(completions);
  delivered.clear();
  told.clear();
}

ssize_t SendBytes(int socket, std::string_view bytes, std::span<const int> fds, int flags) {
  iovec vector = {const_cast<char*>(bytes.data()), bytes.size()};
  std::vector<uint8_t> control(CMSG_SPACE(fds.size_bytes()));
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::copy(fds.begin(), fds.end(), reinterpret_cast<int*>(CMSG_DATA(rights)));
  }
  return ::sendmsg(socket, &message, flags | MSG_NOSIGNAL);
}

void SendRaw(int socket, const Header& header, const std::string& payload,
             const std::vector<int>& fds) {
  const auto encoded = EncodeHeader(header);
  const std::string bytes = std::string(encoded.begin(), encoded.end()) + payload;
  EXPECT_EQ(SendBytes(socket, bytes, fds, MSG_DONTWAIT), static_cast<ssize_t>(bytes.size()));
}

std::shared_ptr<Segment> NewSegment(uint32_t id, const Profile& profile) {
  auto segment = Segment::Create({.id = id, .source_pid = ::getpid(), .sent_over = kSentOverAny},
                                 profile.segment_layout);
  EXPECT_TRUE(segment.ok()) << segment.status();
  return std::make_shared<Segment>(*std::move(segment));
}

std::string ReferenceText(const Reference& reference) {
  const auto bytes = EncodeReference(reference);
  return {bytes.begin(), bytes.end()};
}

}  // namespace portproof::testing
