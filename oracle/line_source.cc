#include "oracle/line_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;  // within a core's own cache
constexpr size_t kPackedBytes = size_t{128} << 10;

// One descriptor that becomes readable when following shall stop.
int StopDescriptor() {
  static const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd;
}

}  // namespace

void StopFollowing() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(StopDescriptor(), &one, sizeof one);
}

absl::StatusOr<std::unique_ptr<LineSource>> LineSource::Open(const std::string& path, bool follow) {
  const int fd = path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": ", strerror(errno)));
  struct stat status = {};
  if (fstat(fd, &status) != 0 || S_ISDIR(status.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a directory, expected a trace"));
  }
  std::unique_ptr<LineSource> source(new LineSource(fd, follow, kBufferBytes));
  if (S_ISREG(status.st_mode)) {
    source->regular_ = path != "-";
    source->file_bytes_ = static_cast<uint64_t>(status.st_size);
  }
  if (follow) {
    StopDescriptor();
    source->watch_fd_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    const uint32_t mask = IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_CLOSE_WRITE;
    if (source->watch_fd_ >= 0 && path != "-") {
      inotify_add_watch(source->watch_fd_, path.c_str(), mask);
    }
  }
  source->DetectCompression();
  return source;
}

std::unique_ptr<LineSource> LineSource::OfText(std::string_view text) {
  constexpr size_t kLeast = 256;
  const size_t buffer_bytes = std::clamp(text.size(), kLeast, kBufferBytes);
  std::unique_ptr<LineSource> source(new LineSource(-1, false, buffer_bytes));
  source->text_ = text;
  source->DetectCompression();
  return source;
}

// The first bytes tell.
void LineSource::DetectCompression() {
  while (end_ < 4 && Fill()) {
  }
  constexpr uint8_t kMagic[4] = {0x28, 0xb5, 0x2f, 0xfd};
  if (end_ < 4 || memcmp(buffer_.data(), kMagic, 4) != 0) return;
  compressed_ = true;
  at_end_ = false;
  zstd_ = ZSTD_createDCtx();
  packed_.assign(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(end_));
  packed_end_ = end_;
  end_ = 0;
}

LineSource::LineSource(int fd, bool follow, size_t buffer_bytes)
    : fd_(fd), follow_(follow), buffer_(buffer_bytes + kPadding) {}

LineSource::~LineSource() {
  if (zstd_ != nullptr) ZSTD_freeDCtx(zstd_);
  if (watch_fd_ >= 0) close(watch_fd_);
  if (fd_ >= 0) close(fd_);
}

bool LineSource::Next(std::string_view& line) { return Take(line, true); }

bool LineSource::Peek(std::string_view& line) { return Take(line, false); }

bool LineSource::PeekTwo(std::string_view& first, std::string_view& second) {
  if (!Peek(first)) return false;
  const std::string_view rest(buffer_.data() + begin_, end_ - begin_);
  if (rest.size() <= first.size() + 1) return false;
  second = rest.substr(first.size() + 1);
  const size_t newline = second.find('\n');
  if (newline == std::string_view::npos) return false;
  second = second.substr(0, newline);
  return true;
}

bool LineSource::Take(std::string_view& line, bool consume) {
  while (true) {
    const char* from = buffer_.data() + begin_ + scanned_;
    const auto* newline = static_cast<const char*>(memchr(from, '\n', end_ - begin_ - scanned_));
    const size_t known = end_ - begin_;
    size_t length = 0;
    size_t taken = 0;
    if (newline != nullptr) {
      length = static_cast<size_t>(newline - (buffer_.data() + begin_));
      taken = length + 1;
    } else if (known >= kLineBytesMax) {
      length = taken = known;
    } else {
      scanned_ = known;
      if (Fill()) continue;
      if (known == 0) return false;
      length = taken = known;
    }
    if (skipping_) {
      skipping_ = newline == nullptr && !at_end_;
      begin_ += taken;
      scanned_ = 0;
      continue;
    }
    line = std::string_view(buffer_.data() + begin_, length);
    scanned_ = length;
    if (!consume) return true;
    ended_with_newline_ = newline != nullptr;
    overlong_ = newline == nullptr && known >= kLineBytesMax;
    skipping_ = overlong_;
    begin_ += taken;
    scanned_ = 0;
    ++line_number_;
    return true;
  }
}

void LineSource::MakeRoom() {
  if (begin_ > 0) {
    memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ + kPadding == buffer_.size()) {
    buffer_.resize(std::min(2 * (buffer_.size() - kPadding), kLineBytesMax) + kPadding);
  }
}

bool LineSource::Fill() {
  if (at_end_) return false;
  MakeRoom();
  const size_t room = buffer_.size() - kPadding - end_;
  const size_t got =
      compressed_ ? Decompress(buffer_.data() + end_, room) : ReadFile(buffer_.data() + end_, room);
  if (got == 0) at_end_ = true;
  end_ += got;
  return got > 0;
}

size_t LineSource::ReadFile(char* to, size_t room) {
  if (fd_ < 0) {
    const size_t taken = text_.copy(to, room);
    text_.remove_prefix(taken);
    bytes_read_ += taken;
    return taken;
  }
  while (true) {
    const ssize_t got = read(fd_, to, room);
    if (got > 0) {
      bytes_read_ += static_cast<uint64_t>(got);
      return static_cast<size_t>(got);
    }
    if (got < 0 && errno == EINTR && !follow_) continue;
    if (got < 0 && errno != EINTR) trouble_ = absl::StrCat("read error: ", strerror(errno));
    if (got < 0 || !follow_ || !WaitForGrowth()) return 0;
  }
}

bool LineSource::WaitForGrowth() {
  pollfd waits[2] = {{watch_fd_, POLLIN, 0}, {StopDescriptor(), POLLIN, 0}};
  if (poll(waits, 2, -1) < 0 && errno != EINTR) return false;
  if ((waits[1].revents & POLLIN) != 0) return false;
  alignas(inotify_event) char events[4096];
  const ssize_t got = read(watch_fd_, events, sizeof events);
  for (ssize_t at = 0; at < got;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events + at);
    if ((event->mask & (IN_MOVE_SELF | IN_IGNORED)) != 0) follow_ = false;
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
  }
  // Removed: what it holds is read to its end, and no more will come.
  struct stat status = {};
  if (fstat(fd_, &status) != 0 || status.st_nlink == 0) follow_ = false;
  return true;
}

size_t LineSource::Decompress(char* to, size_t room) {
  while (true) {
    if (packed_begin_ == packed_end_ && drained_) {
      packed_.resize(kPackedBytes);
      packed_begin_ = 0;
      packed_end_ = ReadFile(packed_.data(), packed_.size());
      if (packed_end_ == 0) {
        if (frame_open_ && trouble_.empty()) {
          trouble_ = absl::StrCat("compressed data end early, after ", bytes_read_, " bytes");
        }
        return 0;
      }
    }
    ZSTD_inBuffer in = {packed_.data(), packed_end_, packed_begin_};
    ZSTD_outBuffer out = {to, room, 0};
    const size_t left = ZSTD_decompressStream(zstd_, &out, &in);
    packed_begin_ = in.pos;
    if (ZSTD_isError(left) != 0) {
      trouble_ =
          absl::StrCat("compressed data damaged near byte ",
                       bytes_read_ - (packed_end_ - packed_begin_), ": ", ZSTD_getErrorName(left));
      packed_begin_ = packed_end_;
      frame_open_ = false;
      return 0;
    }
    frame_open_ = left != 0;
    drained_ = out.pos < room;  // else the decoder may hold more than fitted
    if (out.pos > 0) return out.pos;
  }
}

struct TextSink::Impl {
  int fd = -1;
  std::string path;
  std::string pending;
  absl::Status status;
  ZSTD_CCtx* zstd = nullptr;

  void WriteRaw(const char* bytes, size_t size) {
    while (size > 0 && status.ok()) {
      const ssize_t written = write(fd, bytes, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        status = absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
        return;
      }
      bytes += written;
      size -= static_cast<size_t>(written);
    }
  }

  void Flush(bool end) {
    if (zstd == nullptr) {
      WriteRaw(pending.data(), pending.size());
      pending.clear();
      return;
    }
    ZSTD_inBuffer in = {pending.data(), pending.size(), 0};
    std::vector<char> packed(kPackedBytes);
    size_t left = 1;
    while (status.ok() && (in.pos < in.size || (end && left != 0))) {
      ZSTD_outBuffer out = {packed.data(), packed.size(), 0};
      left = ZSTD_compressStream2(zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left) != 0) {
        status = absl::InternalError(absl::StrCat(path, ": ", ZSTD_getErrorName(left)));
        return;
      }
      WriteRaw(packed.data(), out.pos);
    }
    pending.clear();
  }
};

absl::StatusOr<std::unique_ptr<TextSink>> TextSink::Open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->fd = path == "-" ? dup(STDOUT_FILENO)
                         : open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (impl->fd < 0) return absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
  if (absl::EndsWith(path, ".zst")) impl->zstd = ZSTD_createCCtx();
  return std::unique_ptr<TextSink>(new TextSink(std::move(impl)));
}

TextSink::TextSink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

TextSink::~TextSink() {
  if (impl_->zstd != nullptr) ZSTD_freeCCtx(impl_->zstd);
  if (impl_->fd >= 0) close(impl_->fd);
}

void TextSink::Write(std::string_view text) {
  impl_->pending.append(text);
  if (impl_->pending.size() >= kBufferBytes) impl_->Flush(false);
}

absl::Status TextSink::Finish() {
  impl_->Flush(true);
  if (close(impl_->fd) != 0 && impl_->status.ok()) {
    impl_->status = absl::UnavailableError(absl::StrCat(impl_->path, ": ", strerror(errno)));
  }
  impl_->fd = -1;
  return impl_->status;
}

}  // namespace portproof
