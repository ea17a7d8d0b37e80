// The testee over port/: our own sender and receiver behind the suite's commands.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "oracle/suite/pattern.h"
#include "oracle/suite/testees/command_loop.h"
#include "port/receiver.h"
#include "port/receiving_process.h"
#include "port/sender.h"
#include "port/workspace.h"

namespace portproof::testee {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kQueueMessages = 1024;
constexpr uint64_t kQueueBytes = uint64_t{16} << 20;
constexpr uint32_t kQueueFds = 64;

ReassemblyLimits Limits() {
  ReassemblyLimits limits;
  limits.open_per_sender = 64;
  limits.open = 256;
  limits.assembly_bytes = 4 << 20;
  limits.bytes = 8 << 20;
  return limits;
}

OwnedFd Copy(int fd) { return OwnedFd(fcntl(fd, F_DUPFD_CLOEXEC, 5)); }

bool Handles(Type type) {
  return type == Type::kData || type == Type::kRpcReady || type == Type::kMmap ||
         type == Type::kRemovePid || type == Type::kGetMmap;
}

class PortTestee : public Port {
 public:
  Json Hello() override;
  StartAnswer Start(const StartRequest& request) override;
  SendAnswer Send(const SendRequest& request) override;
  bool Turn() override;
  Wish Wishes() override;
  Json TakeEvents() override { return std::exchange(events_, Json::array()); }
  Json Stats() override;
  void Keep(bool fds) override { keeps_ = fds; }
  void Reset() override;

 private:
  // What a message's buffers live in, until they have completed.
  struct Written {
    int64_t id = 0;
    size_t pending = 0;
    std::vector<uint8_t> memory;
    std::map<uint64_t, std::pair<std::shared_ptr<Segment>, ChunkRange>> ranges;  // by buffer
  };

  absl::Status AdoptSender();
  absl::Status AdoptReceiver();
  std::vector<Buffer> Build(const SendRequest& request, Written& written);
  std::optional<Buffer> Shared(const PieceRequest& piece, uint64_t index, Written& written);
  void Deliver(Message& message);
  void Ask(uint32_t segment_id);
  void Complete(bool told);
  bool Receive();
  bool Write();

  Json events_ = Json::array();
  StartRequest start_;
  const Profile* profile_ = nullptr;
  std::unique_ptr<Workspace> workspace_;
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<Receiver> receiver_;
  std::shared_ptr<ReceivingProcess> segments_;
  std::map<uint32_t, std::shared_ptr<Segment>> announced_;
  std::shared_ptr<Segment> own_;
  uint32_t next_segment_ = 0;
  std::map<uint64_t, Written> written_;
  uint64_t next_ = 0;
  std::vector<OwnedFd> lent_;
  Fds kept_;
  std::optional<Clock::time_point> retry_at_;
  bool keeps_ = false;
  bool muted_ = false;
};

Json PortTestee::Hello() {
  const ReassemblyLimits limits = Limits();
  return HelloOf("portproof", {{"assemblies_per_sender", limits.open_per_sender},
                               {"assemblies_per_port", limits.open},
                               {"assembly_bytes", limits.assembly_bytes},
                               {"total_bytes", limits.bytes},
                               {"memory_bytes", ReceiveBytesMax(limits)},
                               {"queue_messages", kQueueMessages},
                               {"queue_bytes", kQueueBytes},
                               {"queue_fds", kQueueFds}});
}

absl::Status PortTestee::AdoptSender() {
  auto sender = Sender::Adopt(*workspace_, Copy(kSendFd),
                              {.profile = profile_,
                               .sizes = {start_.max_size, start_.max_share},
                               .pid = start_.pid,
                               .port_id = start_.port_id,
                               .messages_max = kQueueMessages,
                               .bytes_max = kQueueBytes,
                               .fds_max = kQueueFds});
  if (!sender.ok()) return sender.status();
  sender_ = *std::move(sender);
  return absl::OkStatus();
}

absl::Status PortTestee::AdoptReceiver() {
  ReceiverOptions options;
  options.profile = profile_;
  options.sizes = {start_.max_size, start_.max_share};
  options.limits = Limits();
  options.handled = HandledTypes::None();
  for (size_t number = 0; number < profile_->types.size(); ++number) {
    if (Handles(profile_->types[number]))
      options.handled = options.handled.With(static_cast<uint8_t>(number));
  }
  options.process = segments_;
  options.observer = [this](const Refusal& refusal) {
    if (muted_) return;
    events_.push_back({{"ev", refusal.accepted ? "warning" : "refused"},
                       {"rule", std::string(Id(refusal.rule))}});
  };
  options.ask_segment = [this](int32_t, uint32_t id) { Ask(id); };
  auto receiver = Receiver::Adopt(*workspace_, Copy(kReceiveFd), std::move(options),
                                  [this](Message& message) { Deliver(message); });
  if (!receiver.ok()) return receiver.status();
  receiver_ = *std::move(receiver);
  return absl::OkStatus();
}

StartAnswer PortTestee::Start(const StartRequest& request) {
  StartAnswer answer;
  const auto resolved = ResolveProfile(request.profile);
  answer.unsupported = !resolved;
  if (!resolved) return answer;
  profile_ = resolved->profile;
  start_ = request;
  workspace_ =
      std::make_unique<Workspace>(Kernel::Real(), request.max_size + uint32_t{kHeaderBytes}, 64);
  segments_ = ReceivingProcess::Create({.layout = profile_->segment_layout, .own_pid = start_.pid});
  absl::Status status = AdoptSender();
  if (status.ok()) status = AdoptReceiver();
  if (!status.ok()) {
    answer.refused = std::string(status.message());
    return answer;
  }
  answer.max_size = request.max_size;
  for (const Type type : profile_->types) {
    if (Handles(type)) answer.types.emplace_back(Name(type));
  }
  return answer;
}

std::optional<Buffer> PortTestee::Shared(const PieceRequest& piece, uint64_t index,
                                         Written& written) {
  std::optional<ChunkRange> range;
  if (own_ != nullptr) range = own_->Allocate(piece.bytes);
  if (!range) {
    auto made = Segment::Create({.id = next_segment_++,
                                 .source_pid = start_.pid,
                                 .destination_pid = profile_->queues ? 0 : start_.peer_pid,
                                 .sent_over = profile_->queues ? kSentOverAny : start_.port_id},
                                profile_->segment_layout);
    if (!made.ok()) return std::nullopt;
    own_ = std::make_shared<Segment>(*std::move(made));
    if (sender_->Announce(own_, true) != WriteAnswer::kAccepted) return std::nullopt;
    announced_[own_->id()] = own_;
    range = own_->Allocate(piece.bytes);
    if (!range) return std::nullopt;
  }
  suite::FillPattern(piece.seed, own_->Memory(*range).first(piece.bytes));
  written.ranges[index] = {own_, *range};
  return sender_->BufferIn(*own_, *range, piece.bytes, index);
}

std::vector<Buffer> PortTestee::Build(const SendRequest& request, Written& written) {
  size_t bytes = 1;
  for (const PieceRequest& piece : request.chain) bytes += piece.shm ? 0 : piece.bytes + size_t{1};
  written.memory.resize(bytes);
  std::vector<Buffer> chain;
  size_t end = 0;
  for (uint64_t index = 0; index < request.chain.size(); ++index) {
    const PieceRequest& piece = request.chain[index];
    if (piece.sync) {
      chain.push_back(SyncBuffer(piece.last, index));
      continue;
    }
    if (piece.shm) {
      const auto buffer = Shared(piece, index, written);
      if (buffer) chain.push_back(*buffer);
      continue;
    }
    if (!piece.adjacent) ++end;
    const auto place = std::span(written.memory).subspan(end, piece.bytes);
    suite::FillPattern(piece.seed, place);
    chain.push_back(PlainBuffer(place, index));
    end += piece.bytes;
  }
  return chain;
}

SendAnswer PortTestee::Send(const SendRequest& request) {
  SendAnswer answer;
  if (request.type > 255) return answer.refused = "no such type", answer;
  Written written;
  written.id = request.message;
  const std::vector<Buffer> chain = Build(request, written);
  written.pending = chain.empty() ? 1 : chain.size();
  std::vector<OwnedFd> made;
  std::vector<int> fds;
  for (uint32_t i = 0; i < request.fds; ++i) {
    made.emplace_back(MakeFile());
    fds.push_back(made.back().get());
    answer.fds.push_back(FileName(fds.back()));
  }
  const uint64_t id = ++next_;
  const auto kept = written_.emplace(id, std::move(written)).first;
  const WriteAnswer said = sender_->Write({.type = static_cast<uint8_t>(request.type),
                                           .stream = request.stream,
                                           .reply_port = request.reply_port,
                                           .last = request.last,
                                           .batch = request.batch,
                                           .close_fds = request.close_fd,
                                           .fds = fds,
                                           .chain = chain,
                                           .id = id});
  if (said != WriteAnswer::kAccepted) {
    for (auto& [index, range] : kept->second.ranges) range.first->Release(range.second);
    written_.erase(kept);
    answer.refused = std::string(Name(said));
    return answer;
  }
  for (OwnedFd& fd : made) {
    if (request.close_fd) {
      fd.Release();
    } else {
      lent_.push_back(std::move(fd));
    }
  }
  Complete(true);
  return answer;
}

void PortTestee::Ask(uint32_t segment_id) {
  const auto type = NumberOf(*profile_, Type::kGetMmap);
  if (!type) return;
  Written question;
  question.id = -1;
  question.pending = 1;
  question.memory.resize(sizeof(segment_id));
  Store<uint32_t>(segment_id, question.memory.data(), MachineByteOrder());
  const uint64_t id = ++next_;
  const auto kept = written_.emplace(id, std::move(question)).first;
  const Buffer buffer = PlainBuffer(kept->second.memory);
  sender_->Write({.type = *type, .chain = {&buffer, 1}, .id = id});
}

void PortTestee::Deliver(Message& message) {
  if (muted_) return;
  if (message.header.type == NumberOf(*profile_, Type::kGetMmap) &&
      message.bytes() == sizeof(uint32_t)) {
    std::array<uint8_t, sizeof(uint32_t)> id = {};
    CopyOf(message.payload, id);
    // Each is announced before it is used; whoever asks has not heard of it.
    sender_->AnswerGetMmap(Load<uint32_t>(id.data(), MachineByteOrder()), message.header.stream);
  }
  uint32_t crc = 0;
  for (const Part& part : message.payload) crc = suite::UpdateCrc32(crc, part.bytes());
  Json fds = Json::array();
  for (const OwnedFd& fd : message.fds) fds.push_back(FileName(fd.get()));
  events_.push_back({{"ev", "delivered"},
                     {"type", message.header.type},
                     {"stream", message.header.stream},
                     {"pid", message.header.pid},
                     {"reply_port", message.header.reply_port},
                     {"last", message.header.last},
                     {"bytes", message.bytes()},
                     {"crc32", suite::CrcText(crc)},
                     {"fds", std::move(fds)}});
  if (!keeps_) return;
  for (OwnedFd& fd : message.fds) kept_.push_back(std::move(fd));
  message.fds.clear();
}

void PortTestee::Complete(bool told) {
  std::vector<Completion> completions;
  sender_->TakeCompletions(completions);
  for (const Completion& completion : completions) {
    const auto found = written_.find(completion.message_id);
    if (found == written_.end()) continue;
    Written& written = found->second;
    if (told && written.id >= 0) {
      events_.push_back({{"ev", "completed"},
                         {"message", written.id},
                         {"buffer", completion.has_buffer ? Json(completion.buffer_id) : Json()},
                         {"ok", completion.ok}});
    }
    const auto range = written.ranges.find(completion.buffer_id);
    if (completion.has_buffer && range != written.ranges.end())
      range->second.first->Release(range->second.second);
    if (--written.pending == 0) written_.erase(found);
  }
}

bool PortTestee::Receive() {
  if (receiver_ == nullptr || !receiver_->open()) return false;
  const size_t events = events_.size();
  const Next next = receiver_->Turn();
  if (next == Next::kEnd) events_.push_back({{"ev", "closed"}});
  if (next == Next::kRetry) retry_at_ = Clock::now() + std::chrono::milliseconds(1);
  return next == Next::kCallAgain || events != events_.size();
}

bool PortTestee::Write() {
  const uint64_t before = sender_->queued_bytes() + sender_->queued_messages();
  sender_->Flush();
  if (sender_->wants_writable()) {
    pollfd poller = {sender_->fd(), POLLOUT, 0};
    if (poll(&poller, 1, 0) > 0) sender_->OnWritable();
  }
  if (retry_at_ && Clock::now() >= *retry_at_) {
    retry_at_.reset();
    sender_->OnRetry();
  }
  if (!retry_at_ && sender_->retry_ms())
    retry_at_ = Clock::now() + std::chrono::milliseconds(*sender_->retry_ms());
  const bool completed = sender_->has_completions();
  Complete(true);
  return completed || before != sender_->queued_bytes() + sender_->queued_messages();
}

bool PortTestee::Turn() {
  const bool received = Receive();
  return Write() || received;
}

Wish PortTestee::Wishes() {
  Wish wish = {.read = receiver_->open(), .write = sender_->wants_writable()};
  if (retry_at_) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*retry_at_ - Clock::now()).count();
    wish.retry_ms = static_cast<int>(std::max<int64_t>(0, left));
  }
  return wish;
}

Json PortTestee::Stats() {
  return {{"open_assemblies", receiver_->open_assemblies()},
          {"held_bytes", receiver_->held_bytes()},
          {"queued_messages", sender_->queued_messages()},
          {"chunks_busy", segments_->machine().segments().held_chunks()}};
}

void PortTestee::Reset() {
  if (sender_->open()) {
    sender_->Close();
    Complete(false);
    written_.clear();
    own_.reset();
    announced_.clear();
    if (!AdoptSender().ok()) _exit(3);
  }
  if (receiver_->open()) {
    muted_ = true;
    while (receiver_->Turn() == Next::kCallAgain) {
    }
    receiver_.reset();
    if (!AdoptReceiver().ok()) _exit(3);
    muted_ = false;
  }
  lent_.clear();
  kept_.clear();
  keeps_ = false;
  retry_at_.reset();
  events_ = Json::array();
}

}  // namespace
}  // namespace portproof::testee

int main() {
  portproof::testee::PortTestee testee;
  return portproof::testee::Serve(testee);
}
