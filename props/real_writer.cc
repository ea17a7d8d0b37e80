#include "props/real_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "port/shared_sender.h"
#include "port/test_signal.h"

namespace portproof {
namespace {

using conversation::BufferSpec;
using conversation::Shape;
using testing::Signal;

// What a message's buffers live in until they complete.
struct Kept {
  std::vector<char> memory;  // stays where it is when this is moved
  std::vector<ChunkRange> ranges;
  size_t left = 0;
};

// Writes through a plain sender, or a shared one: whatever this thread has.
class Outlet {
 public:
  virtual ~Outlet() = default;
  virtual WriteAnswer Write(const Outgoing& message) = 0;
  virtual WriteAnswer Announce(const std::shared_ptr<Segment>& segment) = 0;
  virtual std::optional<ChunkRange> Allocate(Segment& segment, uint32_t bytes) = 0;
  virtual void Release(Segment& segment, const ChunkRange& range) = 0;
  virtual void Flush() = 0;
  virtual void Close() = 0;
  virtual void Turn() = 0;  // what the loop would do, if this thread is the loop's
  virtual void Take(std::vector<Completion>& completions) = 0;
};

class PlainOutlet : public Outlet {
 public:
  PlainOutlet(Sender& sender, bool tells_hang_up)
      : sender_(sender), tells_hang_up_(tells_hang_up) {}
  WriteAnswer Write(const Outgoing& message) override { return sender_.Write(message); }
  WriteAnswer Announce(const std::shared_ptr<Segment>& segment) override {
    return sender_.Announce(segment);
  }
  std::optional<ChunkRange> Allocate(Segment& segment, uint32_t bytes) override {
    return segment.Allocate(bytes);
  }
  void Release(Segment& segment, const ChunkRange& range) override { segment.Release(range); }
  void Flush() override { sender_.Flush(); }
  void Close() override { sender_.Close(); }
  void Turn() override { Attend(0); }
  void Take(std::vector<Completion>& completions) override { sender_.TakeCompletions(completions); }

  // Sleeps until what the sender asked for (SND-7).
  void Wait() {
    const std::optional<uint32_t> retry_ms = sender_.retry_ms();
    if (!Attend(retry_ms ? static_cast<int>(*retry_ms) : -1) && retry_ms) sender_.OnRetry();
  }

 private:
  // False: nothing happened.
  bool Attend(int timeout_ms) {
    const short room = sender_.wants_writable() ? POLLOUT : 0;
    pollfd polled = {sender_.fd(), room, 0};
    if (::poll(&polled, 1, timeout_ms) <= 0) return false;
    const bool writable = (polled.revents & POLLOUT) != 0;
    const bool hung_up = (polled.revents & POLLHUP) != 0;
    if (hung_up && (tells_hang_up_ || !writable)) {
      sender_.OnHangUp();
    } else if (writable) {
      sender_.OnWritable();
    }
    return true;
  }

  Sender& sender_;
  const bool tells_hang_up_;
};

class SharedOutlet : public Outlet {
 public:
  SharedOutlet(std::shared_ptr<SharedSender> sender, Workspace& workspace)
      : sender_(std::move(sender)),
        writer_(sender_, workspace, [completed = completed_] { completed->Tell(); }) {}
  WriteAnswer Write(const Outgoing& message) override { return writer_.Write(message); }
  WriteAnswer Announce(const std::shared_ptr<Segment>& segment) override {
    return writer_.Announce(segment);
  }
  std::optional<ChunkRange> Allocate(Segment& segment, uint32_t bytes) override {
    return sender_->Allocate(segment, bytes);
  }
  void Release(Segment& segment, const ChunkRange& range) override {
    sender_->Release(segment, range);
  }
  void Flush() override { writer_.Flush(); }
  void Close() override { sender_->Close(); }
  void Turn() override { ::sched_yield(); }
  void Take(std::vector<Completion>& completions) override { writer_.TakeCompletions(completions); }

  void WaitForCompletions() const { completed_->Wait(); }

 private:
  std::shared_ptr<SharedSender> sender_;
  // It may be told after this is gone.
  std::shared_ptr<Signal> completed_ = std::make_shared<Signal>();
  SharedSender::Writer writer_;
};

// The loop of a shared sender: it sleeps until it is woken (SND-13), the socket can be
// written if that is wanted, or the delay that was asked for is over.
class SharedLoop {
 public:
  explicit SharedLoop(bool tells_hang_up) : tells_hang_up_(tells_hang_up) {}

  const Signal& woken() const { return woken_; }
  const Signal& ended() const { return ended_; }  // no thread writes any more

  void Run(SharedSender& sender) {
    for (bool writing = true; writing || sender.queued_messages() != 0;) {
      const std::optional<uint32_t> retry_ms = sender.retry_ms();
      const short room = sender.wants_writable() ? POLLOUT : 0;
      pollfd polled[] = {{woken_.fd(), POLLIN, 0},
                         {ended_.fd(), POLLIN, 0},
                         {watching_ ? sender.fd() : -1, room, 0}};
      const int ready = ::poll(polled, 3, retry_ms ? static_cast<int>(*retry_ms) : -1);
      if (ready == 0) sender.OnRetry();
      if (ready <= 0) continue;
      if (polled[1].revents != 0) {
        ended_.Clear();
        writing = false;
      }
      if (polled[0].revents != 0) woken_.Clear();
      Attend(sender, polled[0].revents != 0, polled[2].revents);
    }
  }

 private:
  void Attend(SharedSender& sender, bool woken, short revents) {
    const bool writable = (revents & POLLOUT) != 0;
    if ((revents & (POLLHUP | POLLNVAL)) != 0) {
      watching_ = false;  // it would be told again and again
      if ((revents & POLLHUP) != 0 && (tells_hang_up_ || !writable)) sender.OnHangUp();
    }
    if (woken || writable) sender.Attend();
  }

  Signal woken_;
  Signal ended_;
  const bool tells_hang_up_;
  bool watching_ = true;
};

// L, in which the conversation's sizes are counted.
uint32_t UnitOf(const WriterTask& task) {
  return PayloadLimit(RealProfile(task.run.conversation.setup), task.sizes.max_size);
}

// One thread's share of the actions.
class Author {
 public:
  Author(const WriterTask& task, Outlet& outlet, uint8_t thread, std::shared_ptr<Segment> segment)
      : task_(task), outlet_(outlet), thread_(thread), segment_(std::move(segment)) {}

  void Play() {
    for (const conversation::Action& action : task_.run.conversation.actions) {
      if (const auto* const write = std::get_if<conversation::Write>(&action)) {
        if (write->sender == task_.index && write->writer % task_.run.threads == thread_) {
          Write(*write);
        }
      } else if (const auto* const flush = std::get_if<conversation::Flush>(&action)) {
        if (flush->sender == task_.index) outlet_.Flush();
      } else if (const auto* const turn = std::get_if<conversation::Turn>(&action)) {
        if (turn->sender == task_.index) outlet_.Turn();
      } else if (const auto* const close = std::get_if<conversation::Close>(&action)) {
        if (close->sender == task_.index) outlet_.Close();
      }
      Collect();
    }
    outlet_.Flush();
    Collect();
  }

  bool Collect() {
    std::vector<Completion> completions;
    outlet_.Take(completions);
    for (const Completion& completion : completions) {
      if (completion.message_id == 0) continue;  // the announcement
      task_.log.Write(absl::StrCat("C ", thread_, " ", completion.message_id, " ",
                                   completion.buffer_id, " ", completion.ok));
      const auto found = kept_.find(completion.message_id);
      if (found == kept_.end() || --found->second.left != 0) continue;
      for (const ChunkRange& range : found->second.ranges) outlet_.Release(*segment_, range);
      kept_.erase(found);
    }
    return kept_.empty();
  }

 private:
  void Write(const conversation::Write& write) {
    const uint64_t id = next_id_++;
    Kept kept;
    std::string payload;
    const std::vector<Buffer> chain = MakeChain(write, kept, payload, id);
    std::array<int, 2> fds = {-1, -1};
    const Profile& profile = RealProfile(task_.run.conversation.setup);
    const size_t fd_count = std::min<size_t>(write.fds, profile.fds_max);
    for (size_t i = 0; i < fd_count; ++i) fds[i] = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const std::array types = {Type::kData, Type::kRpcReady, Type::kRpcError, Type::kQuit};
    // Streams of threads and, where the stream alone is the key, of senders differ; 0 is
    // everybody's announcements'.
    const uint32_t stream = 1U + write.stream + 4U * thread_ + 16U * task_.index;
    const Outgoing message = {.type = *NumberOf(profile, types[write.type]),
                              .stream = stream,
                              .last = write.last,
                              .batch = write.batch,
                              .close_fds = write.close_fds,
                              .fds = {fds.data(), fd_count},
                              .chain = chain,
                              .id = id};
    kept.left = std::max<size_t>(1, chain.size());
    const bool last = write.last || std::any_of(chain.begin(), chain.end(),
                                                [](const Buffer& buffer) { return buffer.last; });
    // Before the write: it may be read before this thread goes on.
    task_.log.Write(absl::StrCat("W ", thread_, " ", stream, " ", message.type, " ", last, " ",
                                 payload.size(), " ", HashOf(payload), " ", fd_count, " ", id, " ",
                                 kept.left));
    const WriteAnswer answer = outlet_.Write(message);
    const bool accepted = answer == WriteAnswer::kAccepted;
    for (size_t i = 0; i < fd_count; ++i) {
      if (!accepted || !write.close_fds) ::close(fds[i]);
    }
    task_.log.Write(absl::StrCat(accepted ? "A " : "R ", thread_, " ", id));
    if (accepted) {
      kept_[id] = std::move(kept);
    } else {
      for (const ChunkRange& range : kept.ranges) outlet_.Release(*segment_, range);
    }
  }

  std::vector<Buffer> MakeChain(const conversation::Write& write, Kept& kept, std::string& payload,
                                uint64_t id) {
    size_t total = 0;
    for (const BufferSpec& spec : write.chain) total += spec.Bytes(unit_) + 1;
    kept.memory.resize(total + 1);
    size_t at = 0;
    uint32_t state = static_cast<uint32_t>(id) * 2654435761U + task_.index * 97U + thread_;
    std::vector<Buffer> chain;
    for (const BufferSpec& spec : write.chain) {
      if (spec.shape == Shape::kSync) {
        chain.push_back(SyncBuffer(spec.marked, chain.size()));
        continue;
      }
      const uint32_t bytes = spec.Bytes(unit_);
      std::string text(bytes, '\0');
      for (char& byte : text) byte = static_cast<char>((state = state * 1664525 + 12345) >> 24);
      payload += text;
      if (spec.shape == Shape::kShared && segment_ != nullptr && bytes != 0) {
        if (const auto range = outlet_.Allocate(*segment_, bytes)) {
          std::copy(text.begin(), text.end(), segment_->Memory(*range).begin());
          kept.ranges.push_back(*range);
          chain.push_back(segment_->BufferOf(*range, bytes, chain.size(), 0));
          continue;
        }
      }
      if (!spec.adjacent) ++at;
      std::copy(text.begin(), text.end(), kept.memory.begin() + static_cast<std::ptrdiff_t>(at));
      chain.push_back(PlainBuffer(
          {reinterpret_cast<const uint8_t*>(kept.memory.data()) + at, bytes}, chain.size()));
      at += bytes;
    }
    return chain;
  }

  const WriterTask& task_;
  Outlet& outlet_;
  uint8_t thread_;
  std::shared_ptr<Segment> segment_;
  const uint32_t unit_ = UnitOf(task_);
  std::map<uint64_t, Kept> kept_;
  uint64_t next_id_ = 1;
};

SenderOptions OptionsOf(const WriterTask& task) {
  const conversation::Setup& setup = task.run.conversation.setup;
  return {.profile = &RealProfile(setup),
          .sizes = task.sizes,
          .messages_max = 4U * setup.messages_max(),
          .bytes_max = uint64_t{4} * (1U + setup.limits) * UnitOf(task),
          .fds_max = setup.fds_max() + 1};
}

std::shared_ptr<Segment> NewSegment(const WriterTask& task) {
  auto made = Segment::Create({.source_pid = ::getpid(), .sent_over = kSentOverAny},
                              RealProfile(task.run.conversation.setup).segment_layout);
  if (!made.ok()) return nullptr;
  return std::make_shared<Segment>(*std::move(made));
}

void Become(const WriterTask& task, uint32_t state) {
  task.log.flag() = state;
  task.bell.Ring();
}

// When the reader has ended, having read all, or closed its end, or been killed.
void CheckSegment(const WriterTask& task, const std::shared_ptr<Segment>& segment) {
  ::close(task.socket);
  Become(task, kSent);
  task.bell.Await([&task] { return task.reader_state.load() >= kEndedWell; });
  if (segment == nullptr) return;
  if (task.reader_state.load() == kEndedEarly) segment->ReceiverDied();
  if (segment->FreeCount() != 640 || segment->OwnCount() != 0) {
    task.log.Write(
        absl::StrCat("X chunks: ", segment->FreeCount(), " free, ", segment->OwnCount(), " ours"));
  }
}

void RunPlain(const WriterTask& task, Workspace& workspace) {
  auto adopted =
      Sender::Adopt(workspace, OwnedFd(::fcntl(task.socket, F_DUPFD_CLOEXEC, 0)), OptionsOf(task));
  if (!adopted.ok()) return task.log.Write(absl::StrCat("X ", adopted.status().ToString()));
  Sender& sender = **adopted;
  PlainOutlet outlet(sender, task.run.tells_hang_up);
  std::shared_ptr<Segment> segment = NewSegment(task);
  if (segment != nullptr && outlet.Announce(segment) != WriteAnswer::kAccepted) segment = nullptr;
  Author author(task, outlet, 0, segment);
  author.Play();
  Become(task, kBlocked);
  while (sender.queued_messages() != 0) {
    outlet.Wait();
    author.Collect();
  }
  if (!author.Collect()) task.log.Write("X buffers that never completed");
  sender.Close();
  author.Collect();
  CheckSegment(task, segment);
}

void RunShared(const WriterTask& task, Workspace& workspace) {
  SharedLoop loop(task.run.tells_hang_up);
  auto adopted = SharedSender::Adopt(workspace, OwnedFd(::fcntl(task.socket, F_DUPFD_CLOEXEC, 0)),
                                     OptionsOf(task), [&loop] { loop.woken().Tell(); });
  if (!adopted.ok()) return task.log.Write(absl::StrCat("X ", adopted.status().ToString()));
  const std::shared_ptr<SharedSender> sender = *std::move(adopted);
  std::shared_ptr<Segment> segment = NewSegment(task);
  {
    SharedOutlet outlet(sender, workspace);
    if (segment != nullptr && outlet.Announce(segment) != WriteAnswer::kAccepted) segment = nullptr;
  }
  std::atomic<uint32_t> playing{task.run.threads};
  std::atomic<uint32_t> going{task.run.threads};
  std::vector<std::thread> threads;
  for (uint8_t i = 0; i < task.run.threads; ++i) {
    threads.emplace_back([&, i] {
      Workspace own(workspace.kernel);
      SharedOutlet outlet(sender, own);
      Author author(task, outlet, i, segment);
      author.Play();
      if (--playing == 0) Become(task, kBlocked);
      while (!author.Collect()) outlet.WaitForCompletions();
      if (--going == 0) loop.ended().Tell();
    });
  }
  loop.Run(*sender);
  for (std::thread& thread : threads) thread.join();
  sender->Close();
  CheckSegment(task, segment);
}

}  // namespace

const Profile& RealProfile(const conversation::Setup& setup) {
  return *ResolveProfile(setup.stream_keyed ? "unit-1.8.0" : "unit-1.35.0")->profile;
}

uint64_t HashOf(std::string_view bytes) {
  uint64_t hash = 14695981039346656037U;
  for (const char byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 1099511628211U;
  return hash;
}

size_t CountDescriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  size_t count = 0;
  while (const dirent* const entry = ::readdir(directory)) count += entry->d_name[0] != '.';
  ::closedir(directory);
  return count - 1;
}

void RunWriter(const WriterTask& task) {
  const size_t before = CountDescriptors() - 1;  // the socket goes
  {
    const Profile& profile = RealProfile(task.run.conversation.setup);
    TraceKernel kernel(
        task.log, task.sequence, ::getpid(), *NumberOf(profile, Type::kMmap),
        {.kill_at = task.index == 0 ? task.run.kill_writer_at : 0, .batches = task.run.batches});
    Workspace workspace(kernel);
    if (task.run.threads == 1) {
      RunPlain(task, workspace);
    } else {
      RunShared(task, workspace);
    }
  }
  if (CountDescriptors() != before) {
    task.log.Write(absl::StrCat("X descriptors: ", before, " before, ", CountDescriptors()));
  }
}

}  // namespace portproof
