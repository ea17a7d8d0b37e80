// Turns the lines of a recording into events, whatever the recorder's options were.
//   shapes    OnLine: the lines in the order of their times, with the file and the number
//             they have there; a line that is `cut` may have gone on
//   returns   events to the sink; a line that cannot be read is logged, told to the sink
//             (kDamage), and costs nothing but itself
//   holds     per live thread and per socket a few words; sends whose call has not
//             returned yet, and what follows them, as EventQueue bounds it
//   rules     the recorder's facts: order by entry, a receive by its return
//   source    strace 4.x to 6.x
#ifndef PORTPROOF_ORACLE_STRACE_EVENTS_H_
#define PORTPROOF_ORACLE_STRACE_EVENTS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "oracle/event_queue.h"
#include "oracle/process_table.h"
#include "oracle/read_log.h"
#include "oracle/socket_table.h"
#include "oracle/strace_message.h"
#include "oracle/strace_text.h"
#include "oracle/trace.h"

namespace portproof {

class StraceEvents {
 public:
  StraceEvents(EventSink& sink, ReadLog& log, bool files_are_threads)
      : queue_(sink), log_(log), files_are_threads_(files_are_threads) {}

  void OnLine(std::string_view text, const std::string& file, uint64_t number, int32_t file_tid,
              bool cut);
  // The first line, which cannot be read as it stands.
  void Lost(const std::string& file, std::string what) {
    file_ = &file;
    line_ = 1;
    Damaged(std::move(what), 0);
  }
  void Finish();
  uint64_t calls_seen() const { return calls_seen_; }
  uint64_t sockets_named() const { return sockets_named_; }
  uint64_t lines_understood() const { return lines_understood_; }
  uint64_t raw_calls() const { return raw_calls_; }              // arguments printed as numbers
  uint64_t unread_messages() const { return unread_messages_; }  // printed as an address
  uint64_t messages_read() const { return messages_read_; }

 private:
  void Dispatch(const StraceLine& line);
  void OnCall(const StraceLine& line);
  void OnResumed(const StraceLine& line);
  void OnSend(const StraceLine& line);
  void OnRecv(const StraceLine& line);
  uint64_t PortOfSend(const FdText& fd) const;
  uint64_t FileBytes(const Thread& thread) const;
  std::string Outcome(Event& event, const Thread& thread, const ResultText& result);
  void FinishSend(Thread& thread, const ResultText& result);
  void FinishRecv(const Thread& thread, Cursor& cursor);
  void EmitRecv(const Thread& thread, int64_t returned);
  void OnSocketPair(Cursor& cursor, bool dgram);
  void OpenPort(uint64_t inode, uint64_t peer, bool dgram);
  void OnFtruncate(std::string_view args);
  void OnClone(const StraceLine& line);
  void OnCloseCall(const StraceLine& line);
  void OnGone(const StraceLine& line);
  void Die(int32_t tid);
  int32_t ProcessId() {  // of the line's thread, which stands for it if that is not known
    const int32_t pid = processes_.Find(tid_).pid;
    return pid == kNoPid ? tid_ : pid;
  }
  void AbandonPending(int32_t tid, Thread& thread);
  void GiveUpPending(int32_t tid, Thread& thread);
  bool IsRaw(const StraceLine& line);
  bool ReadMessage(Cursor& cursor);
  void Damaged(std::string what, uint64_t inode);
  void MeetTime(const StraceLine& line);
  Event Base(EventKind kind) const;

  EventQueue queue_;
  ReadLog& log_;
  bool files_are_threads_;
  ProcessTable processes_;
  SocketTable sockets_;
  absl::flat_hash_map<uint64_t, uint64_t> file_bytes_;  // by hash of the description
  MessageText message_;
  const std::string* file_ = nullptr;
  uint64_t line_ = 0;
  bool unterminated_ = false;  // the line has no newline: it may have gone on
  int32_t tid_ = kNoPid;
  int32_t only_tid_ = kNoPid;  // of a recording without a pid column
  int64_t time_us_ = kNoTime;
  int64_t base_us_ = kNoTime;
  int64_t days_us_ = 0;
  uint64_t calls_seen_ = 0;
  uint64_t sockets_named_ = 0;
  uint64_t lines_understood_ = 0;
  uint64_t raw_calls_ = 0;
  uint64_t unread_messages_ = 0;
  uint64_t messages_read_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_STRACE_EVENTS_H_
