#include "port/fault_conversation.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "port/shared_sender.h"

namespace portproof::testing {
namespace {

constexpr PortSizes kSizes = {.max_size = 1024, .max_share = 2048};
constexpr int kTurnsMax = 20'000;

class LoneEnd : public SendEnd {
 public:
  explicit LoneEnd(std::unique_ptr<Sender> sender) : sender_(std::move(sender)) {}

  WriteAnswer Write(const Outgoing& message) override { return sender_->Write(message); }
  WriteAnswer Announce(const std::shared_ptr<Segment>& segment) override {
    return sender_->Announce(segment);
  }
  void Flush() override { sender_->Flush(); }
  bool Attend() override {
    const bool writable = sender_->wants_writable();
    const bool retry = sender_->retry_ms().has_value();
    if (writable) sender_->OnWritable();
    if (retry) sender_->OnRetry();
    return writable || retry;
  }
  size_t queued_messages() override { return sender_->queued_messages(); }
  void TakeCompletions(std::vector<Completion>& completions) override {
    sender_->TakeCompletions(completions);
  }
  void Close() override { sender_->Close(); }

 private:
  std::unique_ptr<Sender> sender_;
};

class SharedEnd : public SendEnd {
 public:
  SharedEnd(Workspace& loop, OwnedFd socket, const SenderOptions& options, bool& ok) {
    auto adopted = SharedSender::Adopt(loop, std::move(socket), options, [this] { woken_ = true; });
    ok = adopted.ok();
    if (!ok) return;
    sender_ = *std::move(adopted);
    // A writer has a workspace of its own; that of the loop does, where there is no thread.
    writer_ = std::make_unique<SharedSender::Writer>(sender_, loop);
  }

  WriteAnswer Write(const Outgoing& message) override { return writer_->Write(message); }
  WriteAnswer Announce(const std::shared_ptr<Segment>& segment) override {
    return writer_->Announce(segment);
  }
  void Flush() override { writer_->Flush(); }
  bool Attend() override {
    const bool attend = std::exchange(woken_, false) || sender_->wants_writable();
    const bool retry = sender_->retry_ms().has_value();
    if (attend) sender_->Attend();
    if (retry) sender_->OnRetry();
    return attend || retry;
  }
  size_t queued_messages() override { return sender_->queued_messages(); }
  void TakeCompletions(std::vector<Completion>& completions) override {
    writer_->TakeCompletions(completions);
  }
  void Close() override { sender_->Close(); }

 private:
  bool woken_ = false;
  std::shared_ptr<SharedSender> sender_;
  std::unique_ptr<SharedSender::Writer> writer_;
};

}  // namespace

FaultConversation::FaultConversation(const Ends& ends, Kind kind, const Fault& fault)
    : ends_(ends),
      kind_(kind),
      type_(TypeNumber(*ends.profile, Type::kData)),
      kernel_(fault, ends.seqpacket) {}

// -------------------------------------------------------------- lifecycle

bool FaultConversation::Play() {
  auto pair = SocketPair::Create(*ends_.profile, kSizes, kernel_);
  if (!pair.ok()) return false;
  workspace_ = std::make_unique<Workspace>(kernel_, kSizes.max_size + kHeaderBytes);
  if (!Adopt(*std::move(pair))) return false;
  if (kind_ == Kind::kShared || kind_ == Kind::kMixed) OpenSegment();
  WriteAll();
  if (kind_ == Kind::kClosed) sender_->Close();
  Run();
  answer_after_ = Write(kAfter, 30, 1, false);
  Run();
  held_messages_ = receiver_->held_messages();
  return true;
}

bool FaultConversation::Adopt(SocketPair pair) {
  const SenderOptions sending = {.profile = ends_.profile, .sizes = pair.sizes};
  const int send_end = pair.send_end.get();
  if (ends_.shared_sender) {
    bool ok = false;
    sender_ = std::make_unique<SharedEnd>(*workspace_, std::move(pair.send_end), sending, ok);
    if (!ok) {
      sender_.reset();
      return false;
    }
  } else {
    auto adopted = Sender::Adopt(*workspace_, std::move(pair.send_end), sending);
    if (!adopted.ok()) return false;
    sender_ = std::make_unique<LoneEnd>(*std::move(adopted));
  }
  auto receiver = Receiver::Adopt(
      *workspace_, std::move(pair.receive_end),
      {.profile = ends_.profile,
       .sizes = pair.sizes,
       .observer = [this](const Refusal& refusal) { refusals_.push_back(refusal); }},
      [this](Message& message) { OnMessage(message); });
  if (!receiver.ok()) return false;
  receiver_ = *std::move(receiver);
  if (ends_.batches) BeginBatches(send_end);
  return true;
}

void FaultConversation::BeginBatches(int send_end) {
  kernel_.set_asleep(true);
  for (uint32_t i = 0; i < kSinglyReads; ++i) {
    SendRaw(send_end, {.stream = i, .pid = ::getpid(), .type = type_}, "");
  }
  while (receiver_->Turn() == Next::kCallAgain) {
  }
  kernel_.set_asleep(false);
}

void FaultConversation::End() {
  kept_.clear();
  if (receiver_) receiver_->Close();
  if (sender_) {
    sender_->Close();
    TakeCompletions();
  }
  if (segment_ != nullptr) {
    chunks_missing_ = 640 - segment_->FreeCount();
    segment_->ReceiverDied();
    EXPECT_EQ(segment_->FreeCount(), 640U);
    EXPECT_EQ(segment_->OwnCount(), 0U);
  }
  for (const auto& [id, buffers] : accepted_) {
    EXPECT_EQ(completed_[id], buffers) << "message " << id;  // CMP-1
  }
}

std::set<uint32_t> FaultConversation::accepted() const {
  std::set<uint32_t> ids;
  for (const auto& [id, buffers] : accepted_) ids.insert(id);
  return ids;
}

// ---------------------------------------------------------------- writing

void FaultConversation::OpenSegment() {
  auto made = Segment::Create({.source_pid = ::getpid(), .sent_over = kSentOverAny},
                              ends_.profile->segment_layout, kUnitGeometry, kernel_);
  if (!made.ok()) return;
  segment_ = std::make_shared<Segment>(*std::move(made));
  if (sender_->Announce(segment_) == WriteAnswer::kAccepted) return;
  ++writes_refused_;
  segment_.reset();
}

void FaultConversation::WriteAll() {
  for (uint32_t id = 1; id <= kMessages; ++id) WriteOne(id);
  sender_->Flush();
}

void FaultConversation::WriteOne(uint32_t id) {
  switch (kind_) {
    case Kind::kSmall:
    case Kind::kClosed:
      Write(id, 20, 0, false);
      break;
    case Kind::kBatched:
      Write(id, 20, id % 3 == 0 ? 1 : 0, id != kMessages);
      break;
    case Kind::kLarge:
      Write(id, 2500 + size_t{300} * id, 0, false);
      break;
    case Kind::kPieces:
      WritePieces(id);
      break;
    case Kind::kDescriptors:
      Write(id, id % 4 == 0 ? 3000 : 10, 1 + id % 2, id % 3 == 0);
      break;
    case Kind::kShared:
      WriteShared(id);
      break;
    case Kind::kMixed:
      if (id % 3 == 0) {
        WriteShared(id);
      } else {
        Write(id, id % 3 == 1 ? 4000 : 10, id % 2, id % 5 == 0);
      }
      break;
  }
}

WriteAnswer FaultConversation::Put(const Outgoing& message) {
  const WriteAnswer answer = sender_->Write(message);
  if (answer == WriteAnswer::kAccepted) {
    accepted_[static_cast<uint32_t>(message.id)] = message.chain.size();
  } else {
    ++writes_refused_;
  }
  return answer;
}

WriteAnswer FaultConversation::Write(uint32_t id, size_t bytes, size_t fd_count, bool batch) {
  std::string& text = texts_[id] = std::to_string(id) + ":" + Pattern(bytes, id);
  std::array<int, 2> fds = {-1, -1};
  fd_count = std::min<size_t>(fd_count, ends_.profile->fds_max);
  fd_counts_[id] = fd_count;
  for (size_t i = 0; i < fd_count; ++i) fds[i] = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const bool give = id % 2 == 0;
  const std::array<Buffer, 2> chain = {TextBuffer(text, 0), SyncBuffer(false, 1)};
  const WriteAnswer answer = Put({.type = type_,
                                  .stream = StreamOf(id),
                                  .reply_port = static_cast<uint16_t>(id),
                                  .batch = batch,
                                  .close_fds = give,
                                  .fds = {fds.data(), fd_count},
                                  .chain = chain,
                                  .id = id});
  for (size_t i = 0; i < fd_count; ++i) {
    if (!give || answer != WriteAnswer::kAccepted) {
      EXPECT_EQ(::close(fds[i]), 0);
    }
  }
  return answer;
}

// Twenty runs: three datagrams that are not full, and are copied into slabs.
void FaultConversation::WritePieces(uint32_t id) {
  constexpr size_t kPieceBytes = 30;
  std::string& text = texts_[id] = std::to_string(id) + ":" + Pattern(20 * kPieceBytes, id);
  text.resize(20 * kPieceBytes);
  std::string& spaced = spaced_[id];
  spaced.resize(2 * text.size());
  std::vector<Buffer> chain;
  for (size_t at = 0; at < text.size(); at += kPieceBytes) {
    text.copy(&spaced[2 * at], kPieceBytes, at);
    chain.push_back(TextBuffer(std::string_view(spaced).substr(2 * at, kPieceBytes), chain.size()));
  }
  Put({.type = type_,
       .stream = StreamOf(id),
       .reply_port = static_cast<uint16_t>(id),
       .chain = chain,
       .id = id});
}

void FaultConversation::WriteShared(uint32_t id) {
  if (segment_ == nullptr) {
    Write(id, 100, 0, false);
    return;
  }
  std::string& text = texts_[id] = std::to_string(id) + ":" + Pattern(kSharedBytes - 4, id);
  const auto range = segment_->Allocate(static_cast<uint32_t>(text.size()));
  ASSERT_TRUE(range.has_value());
  std::copy(text.begin(), text.end(), segment_->Memory(*range).begin());
  const Buffer buffer = segment_->BufferOf(*range, static_cast<uint32_t>(text.size()), 0, 0);
  const WriteAnswer answer = Put({.type = type_,
                                  .stream = StreamOf(id),
                                  .reply_port = static_cast<uint16_t>(id),
                                  .chain = {&buffer, 1},
                                  .id = id});
  if (answer == WriteAnswer::kAccepted) {
    shared_.insert(id);
    ranges_[id] = *range;
  } else {
    segment_->Release(*range);
  }
}

// ---------------------------------------------------------------- running

void FaultConversation::OnMessage(Message& message) {
  if (message.payload.empty()) return;  // before the conversation
  const std::string text = TextOf(message.payload);
  const auto id = static_cast<uint32_t>(std::atoi(text.c_str()));
  EXPECT_TRUE(arrived_.insert(id).second) << "twice: " << id;
  EXPECT_TRUE(text == texts_[id]) << "message " << id;
  EXPECT_EQ(message.fds.size(), fd_counts_[id]) << "message " << id;
  EXPECT_EQ(message.header.reply_port, id);
  EXPECT_EQ(message.header.stream, StreamOf(id));
  if (id % 4 == 1) kept_.push_back(std::move(message.payload));
}

void FaultConversation::TakeCompletions() {
  std::vector<Completion> completions;
  sender_->TakeCompletions(completions);
  for (const Completion& completion : completions) {
    const auto id = static_cast<uint32_t>(completion.message_id);
    if (id == 0) continue;                                                  // the announcement
    EXPECT_EQ(completion.buffer_id, completed_[id]++) << "message " << id;  // CMP-2
    if (!completion.ok) failed_.insert(id);
    const auto range = ranges_.find(id);
    if (range == ranges_.end()) continue;
    segment_->Release(range->second);
    ranges_.erase(range);
  }
}

// The loop: it does what both ends ask for, and nothing that they do not.
void FaultConversation::Run() {
  bool asked = true;
  for (int turn = 0; turn < kTurnsMax && next_ != Next::kEnd; ++turn) {
    asked = sender_->Attend();
    next_ = receiver_->Turn();
    TakeCompletions();
    if (next_ == Next::kWait && !asked) break;
  }
  TakeCompletions();
  if (next_ != Next::kEnd) {
    EXPECT_EQ(sender_->queued_messages(), 0U) << "stands still";  // SND-7
  }
}

}  // namespace portproof::testing
