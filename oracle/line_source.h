// Lines of a file, of standard input ("-"), or of either compressed with zstd.
//   shapes    a line without its newline; kPadding readable bytes follow it
//   returns   Open: the source, or what could not be opened and why. Next: false at
//             the end; after it `trouble` says if the end came early (a read error,
//             damaged or cut compression), and everything read before still counts
//   holds     one descriptor, a buffer of 256 KiB that grows to kLineBytesMax at most;
//             a longer line is cut there and said to be (overlong)
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_LINE_SOURCE_H_
#define PORTPROOF_ORACLE_LINE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

struct ZSTD_DCtx_s;

namespace portproof {

class LineSource {
 public:
  static constexpr size_t kPadding = 64;
  static constexpr size_t kLineBytesMax = size_t{16} << 20;

  // follow: at the end of a plain file, wait for it to grow until `StopFollowing`.
  static absl::StatusOr<std::unique_ptr<LineSource>> Open(const std::string& path, bool follow);
  // Of a text the caller keeps as long as the source.
  static std::unique_ptr<LineSource> OfText(std::string_view text);
  ~LineSource();
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  bool Next(std::string_view& line);
  // The next line without taking it; false at the end. Stays valid until Next.
  bool Peek(std::string_view& line);
  // The next two lines, if both are in the first buffer.
  bool PeekTwo(std::string_view& first, std::string_view& second);

  uint64_t line_number() const { return line_number_; }  // of the last line, from 1
  bool overlong() const { return overlong_; }            // the last line was cut
  bool ended_with_newline() const { return ended_with_newline_; }
  const std::string& trouble() const { return trouble_; }
  uint64_t bytes_read() const { return bytes_read_; }  // of the file, before decompression
  uint64_t file_bytes() const { return file_bytes_; }  // 0 if unknown
  bool regular() const { return regular_; }            // can be opened again

 private:
  LineSource(int fd, bool follow, size_t buffer_bytes);
  void DetectCompression();
  bool Take(std::string_view& line, bool consume);
  bool Fill();  // more bytes behind end_; false at the end
  size_t ReadFile(char* to, size_t room);
  size_t Decompress(char* to, size_t room);
  bool WaitForGrowth();
  void MakeRoom();

  int fd_;
  std::string_view text_;  // left to read, where there is no descriptor
  int watch_fd_ = -1;
  bool follow_;
  bool regular_ = false;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0, scanned_ = 0;
  bool at_end_ = false;
  bool overlong_ = false;
  bool skipping_ = false;  // the rest of an overlong line
  bool ended_with_newline_ = true;
  uint64_t line_number_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t file_bytes_ = 0;
  std::string trouble_;
  bool compressed_ = false;
  bool frame_open_ = false;
  bool drained_ = true;
  ZSTD_DCtx_s* zstd_ = nullptr;
  std::vector<char> packed_;
  size_t packed_begin_ = 0, packed_end_ = 0;
};

// Ends every wait of a following source, from a signal handler.
void StopFollowing();

// Writes text to a file, to standard output ("-"), compressed if the name ends in .zst.
class TextSink {
 public:
  static absl::StatusOr<std::unique_ptr<TextSink>> Open(const std::string& path);
  ~TextSink();
  TextSink(const TextSink&) = delete;
  TextSink& operator=(const TextSink&) = delete;
  void Write(std::string_view text);
  absl::Status Finish();  // flushes and closes; the first error, if any

 private:
  struct Impl;
  explicit TextSink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_LINE_SOURCE_H_
