#include "oracle/suite/channel.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace portproof::suite {

bool Channel::TakeLine(std::string& answer) {
  const size_t end = buffer_.find('\n', scanned_);
  if (end == std::string::npos) {
    scanned_ = buffer_.size();
    return false;
  }
  answer = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  scanned_ = 0;
  return true;
}

bool Channel::Read() {
  std::array<char, 65536> bytes;
  for (;;) {
    const ssize_t got = read(out_, bytes.data(), bytes.size());
    if (got > 0) {
      buffer_.append(bytes.data(), static_cast<size_t>(got));
      return true;
    }
    if (got < 0 && errno == EINTR) continue;
    return got < 0 && errno == EAGAIN;
  }
}

void Channel::ReadErrors() {
  std::array<char, 4096> bytes;
  for (int times = 0; err_ >= 0 && times < 64; ++times) {
    const ssize_t got = read(err_, bytes.data(), bytes.size());
    if (got == 0) err_ = -1;
    if (got <= 0) break;
    errors_.append(bytes.data(), static_cast<size_t>(got));
    if (errors_.size() > kErrorBytesKept) errors_.erase(0, errors_.size() - kErrorBytesKept);
  }
}

Heard Channel::Ask(std::string_view line, int budget_ms, Watcher* watcher, std::string& answer) {
  if (!line.empty() && !buffer_.empty()) return Heard::kUnasked;
  std::string unsent(line);
  if (!line.empty()) unsent += '\n';
  size_t sent = 0;
  if (TakeLine(answer)) return Heard::kLine;
  Patience patience(testee_, budget_ms);
  for (;;) {
    std::array<pollfd, 5> polls = {{{out_, POLLIN, 0},
                                    {err_, POLLIN, 0},
                                    {sent < unsent.size() ? in_ : -1, POLLOUT, 0},
                                    {watcher != nullptr ? watcher->ReadFd() : -1, POLLIN, 0},
                                    {watcher != nullptr ? watcher->WriteFd() : -1, POLLOUT, 0}}};
    const bool over = patience.UsedUp();  // one more look, without waiting
    const int ready = poll(polls.data(), polls.size(), over ? 0 : Patience::SliceMs());
    if (ready < 0 && errno != EINTR) return Heard::kClosed;
    if (ready < 0) continue;
    if (polls[1].revents != 0) ReadErrors();
    if (polls[2].revents != 0) {
      const ssize_t put = write(in_, unsent.data() + sent, unsent.size() - sent);
      if (put > 0) sent += static_cast<size_t>(put);
      if (put < 0 && errno == EPIPE) sent = unsent.size();  // its answer, or its end, will tell
    }
    if (polls[3].revents != 0) watcher->Readable();
    if (polls[4].revents != 0) watcher->Writable();
    if (polls[0].revents != 0) {
      if (!Read()) return Heard::kClosed;
      if (TakeLine(answer)) return Heard::kLine;
      if (buffer_.size() > kLineBytesMax) return Heard::kTooLong;
    }
    if (over) return Heard::kTimeout;
  }
}

}  // namespace portproof::suite
