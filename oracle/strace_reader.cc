#include "oracle/strace_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "oracle/event_queue.h"
#include "oracle/process_table.h"
#include "oracle/strace_text.h"
#include "protocol/header.h"
#include "protocol/profile.h"

namespace portproof {
namespace {

constexpr uint64_t kProgressLines = 1 << 14;
constexpr int64_t kRecordingBreakUs = 1000000;  // time running back so far: a joined file
constexpr int64_t kDayUs = int64_t{24} * 60 * 60 * 1000000;
constexpr size_t kFilesKept = 1 << 12;  // sizes of shared memory files remembered
constexpr uint64_t kDatagramBytesMax = uint64_t{1} << 31;

// Errno names live as long as the program; a call's text does not.
std::string_view KeepErrno(std::string_view name) {
  static constexpr std::array<std::string_view, 22> kNames = {
      "EAGAIN", "EPIPE",        "ECONNRESET", "ECONNREFUSED", "ENOTCONN", "ENOBUFS",
      "ENOMEM", "ETOOMANYREFS", "EMSGSIZE",   "EBADF",        "EINTR",    "EINVAL",
      "EFAULT", "ENOTSOCK",     "EOPNOTSUPP", "EPROTOTYPE",   "EISCONN",  "EDESTADDRREQ",
      "EACCES", "EPERM",        "EIO",        "ERESTARTSYS"};
  const auto* found = std::find(kNames.begin(), kNames.end(), name);
  return found == kNames.end() ? std::string_view("EIO") : *found;
}

enum class SocketKind : uint8_t { kCandidate, kPort, kOther };

struct Socket {
  SocketKind kind = SocketKind::kCandidate;
  uint64_t peer = 0;         // of a socketpair: the other end
  uint32_t zero_length = 0;  // datagrams of no bytes on their way
};

// CLONE_VM|CLONE_THREAD|...; whether a child is a thread hangs on them.
bool CloneFlagsReadable(const StraceLine& line) {
  if (!line.name.starts_with("clone")) return true;
  size_t at = line.args.find("flags=");
  if (at == std::string_view::npos) return false;
  at += 6;
  const size_t end = line.args.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_|0123456789x", at);
  if (end == at) return false;
  return end == std::string_view::npos ||
         std::string_view(",} )/").find(line.args[end]) != std::string_view::npos;
}

// Could these be the first bytes of a port's datagram? Of sockets never seen to open.
bool LooksLikeHeader(std::span<const uint8_t> bytes, uint64_t size) {
  constexpr int32_t kPidMax = 1 << 22;
  if (size < kHeaderBytes) return false;
  const auto decoded = DecodeHeader(bytes);
  if (!decoded || !decoded->flags_clean) return false;
  const Header& header = decoded->header;
  return header.type < Profiles().back().types.size() && header.pid >= 0 && header.pid <= kPidMax &&
         (header.nf || header.mf || size <= (uint64_t{1} << 17));
}

class Reader {
 public:
  Reader(EventSink& sink, ReadLog& log, bool files_are_threads)
      : queue_(sink), log_(log), files_are_threads_(files_are_threads) {}

  void OnLine(std::string_view text, const std::string& file, uint64_t number, int32_t file_tid,
              bool cut);
  // The first line, which cannot be read as it stands.
  void Lost(const std::string& file, std::string what) {
    file_ = &file;
    line_ = 1;
    Damaged(std::move(what), 0);
  }
  void Finish() { queue_.Flush(); }
  uint64_t calls_seen() const { return calls_seen_; }
  uint64_t sockets_named() const { return sockets_named_; }
  uint64_t lines_understood() const { return lines_understood_; }

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
  void Damaged(std::string what, uint64_t inode);
  void MeetTime(const StraceLine& line);
  Socket& SocketOf(uint64_t inode) { return sockets_[inode]; }
  void ForgetSockets() {
    sockets_.clear();
    known_ports_ = {};
  }
  bool IsPort(uint64_t inode, std::span<const uint8_t> bytes, uint64_t size);
  Event Base(EventKind kind) const;
  std::string_view PortName(uint64_t inode);

  EventQueue queue_;
  ReadLog& log_;
  bool files_are_threads_;
  ProcessTable processes_;
  absl::flat_hash_map<uint64_t, Socket> sockets_;
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
  std::array<char, 24> name_{};
  // Ports last met, a call's socket is mostly among them, and what they are called.
  static constexpr size_t kRecentKept = 16;
  struct KnownPort {
    uint64_t inode = UINT64_MAX;  // none: more digits than are read
    size_t name_size = 0;
    std::array<char, 24> name{};
    std::string_view Name() const { return {name.data(), name_size}; }
  };
  std::array<KnownPort, kRecentKept> known_ports_{};
};

std::string_view Reader::PortName(uint64_t inode) {
  const KnownPort& known = known_ports_[inode % kRecentKept];
  if (known.inode == inode) return known.Name();
  const auto [end, error] = std::to_chars(name_.data(), name_.data() + name_.size(), inode);
  return {name_.data(), static_cast<size_t>(end - name_.data())};
}

Event Reader::Base(EventKind kind) const {
  Event event;
  event.kind = kind;
  event.time_us = time_us_ == kNoTime ? kNoTime : time_us_ - base_us_;
  event.tid = tid_;
  event.line = line_;
  return event;
}

void Reader::Damaged(std::string what, uint64_t inode) {
  log_.Damaged(*file_, line_, std::move(what));
  Event event = Base(EventKind::kDamage);
  if (inode != 0) event.port = PortName(inode);
  queue_.Push(event);
}

void Reader::MeetTime(const StraceLine& line) {
  if (line.time_us == kNoTime) return;
  int64_t now = line.time_us + (line.clock_of_day ? days_us_ : 0);
  if (line.clock_of_day && time_us_ != kNoTime && now < time_us_ - kDayUs / 2) {
    days_us_ += kDayUs;
    now += kDayUs;
  }
  if (base_us_ == kNoTime) base_us_ = now;
  if (time_us_ != kNoTime && now < time_us_ - kRecordingBreakUs && !files_are_threads_) {
    // Another recording follows in the same file: what was open here says nothing there.
    queue_.Flush();
    for (const auto& [inode, socket] : sockets_) {
      if (socket.kind != SocketKind::kPort) continue;
      Event event = Base(EventKind::kClose);
      event.port = PortName(inode);
      queue_.Push(event);
    }
    ForgetSockets();
    processes_ = ProcessTable();
  }
  time_us_ = now;
}

void Reader::OnLine(std::string_view text, const std::string& file, uint64_t number,
                    int32_t file_tid, bool cut) {
  file_ = &file;
  line_ = number;
  unterminated_ = cut;
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) return;
  const StraceLine line = SplitLine(text);
  tid_ = file_tid != kNoPid ? file_tid : line.tid;
  if (line.kind == LineKind::kBad) {
    Damaged(cut ? "line cut short"
                : "expected a call, its other half, or an exit as strace writes them",
            0);
    return;
  }
  ++lines_understood_;
  if (line.kind == LineKind::kNoise) return;
  MeetTime(line);
  if (tid_ == kNoPid) tid_ = only_tid_ = 0;
  Dispatch(line);
}

void Reader::Dispatch(const StraceLine& line) {
  switch (line.kind) {
    case LineKind::kCall:
    case LineKind::kUnfinished:
      OnCall(line);
      return;
    case LineKind::kResumed:
      OnResumed(line);
      return;
    case LineKind::kExited:
    case LineKind::kKilled:
      OnGone(line);
      return;
    case LineKind::kNoise:
    case LineKind::kBad:
      return;
  }
}

void Reader::OnCall(const StraceLine& line) {
  Thread* known = processes_.FindKnown(tid_);
  if (known != nullptr && known->pending != PendingCall::kNone) AbandonPending(tid_, *known);
  const std::string_view name = line.name;
  if (Is(name, "recvmsg")) {
    OnRecv(line);
  } else if (Is(name, "sendmsg")) {
    OnSend(line);
  } else if (Is(name, "socketpair")) {
    Cursor cursor(line.args);
    const size_t flags_end = line.args.find(", [");
    const bool seqpacket = line.args.find("SOCK_SEQPACKET") < flags_end;
    const bool dgram = line.args.find("SOCK_DGRAM") < flags_end;
    Thread& thread = processes_.Find(tid_);
    if (line.kind == LineKind::kUnfinished) {
      thread.pending = PendingCall::kSocketPair;
      thread.skip = !seqpacket && !dgram;
      thread.dgram = dgram;
    } else if (seqpacket || dgram) {
      cursor.at += std::min(flags_end, line.args.size());
      cursor.Eat(", ");
      OnSocketPair(cursor, dgram);
    }
  } else if (Is(name, "clone") || Is(name, "clone3") || Is(name, "fork") || Is(name, "vfork")) {
    OnClone(line);
  } else if (Is(name, "ftruncate")) {
    OnFtruncate(line.args);
  } else if (name == "exit_group") {
    processes_.Find(tid_);
    Die(tid_);
  } else if (Is(name, "execve")) {
    processes_.Exec(tid_);
  } else if (Is(name, "close")) {
    OnCloseCall(line);
  }
}

// The other half of a call never came: what it sent may or may not have left.
void Reader::AbandonPending(int32_t tid, Thread& thread) {
  const PendingCall pending = thread.pending;
  const uint64_t inode = thread.inode;
  const uint64_t entry = thread.entry_line;
  const bool skip = thread.skip;
  const bool blamed = thread.damaged_before != log_.damaged_count;
  thread.pending = PendingCall::kNone;
  if (pending == PendingCall::kSend && thread.ticket != 0) {
    if (Event* event = queue_.Find(thread.ticket)) event->killed = true;
    queue_.Settle(std::exchange(thread.ticket, 0), false);
  }
  if (pending == PendingCall::kClone) processes_.CloneReturned(kNoPid, false, -1);
  const bool port_call = pending == PendingCall::kSend || pending == PendingCall::kRecv;
  if (!port_call || skip || blamed) return;
  Damaged(absl::StrCat("thread ", tid, " makes another call, but its ",
                       pending == PendingCall::kSend ? "sendmsg" : "recvmsg", " of line ", entry,
                       " was never resumed"),
          inode);
}

bool Reader::IsPort(uint64_t inode, std::span<const uint8_t> bytes, uint64_t size) {
  KnownPort& known = known_ports_[inode % kRecentKept];
  if (known.inode == inode) return true;
  Socket& socket = SocketOf(inode);
  if (socket.kind == SocketKind::kCandidate && LooksLikeHeader(bytes, size)) {
    socket.kind = SocketKind::kPort;
  }
  if (socket.kind != SocketKind::kPort) return false;
  const std::string_view name = PortName(inode);
  known.inode = inode;
  known.name_size = name.copy(known.name.data(), known.name.size());
  return true;
}

// The receiving inode of what a descriptor sends to; 0 if that can be no port.
uint64_t Reader::PortOfSend(const FdText& fd) const {
  if (fd.kind != FdText::Kind::kUnix && fd.kind != FdText::Kind::kUnixDgram) return 0;
  if (fd.peer != 0) return fd.peer;
  const auto own = sockets_.find(fd.inode);  // recorded with -y: only the own end is named
  return own == sockets_.end() ? 0 : own->second.peer;
}

void Reader::OnSend(const StraceLine& line) {
  ++calls_seen_;
  Cursor cursor(line.args);
  FdText fd;
  if (!ParseFd(cursor, fd)) return Damaged("sendmsg: expected a descriptor", 0);
  sockets_named_ += fd.kind == FdText::Kind::kPlain ? 0 : 1;
  const bool unfinished = line.kind == LineKind::kUnfinished;
  const uint64_t inode = PortOfSend(fd);
  message_.Clear();
  if (inode != 0 && (!cursor.Eat(", ") || !ParseMessage(cursor, message_))) {
    return Damaged("sendmsg: expected a message header {msg_name=..., msg_iov=[...], ...}", inode);
  }
  Event event = Base(EventKind::kSend);
  event.data = message_.bytes.bytes();
  event.size = event.data.size();
  event.fds = message_.fds;
  event.rights = message_.rights;
  event.iov = message_.iov;
  const auto header = DecodeHeader(event.data);
  Thread& thread = processes_.Find(tid_, header ? header->header.pid : kNoPid);
  event.pid = thread.pid;
  if (message_.fds > 0) event.segment_bytes = FileBytes(thread);
  const uint64_t least_size =
      message_.cut ? std::max<uint64_t>(event.size, kHeaderBytes) : event.size;
  thread.inode = inode;
  thread.skip = inode == 0 || !IsPort(inode, event.data, least_size);
  thread.ticket = 0;
  thread.cut = message_.cut;
  if (unfinished) {
    thread.pending = PendingCall::kSend;
    thread.entry_line = line_;
    thread.damaged_before = log_.damaged_count;
  }
  ResultText result;
  if (!unfinished && inode != 0 &&
      (!cursor.Eat(", ") || !SkipValue(cursor) || !ParseResult(cursor, result))) {
    return Damaged("sendmsg: expected its flags and result", thread.skip ? 0 : inode);
  }
  if (thread.skip) return;
  event.port = PortName(inode);
  if (event.size == 0 && !message_.cut) ++SocketOf(inode).zero_length;
  if (unfinished) {
    thread.ticket = queue_.Reserve(event);
    return;
  }
  const std::string wrong = Outcome(event, thread, result);
  queue_.Push(event);
  if (!wrong.empty()) Damaged(wrong, inode);
}

uint64_t Reader::FileBytes(const Thread& thread) const {
  if (file_bytes_.empty()) return 0;
  const int32_t pid = thread.pid == kNoPid ? tid_ : thread.pid;
  const auto file =
      file_bytes_.find(absl::HashOf(pid, message_.first_fd_number, message_.first_fd));
  return file == file_bytes_.end() ? 0 : file->second;
}

// What became of a send; not empty: the result cannot be right.
std::string Reader::Outcome(Event& event, const Thread& thread, const ResultText& result) {
  const bool restarted = result.unknown && !result.errno_name.empty();
  if (result.unknown && !restarted) {
    event.killed = true;
  } else if (result.value < 0 || restarted) {
    Socket& socket = SocketOf(thread.inode);
    if (event.size == 0 && socket.zero_length > 0) --socket.zero_length;
    event.kind = EventKind::kFail;
    event.errno_name = KeepErrno(restarted ? "EINTR" : result.errno_name);
  } else if (!thread.cut && static_cast<uint64_t>(result.value) != event.size) {
    event.killed = true;  // it may have gone, or not
    return absl::StrCat("sendmsg: given ", event.size,
                        " bytes, expected that many or -1 returned, not ", result.value);
  } else {
    event.size = static_cast<uint64_t>(result.value);
    event.data = event.data.first(std::min<size_t>(event.data.size(), event.size));
  }
  return "";
}

void Reader::FinishSend(Thread& thread, const ResultText& result) {
  Event* event = queue_.Find(thread.ticket);
  const EventQueue::Ticket ticket = std::exchange(thread.ticket, 0);
  if (event == nullptr) return;
  const std::string wrong = Outcome(*event, thread, result);
  queue_.Settle(ticket, false);
  if (!wrong.empty()) Damaged(wrong, thread.inode);
}

void Reader::OnRecv(const StraceLine& line) {
  ++calls_seen_;
  Cursor cursor(line.args);
  FdText fd;
  if (!ParseFd(cursor, fd)) return Damaged("recvmsg: expected a descriptor", 0);
  sockets_named_ += fd.kind == FdText::Kind::kPlain ? 0 : 1;
  const bool may_be_port = fd.kind == FdText::Kind::kUnix || fd.kind == FdText::Kind::kUnixDgram;
  Thread& thread = processes_.Find(tid_);
  thread.inode = fd.inode;
  thread.peer = fd.peer;
  thread.skip = !may_be_port;
  if (line.kind == LineKind::kUnfinished) {
    thread.pending = PendingCall::kRecv;
    thread.entry_line = line_;
    thread.damaged_before = log_.damaged_count;
    return;
  }
  if (thread.skip) return;
  if (!cursor.Eat(", ")) return Damaged("recvmsg: expected a message header", fd.inode);
  FinishRecv(thread, cursor);
}

// From the message header on, in a whole line or behind "resumed>".
void Reader::FinishRecv(const Thread& thread, Cursor& cursor) {
  if (cursor.StandsAt("{msg_namelen=0}, 0) = -1 EAGAIN ")) return;  // nothing came, as often
  message_.Clear();
  ResultText result;
  const bool message_read = cursor.at < cursor.end && *cursor.at == '{'
                                ? ParseMessage(cursor, message_)
                                : SkipValue(cursor);  // an address: nothing was read
  if (!message_read || !cursor.Eat(", ") || !SkipValue(cursor) || !ParseResult(cursor, result)) {
    return Damaged("recvmsg: expected a message header {...}, flags and a result", thread.inode);
  }
  if (result.unknown || result.value < 0) return;
  const auto printed = static_cast<int64_t>(message_.bytes.size());
  const bool too_few = printed < result.value && !message_.cut && !message_.truncated;
  if (too_few || (unterminated_ && printed != result.value && !message_.cut)) {
    return Damaged(
        absl::StrCat("recvmsg: returned ", result.value, " bytes, but ", printed, " are printed"),
        thread.inode);
  }
  EmitRecv(thread, result.value);
}

void Reader::EmitRecv(const Thread& thread, int64_t returned) {
  Event event = Base(EventKind::kRecv);
  event.pid = thread.pid;
  event.size = static_cast<uint64_t>(returned);
  event.data = message_.bytes.bytes();
  event.data = event.data.first(std::min<size_t>(event.data.size(), event.size));
  event.fds = message_.fds;
  event.rights = message_.rights;
  event.cred_pid = message_.cred_pid;
  event.truncated = message_.truncated;
  event.ctrl_truncated = message_.ctrl_truncated;
  if (!IsPort(thread.inode, event.data, event.size)) return;
  if (event.size == 0) {
    Socket& socket = SocketOf(thread.inode);
    if (socket.zero_length > 0) {
      --socket.zero_length;
    } else {
      event.kind = EventKind::kEof;
    }
  }
  event.port = PortName(thread.inode);
  queue_.Push(event);
}

void Reader::OnResumed(const StraceLine& line) {
  Thread* thread = processes_.FindKnown(tid_);
  const PendingCall pending = thread == nullptr ? PendingCall::kNone : thread->pending;
  if (thread != nullptr) thread->pending = PendingCall::kNone;
  Cursor cursor(line.args);
  ResultText result;
  if (Is(line.name, "sendmsg") && pending == PendingCall::kSend) {
    if (!ParseLastResult(line.args, result)) {
      thread->pending = pending;
      thread->damaged_before = kDatagramBytesMax;  // AbandonPending need not name it again
      return Damaged("sendmsg: expected a result", thread->skip ? 0 : thread->inode);
    }
    if (thread->ticket != 0) FinishSend(*thread, result);
  } else if (Is(line.name, "recvmsg") && pending == PendingCall::kRecv) {
    if (!thread->skip) FinishRecv(*thread, cursor);
  } else if (Is(line.name, "socketpair") && pending == PendingCall::kSocketPair) {
    if (!thread->skip) OnSocketPair(cursor, thread->dgram);
  } else if (pending == PendingCall::kClone &&
             (line.name.ends_with("fork") || line.name.starts_with("clone"))) {
    if (!ParseLastResult(line.args, result)) return Damaged("clone: expected a result", 0);
    processes_.CloneReturned(thread->pid == kNoPid ? tid_ : thread->pid, thread->clones_thread,
                             result.unknown ? -1 : result.value);
  } else if (Is(line.name, "sendmsg") || Is(line.name, "recvmsg")) {
    Damaged(absl::StrCat(std::string(line.name), " resumed, but its beginning was not recorded"),
            0);
  }
}

void Reader::OnSocketPair(Cursor& cursor, bool dgram) {
  FdText first;
  FdText second;
  ResultText result;
  const bool read = cursor.Eat('[') && ParseFd(cursor, first) && cursor.Eat(", ") &&
                    ParseFd(cursor, second) && cursor.Eat(']') && ParseResult(cursor, result);
  if (!read) {
    // A failed socketpair prints an address.
    if (ParseLastResult(cursor.Rest(), result) && (result.unknown || result.value < 0)) return;
    return Damaged("socketpair: expected [FD<...>, FD<...>]) = 0", 0);
  }
  ++calls_seen_;
  sockets_named_ += first.kind == FdText::Kind::kPlain ? 0 : 1;
  if (result.unknown || result.value < 0 || first.inode == 0) return;
  OpenPort(first.inode, second.inode, dgram);
}

void Reader::OpenPort(uint64_t inode, uint64_t peer, bool dgram) {
  sockets_[inode] = Socket{SocketKind::kPort, peer, 0};
  sockets_[peer] = Socket{SocketKind::kCandidate, inode, 0};
  known_ports_[peer % kRecentKept] = {};  // the number may have come back
  Event event = Base(EventKind::kOpen);
  event.pid = processes_.Find(tid_).pid;
  event.port = PortName(inode);
  event.dgram = dgram;
  queue_.Push(event);
}

void Reader::OnFtruncate(std::string_view args) {
  Cursor cursor(args);
  FdText fd;
  uint64_t bytes = 0;
  const bool read = ParseFd(cursor, fd) && cursor.Eat(", ") && ParseUnsigned(cursor, bytes);
  if (!read || (!cursor.Done() && *cursor.at != ')')) {
    return Damaged("ftruncate: expected a descriptor and a size", 0);
  }
  if (fd.description.empty()) return;
  if (file_bytes_.size() >= kFilesKept) file_bytes_.clear();
  // Names come back within a process; its descriptor tells which is meant.
  file_bytes_[absl::HashOf(ProcessId(), fd.fd, fd.description)] = bytes;
}

void Reader::OnClone(const StraceLine& line) {
  Thread& thread = processes_.Find(tid_);
  if (!CloneFlagsReadable(line)) return Damaged("clone: expected its flags", 0);
  if (line.kind == LineKind::kUnfinished) {
    processes_.CloneEntered(tid_, thread, line.args, line_);
    return;
  }
  ResultText result;
  if (!ParseLastResult(line.args, result)) return Damaged("clone: expected a result", 0);
  const bool makes_thread = line.args.find("CLONE_THREAD") != std::string_view::npos;
  processes_.CloneReturned(thread.pid == kNoPid ? tid_ : thread.pid, makes_thread,
                           result.unknown ? -1 : result.value);
}

// Recorded only with a wider choice of calls: the process let go of its send end.
void Reader::OnCloseCall(const StraceLine& line) {
  Cursor cursor(line.args);
  FdText fd;
  if (!ParseFd(cursor, fd) || fd.kind != FdText::Kind::kUnix || fd.peer == 0) return;
  const auto socket = sockets_.find(fd.peer);
  if (socket == sockets_.end() || socket->second.kind != SocketKind::kPort) return;
  Event event = Base(EventKind::kClose);
  event.pid = processes_.Find(tid_).pid;
  if (event.pid == kNoPid) event.pid = tid_;
  event.port = PortName(fd.peer);
  queue_.Push(event);
}

void Reader::Die(int32_t tid) {
  const Thread& thread = processes_.Find(tid);
  const int32_t pid = thread.pid == kNoPid ? tid : thread.pid;
  if (!processes_.Die(pid)) return;
  Event event = Base(EventKind::kExit);
  event.pid = pid;
  queue_.Push(event);
}

void Reader::OnGone(const StraceLine& line) {
  Thread& thread = processes_.Find(tid_);
  if (thread.pending == PendingCall::kSend && thread.ticket != 0) {
    if (Event* event = queue_.Find(thread.ticket)) event->killed = true;
    queue_.Settle(std::exchange(thread.ticket, 0), false);
  }
  thread.pending = PendingCall::kNone;
  if (line.kind == LineKind::kKilled || thread.pid == tid_ || thread.pid == kNoPid) Die(tid_);
  processes_.Gone(tid_);
  if (processes_.empty() && queue_.empty()) ForgetSockets();  // nobody is left to use them
}

// One recording, a thread a file: the line with the earliest time is next. A receive's
// return is not recorded, only that it came before the thread's next line.
class Joiner : public EventSink {
 public:
  Joiner(std::vector<StraceFile>& files, EventSink& sink, ReadLog& log)
      : files_(files), sink_(sink), reader_(*this, log, true), held_(files.size()) {}

  absl::Status Run() {
    while (true) {
      size_t next = files_.size();
      int64_t earliest = 0;
      for (size_t i = 0; i < files_.size(); ++i) {
        std::string_view line;
        if (!files_[i].lines->Peek(line)) {
          Release(i);
          continue;
        }
        const StraceLine split = SplitLine(line);
        if (split.kind != LineKind::kBad && split.time_us == kNoTime) {
          return absl::InvalidArgumentError(absl::StrCat(
              files_[i].name, ": line ", files_[i].lines->line_number() + 1,
              ": expected a time: files of strace -ff are joined by the times of -ttt"));
        }
        const int64_t time = split.kind == LineKind::kBad ? INT64_MIN : split.time_us;
        if (next == files_.size() || time < earliest) {
          next = i;
          earliest = time;
        }
      }
      if (next == files_.size()) break;
      std::string_view line;
      files_[next].lines->Next(line);
      Release(next);
      current_ = next;
      reader_.OnLine(line, files_[next].name, files_[next].lines->line_number(), files_[next].tid,
                     !files_[next].lines->ended_with_newline());
    }
    reader_.Finish();
    return absl::OkStatus();
  }
  const Reader& reader() const { return reader_; }

  void OnEvent(const Event& event) override {
    if (event.kind != EventKind::kRecv) {
      sink_.OnEvent(event);
      return;
    }
    Held& held = held_[current_];
    held.event = event;
    held.data.assign(event.data.begin(), event.data.end());
    held.port.assign(event.port);
    held.event.data = held.data;
    held.event.port = held.port;
    held.full = true;
  }

 private:
  struct Held {
    bool full = false;
    Event event;
    std::vector<uint8_t> data;
    std::string port;
  };

  void Release(size_t index) {
    if (std::exchange(held_[index].full, false)) sink_.OnEvent(held_[index].event);
  }

  std::vector<StraceFile>& files_;
  EventSink& sink_;
  Reader reader_;
  std::vector<Held> held_;
  size_t current_ = 0;
};

// strace pads the pid to a column; a first line with a narrower one lost its beginning,
// and what is left of the pid names another process.
bool BeginsInside(LineSource& lines) {
  constexpr size_t kColumn = 6;
  std::string_view first;
  std::string_view second;
  if (!lines.PeekTwo(first, second)) return false;
  const StraceLine split = SplitLine(first);
  const StraceLine next = SplitLine(second);
  const bool no_time = split.time_us == kNoTime && next.time_us != kNoTime;
  return split.kind != LineKind::kNoise && (split.column < kColumn || no_time) &&
         next.column >= kColumn;
}

absl::Status Verdict(const std::vector<StraceFile>& files, const Reader& reader) {
  const std::string& name = files.front().name;
  if (reader.lines_understood() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": line 1: expected a trace (strace text, JSON Lines), found neither"));
  }
  if (reader.calls_seen() > 0 && reader.sockets_named() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name,
        ": no descriptor is described: record with strace -yy, which names both ends of a socket"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadStrace(std::vector<StraceFile> files, EventSink& sink, ReadLog& log) {
  if (files.size() > 1) {
    Joiner joiner(files, sink, log);
    const absl::Status joined = joiner.Run();
    for (const StraceFile& file : files) {
      if (!file.lines->trouble().empty()) {
        log.Damaged(file.name, file.lines->line_number() + 1, file.lines->trouble());
      }
    }
    return joined.ok() ? Verdict(files, joiner.reader()) : joined;
  }
  LineSource& lines = *files.front().lines;
  const std::string no_name;
  Reader reader(sink, log, false);
  std::string_view line;
  if (BeginsInside(lines)) {
    lines.Next(line);
    reader.Lost(no_name, "line cut short at its beginning");
  }
  while (lines.Next(line)) {
    const uint64_t number = lines.line_number();
    if ((number & (kProgressLines - 1)) == 0 && log.progress)
      log.progress(lines.bytes_read(), lines.file_bytes());
    reader.OnLine(line, no_name, number, files.front().tid,
                  lines.overlong() || !lines.ended_with_newline());
  }
  log.lines = lines.line_number();
  if (!lines.trouble().empty()) log.Damaged(no_name, lines.line_number() + 1, lines.trouble());
  reader.Finish();
  return Verdict(files, reader);
}

int32_t TidOfFileName(const std::string& name) {
  std::string_view stem = name;
  if (stem.ends_with(".zst")) stem.remove_suffix(4);
  const size_t dot = stem.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == stem.size()) return kNoPid;
  int32_t tid = 0;
  const auto [end, error] = std::from_chars(stem.data() + dot + 1, stem.data() + stem.size(), tid);
  if (error != std::errc() || end != stem.data() + stem.size()) return kNoPid;
  return tid;
}

std::string StemOfFileName(const std::string& name) {
  if (TidOfFileName(name) == kNoPid) return name;
  std::string_view stem = name;
  if (stem.ends_with(".zst")) stem.remove_suffix(4);
  return std::string(stem.substr(0, stem.rfind('.')));
}

}  // namespace portproof
