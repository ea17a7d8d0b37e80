#include "oracle/strace_events.h"

#include <algorithm>
#include <array>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "protocol/header.h"

namespace portproof {
namespace {

constexpr int64_t kRecordingBreakUs = 1000000;  // time running back so far: a joined file
constexpr int64_t kDayUs = int64_t{24} * 60 * 60 * 1000000;
constexpr size_t kFilesKept = 1 << 12;  // sizes of shared memory files remembered

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

}  // namespace

Event StraceEvents::Base(EventKind kind) const {
  Event event;
  event.kind = kind;
  event.time_us = time_us_ == kNoTime ? kNoTime : time_us_ - base_us_;
  event.tid = tid_;
  event.line = line_;
  return event;
}

void StraceEvents::Damaged(std::string what, uint64_t inode) {
  log_.Damaged(*file_, line_, std::move(what));
  Event event = Base(EventKind::kDamage);
  if (inode != 0) event.port = sockets_.Name(inode);
  queue_.Push(event);
}

void StraceEvents::MeetTime(const StraceLine& line) {
  if (line.time_us == kNoTime) return;
  const bool of_day = line.time_base == TimeBase::kMidnight;
  int64_t now = line.time_us + (of_day ? days_us_ : 0);
  if (line.time_base == TimeBase::kLastLine && time_us_ != kNoTime) now += time_us_;
  if (of_day && time_us_ != kNoTime && now < time_us_ - kDayUs / 2) {
    days_us_ += kDayUs;
    now += kDayUs;
  }
  if (base_us_ == kNoTime) base_us_ = now;
  if (time_us_ != kNoTime && now < time_us_ - kRecordingBreakUs && !files_are_threads_) {
    // Another recording follows in the same file: what was open here says nothing there.
    queue_.Flush();
    for (const uint64_t inode : sockets_.Ports()) {
      Event event = Base(EventKind::kClose);
      event.port = sockets_.Name(inode);
      queue_.Push(event);
    }
    sockets_.Clear();
    processes_ = ProcessTable();
  }
  time_us_ = now;
}

void StraceEvents::OnLine(std::string_view text, const std::string& file, uint64_t number,
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
  const bool counts_time = line.time_base == TimeBase::kLastLine;
  if (line.kind == LineKind::kNoise && !counts_time) return;
  MeetTime(line);
  if (line.kind == LineKind::kNoise) return;
  if (tid_ == kNoPid) tid_ = only_tid_ = 0;
  Dispatch(line);
}

void StraceEvents::Dispatch(const StraceLine& line) {
  switch (line.kind) {
    case LineKind::kCall:
    case LineKind::kUnfinished:
      OnCall(line);
      break;
    case LineKind::kResumed:
      if (!line.abandoned) OnResumed(line);
      break;
    case LineKind::kExited:
    case LineKind::kKilled:
      OnGone(line);
      return;
    case LineKind::kNoise:
    case LineKind::kBad:
      return;
  }
  Thread* thread = line.abandoned ? processes_.FindKnown(tid_) : nullptr;
  if (thread != nullptr) GiveUpPending(tid_, *thread);
}

// Did strace print the arguments of a call that matters as numbers (-X raw, -e raw)?
bool StraceEvents::IsRaw(const StraceLine& line) {
  const bool matters =
      Is(line.name, "sendmsg") || Is(line.name, "recvmsg") || Is(line.name, "socketpair");
  const bool raw = matters && line.args.starts_with("0x");
  raw_calls_ += raw ? 1 : 0;
  return raw;
}

void StraceEvents::OnCall(const StraceLine& line) {
  Thread* known = processes_.FindKnown(tid_);
  if (known != nullptr && known->pending != PendingCall::kNone) AbandonPending(tid_, *known);
  const std::string_view name = line.name;
  if (IsRaw(line)) return;
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

// The call has no other half: what it sent may have left, what it received may be gone.
void StraceEvents::GiveUpPending(int32_t tid, Thread& thread) {
  const PendingCall pending = std::exchange(thread.pending, PendingCall::kNone);
  if (pending == PendingCall::kSend && thread.ticket != 0) {
    if (Event* event = queue_.Find(thread.ticket)) event->killed = true;
    queue_.Settle(std::exchange(thread.ticket, 0), false);
  }
  if (pending == PendingCall::kClone) processes_.CloneReturned(kNoPid, false, -1);
  if (pending != PendingCall::kRecv || thread.skip || !sockets_.IsKnownPort(thread.inode)) return;
  Event event = Base(EventKind::kRecv);
  event.tid = tid;
  event.pid = thread.pid;
  event.killed = true;
  event.pending = queue_.count() - thread.events_before;
  event.port = sockets_.Name(thread.inode);
  queue_.Push(event);
}

// A thread enters a call while the other half of its last one is missing: the line was lost.
void StraceEvents::AbandonPending(int32_t tid, Thread& thread) {
  const PendingCall pending = thread.pending;
  const bool blamed = thread.damaged_before != log_.damaged_count;
  GiveUpPending(tid, thread);
  const bool port_call = pending == PendingCall::kSend || pending == PendingCall::kRecv;
  if (!port_call || thread.skip || blamed) return;
  Damaged(absl::StrCat("thread ", tid, " makes another call, but its ",
                       pending == PendingCall::kSend ? "sendmsg" : "recvmsg", " of line ",
                       thread.entry_line, " was never resumed"),
          thread.inode);
}

void StraceEvents::Finish() {
  for (const int32_t tid : processes_.Receiving()) GiveUpPending(tid, *processes_.FindKnown(tid));
  queue_.Flush();
}

// Reads the message header; an address stands there where strace was told not to decode it.
bool StraceEvents::ReadMessage(Cursor& cursor) {
  const bool read = ParseMessage(cursor, message_);
  messages_read_ += read ? 1 : 0;
  unread_messages_ += !read && cursor.StandsAt("0x") ? 1 : 0;
  return read;
}

// The receiving inode of what a descriptor sends to; 0 if that can be no port.
uint64_t StraceEvents::PortOfSend(const FdText& fd) const {
  if (fd.kind != FdText::Kind::kUnix && fd.kind != FdText::Kind::kUnixDgram) return 0;
  if (fd.peer != 0) return fd.peer;
  return sockets_.PeerOf(fd.inode);  // recorded with -y: only the own end is named
}

void StraceEvents::OnSend(const StraceLine& line) {
  ++calls_seen_;
  Cursor cursor(line.args);
  FdText fd;
  if (!ParseFd(cursor, fd)) return Damaged("sendmsg: expected a descriptor", 0);
  sockets_named_ += fd.kind == FdText::Kind::kPlain ? 0 : 1;
  const bool unfinished = line.kind == LineKind::kUnfinished;
  const uint64_t inode = PortOfSend(fd);
  message_.Clear();
  if (inode != 0 && (!cursor.Eat(", ") || !ReadMessage(cursor))) {
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
  thread.skip = inode == 0 || !sockets_.IsPort(inode, event.data, least_size);
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
  event.port = sockets_.Name(inode);
  if (event.size == 0 && !message_.cut) sockets_.SentNothing(inode);
  if (unfinished) {
    thread.ticket = queue_.Reserve(event);
    return;
  }
  const std::string wrong = Outcome(event, thread, result);
  queue_.Push(event);
  if (!wrong.empty()) Damaged(wrong, inode);
}

uint64_t StraceEvents::FileBytes(const Thread& thread) const {
  if (file_bytes_.empty()) return 0;
  const int32_t pid = thread.pid == kNoPid ? tid_ : thread.pid;
  const auto file =
      file_bytes_.find(absl::HashOf(pid, message_.first_fd_number, message_.first_fd));
  return file == file_bytes_.end() ? 0 : file->second;
}

// What became of a send; not empty: the result cannot be right.
std::string StraceEvents::Outcome(Event& event, const Thread& thread, const ResultText& result) {
  const bool restarted = result.unknown && !result.errno_name.empty();
  if (result.unknown && !restarted) {
    event.killed = true;
  } else if (result.value < 0 || restarted) {
    if (event.size == 0) sockets_.TakeNothing(thread.inode);
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

void StraceEvents::FinishSend(Thread& thread, const ResultText& result) {
  Event* event = queue_.Find(thread.ticket);
  const EventQueue::Ticket ticket = std::exchange(thread.ticket, 0);
  if (event == nullptr) return;
  const std::string wrong = Outcome(*event, thread, result);
  queue_.Settle(ticket, false);
  if (!wrong.empty()) Damaged(wrong, thread.inode);
}

void StraceEvents::OnRecv(const StraceLine& line) {
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
    thread.events_before = queue_.count();
    thread.damaged_before = log_.damaged_count;
    return;
  }
  if (thread.skip) return;
  thread.events_before = queue_.count();
  if (!cursor.Eat(", ")) return Damaged("recvmsg: expected a message header", fd.inode);
  FinishRecv(thread, cursor);
}

// From the message header on, in a whole line or behind "resumed>".
void StraceEvents::FinishRecv(const Thread& thread, Cursor& cursor) {
  if (cursor.StandsAt("{msg_namelen=0}, 0) = -1 EAGAIN ")) return;  // nothing came, as often
  message_.Clear();
  ResultText result;
  const bool message_read = cursor.at < cursor.end && *cursor.at == '{'
                                ? ReadMessage(cursor)
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

void StraceEvents::EmitRecv(const Thread& thread, int64_t returned) {
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
  if (!sockets_.IsPort(thread.inode, event.data, event.size)) return;
  if (event.size == 0 && !sockets_.TakeNothing(thread.inode)) event.kind = EventKind::kEof;
  event.pending = queue_.count() - thread.events_before;
  event.port = sockets_.Name(thread.inode);
  queue_.Push(event);
}

void StraceEvents::OnResumed(const StraceLine& line) {
  Thread* thread = processes_.FindKnown(tid_);
  const PendingCall pending = thread == nullptr ? PendingCall::kNone : thread->pending;
  if (thread != nullptr) thread->pending = PendingCall::kNone;
  Cursor cursor(line.args);
  ResultText result;
  if (Is(line.name, "sendmsg") && pending == PendingCall::kSend) {
    if (!ParseLastResult(line.args, result)) {
      thread->pending = pending;
      thread->damaged_before = UINT64_MAX;  // AbandonPending need not name it again
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

void StraceEvents::OnSocketPair(Cursor& cursor, bool dgram) {
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

void StraceEvents::OpenPort(uint64_t inode, uint64_t peer, bool dgram) {
  sockets_.Open(inode, peer);
  Event event = Base(EventKind::kOpen);
  event.pid = processes_.Find(tid_).pid;
  event.port = sockets_.Name(inode);
  event.dgram = dgram;
  queue_.Push(event);
}

void StraceEvents::OnFtruncate(std::string_view args) {
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

void StraceEvents::OnClone(const StraceLine& line) {
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
void StraceEvents::OnCloseCall(const StraceLine& line) {
  Cursor cursor(line.args);
  FdText fd;
  if (!ParseFd(cursor, fd) || fd.kind != FdText::Kind::kUnix || fd.peer == 0) return;
  if (!sockets_.IsKnownPort(fd.peer)) return;
  Event event = Base(EventKind::kClose);
  event.pid = processes_.Find(tid_).pid;
  if (event.pid == kNoPid) event.pid = tid_;
  event.port = sockets_.Name(fd.peer);
  queue_.Push(event);
}

void StraceEvents::Die(int32_t tid) {
  const Thread& thread = processes_.Find(tid);
  const int32_t pid = thread.pid == kNoPid ? tid : thread.pid;
  if (!processes_.Die(pid)) return;
  Event event = Base(EventKind::kExit);
  event.pid = pid;
  queue_.Push(event);
}

void StraceEvents::OnGone(const StraceLine& line) {
  Thread& thread = processes_.Find(tid_);
  GiveUpPending(tid_, thread);
  if (line.kind == LineKind::kKilled || thread.pid == tid_ || thread.pid == kNoPid) Die(tid_);
  processes_.Gone(tid_);
  if (processes_.empty() && queue_.empty()) sockets_.Clear();  // nobody is left to use them
}

}  // namespace portproof
