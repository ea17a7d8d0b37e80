#include "oracle/suite/stage.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portproof::suite {
namespace {

constexpr int kRunDeadlineMs = 2000;
constexpr int kMoreTurnsMax = 10000;
constexpr int kCutShortMax = 5;   // runs in a row that met their deadline
constexpr int kStillMax = 3;      // runs in a row that leave datagrams unread
constexpr uint16_t kOwnPort = 1;  // port B, as `start` calls it

using Content = std::optional<std::vector<uint8_t>>;

// Types with a meaning that handling them may act upon.
constexpr bool HasMeaning(Type type) {
  return type == Type::kMmap || type == Type::kGetMmap || type == Type::kRemovePid ||
         type == Type::kQuit || type == Type::kOosm || type == Type::kShmAck ||
         type == Type::kReadQueue || type == Type::kReadSocket || type == Type::kNewPort ||
         type == Type::kChangeFile || type == Type::kStartProcess || type == Type::kStartWorker ||
         type == Type::kWhoami || type == Type::kProcessCreated;
}

ReceiveModel::Config ReceiveConfig(const Session& session, const StageConfig& config) {
  return {.profile = config.profile,
          .max_size = config.max_size,
          .handled = config.handled,
          .by_credentials =
              config.profile->credentials && session.hello().features.contains("credentials"),
          .limits = session.hello().limits};
}

}  // namespace

Stage::Stage(Session& session, StageConfig config)
    : session_(session),
      config_(std::move(config)),
      receive_model_(ReceiveConfig(session, config_)),
      send_model_({.profile = config_.profile,
                   .payload_bytes = PayloadLimit(*config_.profile, config_.max_size),
                   .share_bytes = config_.start.max_share,
                   .pid = session.hello().pid,
                   .completes = session.hello().features.contains("completions"),
                   .content = [this](const Reference& reference) -> Content {
                     const bool known = peer_memory_.Knows(reference.segment_id);
                     if (!known && this->profile().queues) return std::nullopt;
                     Expect(known, Rule::kShm10, "an announced segment", ToString(reference));
                     return peer_memory_.Content(reference);
                   }}) {
  const auto number = NumberFor(Type::kData);
  const auto other = other_type();
  plain_type_ = number ? *number : other.value_or(0);
}

std::optional<uint8_t> Stage::NumberFor(Type type) const {
  const auto number = NumberOf(profile(), type);
  return number && config_.handled.contains(*number) ? number : std::nullopt;
}

uint8_t Stage::WireNumber(Type type) const { return NumberOf(profile(), type).value_or(255); }

std::optional<uint8_t> Stage::other_type() const {
  for (const uint8_t number : config_.handled) {
    const auto type = TypeOf(profile(), number);
    if (type && !HasMeaning(*type) && number != plain_type_) return number;
  }
  return std::nullopt;
}

void Stage::Expect(bool met, Rule rule, const std::string& expected,
                   const std::string& seen) const {
  if (!met) throw CaseEnd{Verdict::kFail, rule, expected, seen};
}

void Stage::Unsupported(const std::string& why) const {
  throw CaseEnd{Verdict::kUnsupported, std::nullopt, why, "the testee says it has not"};
}

int Stage::MakeFile() {
  OwnedFd file(memfd_create("suite", MFD_CLOEXEC));
  if (!file.valid())
    throw CaseEnd{Verdict::kSuiteError, std::nullopt, "a file to pass", "memfd_create failed"};
  files_.push_back(std::move(file));
  return files_.back().get();
}

Outgoing Stage::Prepare(const Datagram& datagram, Incoming& incoming) {
  Datagram whole = datagram;
  if (!whole.typed()) whole.Type(plain_type_);
  if (whole.header().pid == 0) whole.Pid(getpid());
  Outgoing outgoing;
  outgoing.bytes = whole.Wire();
  outgoing.fds = whole.given_fds();
  for (size_t i = 0; i < whole.fds(); ++i) outgoing.fds.push_back(MakeFile());
  incoming.bytes = outgoing.bytes;
  incoming.process = getpid();
  incoming.about = whole.about();
  incoming.control_truncated = control_truncated_;
  for (const int fd : outgoing.fds) incoming.fds.push_back(FileIdOf(fd));
  posted_fds_.insert(posted_fds_.end(), incoming.fds.begin(), incoming.fds.end());
  return outgoing;
}

// What has just been sent, for whoever must tell it from the others.
void Stage::Number(const Incoming& incoming) {
  const std::string bytes(reinterpret_cast<const char*>(incoming.bytes.data()),
                          std::min<size_t>(incoming.bytes.size(), kHeaderBytes));
  const auto header = DecodeHeader(incoming.bytes);
  newest_ = absl::StrCat(
      ++numbered_, ", ", incoming.bytes.size(), " bytes",
      header ? " [" + ToString(header->header) + "]" : "", " ", absl::BytesToHexString(bytes),
      incoming.bytes.size() > kHeaderBytes ? "..." : "", ", ", incoming.fds.size(), " descriptors");
}

void Stage::ExpectOf(Expected expected) {
  expected.datagram = newest_;
  expected_.push_back(std::move(expected));
}

void Stage::Post(const Datagram& datagram) {
  Incoming incoming;
  link().Send(Prepare(datagram, incoming));
  link().Flush();
  Number(incoming);
  if (auto expected = receive_model_.On(incoming)) ExpectOf(*std::move(expected));
}

void Stage::PostExpecting(const Datagram& datagram, std::vector<Expected> expected) {
  Incoming incoming;
  link().Send(Prepare(datagram, incoming));
  link().Flush();
  Number(incoming);
  for (Expected& event : expected) {
    if (event.event.kind == SeenEvent::Kind::kDelivered && datagram.fds() > 0)
      event.event.fds = incoming.fds;
    ExpectOf(std::move(event));
  }
}

int32_t Stage::PostFromOther(const std::vector<Datagram>& datagrams) {
  std::vector<Outgoing> outgoing;
  std::vector<Incoming> incoming(datagrams.size());
  for (size_t i = 0; i < datagrams.size(); ++i)
    outgoing.push_back(Prepare(datagrams[i], incoming[i]));
  const int32_t child = link().SendFromChild(outgoing);
  if (child == 0)
    throw CaseEnd{Verdict::kSuiteError, std::nullopt, "datagrams sent by another process",
                  "it could not"};
  for (size_t i = 0; i < datagrams.size(); ++i) {
    incoming[i].bytes = outgoing[i].bytes;
    incoming[i].process = child;
    Number(incoming[i]);
    if (auto expected = receive_model_.On(incoming[i])) ExpectOf(*std::move(expected));
  }
  return child;
}

Expected Stage::Delivery(const Datagram& datagram, Rule blame) const {
  Expected expected;
  expected.event.type = datagram.typed() ? datagram.header().type : plain_type_;
  expected.event.stream = datagram.header().stream;
  expected.event.pid = datagram.header().pid == 0 ? getpid() : datagram.header().pid;
  expected.event.reply_port = datagram.header().reply_port;
  expected.event.last = datagram.header().last;
  const std::vector<uint8_t> wire = datagram.Wire();
  expected.event.bytes = wire.size() - kHeaderBytes;
  expected.event.crc = CrcText(UpdateCrc32(0, std::span(wire).subspan(kHeaderBytes)));
  expected.blame = blame;
  expected.disturbed_by = blame;
  return expected;
}

Expected Stage::Refusal(Rule rule, Rule blame) const {
  Expected expected;
  expected.event.kind = SeenEvent::Kind::kRefused;
  expected.event.rule = std::string(Id(rule));
  expected.blame = blame;
  return expected;
}

void Stage::Keep() {
  session_.Ask({{"cmd", "keep"}, {"fds", true}});
  keeps_ = true;
}

Message Stage::MessageOf(int64_t id, std::vector<Piece> chain) const {
  Message message;
  message.id = id;
  message.type = plain_type_;
  message.stream = static_cast<uint32_t>(id);
  message.chain = std::move(chain);
  return message;
}

Json Stage::TryWrite(const Message& message) {
  link().set_reading(!reads_later_);
  Json answer = session_.Ask(message.Command());
  link().set_reading(true);
  return answer;
}

std::vector<FileId> Stage::Write(const Message& asked) {
  Message message = asked;
  if (config_.direct) message.batch = false;
  const Json answer = TryWrite(message);
  if (answer.value("unsupported", false))
    throw CaseEnd{Verdict::kFail, std::nullopt, "send taken, as its hello promises", answer.dump()};
  Expect(answer.value("accepted", false), Rule::kSnd1, "{\"accepted\":true}", answer.dump());
  std::vector<FileId> fds;
  if (const auto named = answer.find("fds"); named != answer.end() && named->is_array()) {
    for (const Json& fd : *named) fds.push_back(fd.is_string() ? fd.get<std::string>() : "?");
  }
  Expect(fds.size() == message.fds, Rule::kSnd8,
         absl::StrCat(message.fds, " files named in the answer"), answer.dump());
  (message.close_fd ? closing_fds_ : held_fds_)
      .insert((message.close_fd ? closing_fds_ : held_fds_).end(), fds.begin(), fds.end());
  send_model_.Write(message, fds);
  if (!message.batch &&
      !reads_later_) {  // what left at once did so before anything else is written
    link().Drain();
    JudgeArrived();
  }
  return fds;
}

std::vector<SeenEvent> Stage::RunOnce() {
  const int deadline_ms = std::min(kRunDeadlineMs, config_.timeout_ms);
  std::vector<SeenEvent> events;
  for (int runs = 0; runs < kCutShortMax; ++runs) {
    const auto begun = Clock::now();
    const std::vector<SeenEvent> more = session_.Run(config_.idle_ms, deadline_ms);
    events.insert(events.end(), more.begin(), more.end());
    // On a busy machine a testee meets its deadline before it is done.
    if (Clock::now() - begun < std::chrono::milliseconds(deadline_ms)) break;
  }
  return events;
}

void Stage::JudgeArrived() {
  const uint8_t mmap = WireNumber(Type::kMmap);
  const uint8_t get_mmap = WireNumber(Type::kGetMmap);
  std::deque<Arrived>& arrived = link().arrived();
  while (!arrived.empty()) {
    const Arrived datagram = std::move(arrived.front());
    arrived.pop_front();
    const auto decoded = DecodeHeader(datagram.bytes);
    if (decoded && decoded->header.type == mmap && Has("shm-send")) {
      OnAnnouncement(datagram);
      continue;
    }
    if (decoded && decoded->header.type == get_mmap && get_mmap != 255) {
      OnQuestion(datagram);
      continue;
    }
    const bool error = decoded && decoded->header.type == WireNumber(Type::kRpcError);
    if (error && errors_are_answers_) {
      send_model_.JudgeHeader(datagram);
      continue;
    }
    try {
      send_model_.Take(datagram);
    } catch (CaseEnd& end) {
      const bool order = end.rule == Rule::kSnd5 || end.rule == Rule::kSnd6;
      if (order && order_rule_) end.rule = order_rule_;
      throw;
    }
  }
  AskForUnknown();
}

void Stage::OnAnnouncement(const Arrived& announcement) {
  send_model_.JudgeHeader(announcement);
  peer_memory_.Adopt(announcement, profile(), {hello().pid, getpid(), hello().process});
  ++announcements_;
  send_model_.Announced();
}

void Stage::OnQuestion(const Arrived& question) {
  send_model_.JudgeHeader(question);
  const Header header = DecodeHeader(question.bytes)->header;
  const bool whole = question.bytes.size() == kHeaderBytes + sizeof(uint32_t) && !header.nf &&
                     !header.mf && !header.mmap && question.fds.empty();
  Expect(whole, Rule::kShm10, "get_mmap: one datagram with the id of a segment, 4 bytes",
         absl::StrCat(ToString(header), ", ", question.bytes.size() - kHeaderBytes, " bytes, ",
                      question.fds.size(), " descriptors"));
  questions_.push_back(Load<uint32_t>(question.bytes.data() + kHeaderBytes, MachineByteOrder()));
}

void Stage::AskForSegment(uint32_t id) {
  std::vector<uint8_t> payload(sizeof(id));
  Store<uint32_t>(id, payload.data(), MachineByteOrder());
  peer_memory_.Ask(id);
  ++asked_;
  PostExpecting(
      Datagram(0).Type(WireNumber(Type::kGetMmap)).Reply(kOwnPort).Payload(std::move(payload)), {});
}

void Stage::AskForUnknown() {
  for (const uint32_t id : send_model_.UnknownSegments()) {
    if (peer_memory_.Asked(id)) continue;
    Expect(NumberFor(Type::kGetMmap).has_value(), Rule::kShm10,
           absl::StrCat("segment ", id, " announced before it is used, or a handler for get_mmap"),
           "neither");
    AskForSegment(id);
  }
}

// One that is missing may only be late: whoever gives it another run sees which.
void Stage::JudgeCompletions(const std::vector<SeenEvent>& events) {
  try {
    send_model_.Complete(events);
  } catch (CaseEnd& end) {
    const auto missing = send_model_.missing();
    if (!missing || end.rule != Rule::kCmp1) throw;
    for (const SeenEvent& event : RunOnce()) {
      if (event.kind != SeenEvent::Kind::kCompleted ||
          *missing != SendModel::Completion(event.message, event.buffer))
        continue;
      end.rule = Rule::kCmp2;
      end.seen = "it came late, a run after its datagram";
    }
    throw;
  }
}

void Stage::JudgeEvents(const std::vector<SeenEvent>& events) {
  JudgeCompletions(events);
  for (const SeenEvent& event : events) {
    if (event.kind == SeenEvent::Kind::kCompleted) continue;
    // Whether what is about segments is handed on is the testee's own matter.
    const bool about_segments =
        event.type == WireNumber(Type::kMmap) || event.type == WireNumber(Type::kGetMmap);
    if (event.kind == SeenEvent::Kind::kDelivered && about_segments) continue;
    received_.push_back(event);
  }
}

void Stage::RunWithoutReading() {
  link().set_reading(false);
  const std::vector<SeenEvent> events = RunOnce();
  link().set_reading(true);
  send_model_.Pressed();
  link().Drain();
  JudgeArrived();
  JudgeEvents(events);
}

// Messages are waiting, the socket is empty, and the testee does nothing.
void Stage::NothingMoves() {
  const std::string expected = send_model_.NextText();
  const uint64_t queued = Stats().value("queued_messages", uint64_t{0});
  if (queued > 0) Expect(false, Rule::kSnd7, expected, "nothing is sent any more");
  Expect(false, order_rule_.value_or(send_model_.LossRule()), expected,
         "nothing, and nothing is queued: it is lost");
}

void Stage::Play(bool all) {
  int still = 0;
  for (int turn = 0; turn < kMoreTurnsMax; ++turn) {
    const auto arrived = [this] { return send_model_.datagrams() + announcements_; };
    const uint64_t datagrams = arrived() + asked_;
    const size_t unsent = link().unsent();
    const size_t received = received_.size();
    const std::vector<SeenEvent> events = RunOnce();
    link().Drain();
    JudgeArrived();
    JudgeEvents(events);
    const bool moved = datagrams != arrived() + asked_ || unsent != link().unsent() ||
                       received != received_.size();
    const bool lacks = link().unsent() > 0 || received_.size() < expected_.size() ||
                       (all && !send_model_.empty()) ||
                       (all && !send_model_.UnknownSegments().empty());
    still = moved ? 0 : still + 1;
    if (!lacks || still >= (link().AllTaken() ? 1 : kStillMax)) break;
  }
  if (!all) return;
  if (!send_model_.empty()) NothingMoves();
  for (const uint32_t id : send_model_.UnknownSegments())
    Expect(false, Rule::kShm10, absl::StrCat("segment ", id, " announced in answer to get_mmap"),
           "no announcement of it");
}

void Stage::Settle(bool all) {
  Play(all);
  const std::vector<SeenEvent> received = std::move(received_);
  received_.clear();
  JudgeReceived(received);
}

void Stage::SettleSilently(Rule rule) {
  Play(true);
  Expect(received_.empty(), rule, "nothing yet",
         received_.empty() ? "" : ToString(received_.front()));
}

void Stage::SettleInAnyOrder() {
  Play(true);
  auto next = expected_.begin();
  for (const SeenEvent& event : received_) {
    const auto same = std::find_if(next, expected_.end(), [&event](const Expected& expected) {
      return expected.event.kind == event.kind && expected.event.stream == event.stream;
    });
    if (same == expected_.end()) break;
    std::rotate(next, same, same + 1);
    ++next;
  }
  Settle();
}

void Stage::JudgeReceived(const std::vector<SeenEvent>& events) {
  const std::vector<Expected> expected = std::move(expected_);
  expected_.clear();
  total_ = std::exchange(numbered_, 0);
  for (size_t i = 0; i < std::max(expected.size(), events.size()); ++i) {
    if (i >= expected.size()) Surplus(events[i]);
    CompareOne(expected[i], i < events.size() ? &events[i] : nullptr);
    if (events[i].kind != SeenEvent::Kind::kDelivered) continue;
    last_delivered_ = events[i];
    if (keeps_) kept_fds_.insert(kept_fds_.end(), events[i].fds.begin(), events[i].fds.end());
  }
}

void Stage::Surplus(const SeenEvent& seen) const {
  Rule rule = config_.own_rule;
  if (seen.kind == SeenEvent::Kind::kClosed) rule = Rule::kHdr8;
  if (seen.kind == SeenEvent::Kind::kDelivered) {
    const bool open = receive_model_.IsOpen(static_cast<uint32_t>(seen.stream));
    rule = open ? Rule::kFrg4 : Rule::kRcv3;
    if (config_.own_rule == Rule::kShm14) rule = Rule::kShm14;  // it was cancelled
  }
  throw CaseEnd{Verdict::kFail, rule, "nothing more", ToString(seen)};
}

// "refused by HDR-4, for datagram 3 of 6, ..."
std::string Stage::Wanted(const Expected& expected) const {
  if (expected.datagram.empty()) return ToString(expected.event);
  const size_t comma = expected.datagram.find(',');
  return absl::StrCat(ToString(expected.event), ", for datagram ",
                      expected.datagram.substr(0, comma), " of ", total_,
                      expected.datagram.substr(comma));
}

void Stage::CompareOne(const Expected& expected, const SeenEvent* seen) const {
  const std::string wanted = Wanted(expected);
  if (seen == nullptr) {
    const bool lost = expected.event.kind == SeenEvent::Kind::kDelivered &&
                      expected.refused_before && !expected.disturbed_by;
    Expect(false, lost ? Rule::kRcv5 : expected.blame, wanted, "nothing");
  }
  const std::string got = ToString(*seen);
  Expect(seen->kind != SeenEvent::Kind::kClosed, Rule::kHdr8, wanted, got);
  if (expected.event.kind == SeenEvent::Kind::kRefused) {
    Expect(seen->kind == SeenEvent::Kind::kRefused, expected.blame, wanted, got);
    // A datagram of nothing is refused by HDR-8, and for its length.
    const bool right = seen->rule.empty() || expected.any_rule ||
                       seen->rule == expected.event.rule ||
                       (expected.event.rule == "HDR-8" && seen->rule == "HDR-1");
    Expect(right, expected.blame, wanted, got);
    return;
  }
  if (seen->kind == SeenEvent::Kind::kRefused) {
    // A sequence that lost its step: what was refused before is refused again.
    Expect(false, expected.disturbed_by.value_or(expected.blame), wanted, got);
  }
  CompareDelivered(expected, *seen);
}

void Stage::CompareDelivered(const Expected& expected, const SeenEvent& seen) const {
  const SeenEvent& want = expected.event;
  const std::string wanted = Wanted(expected);
  const std::string got = ToString(seen);
  const Rule blame = expected.disturbed_by.value_or(expected.blame);
  if (last_delivered_ && ToString(*last_delivered_) == got && got != ToString(want))
    Expect(false, Rule::kRcv3, wanted, absl::StrCat(got, ", a second time"));
  Expect(want.fds == seen.fds || !want.fds.empty(), Rule::kFds4, wanted, got);
  Expect(want.type == seen.type && want.stream == seen.stream && want.pid == seen.pid &&
             want.reply_port == seen.reply_port,
         blame, wanted, got);
  Expect(want.bytes == seen.bytes, blame, wanted, got);
  // The right length with other bytes; behind references that is another matter.
  const bool shared = blame >= Rule::kShm1 && blame <= Rule::kShm13;
  Expect(want.crc == seen.crc, shared ? blame : Rule::kFrg4, wanted, got);
  Expect(want.last == seen.last, expected.fragmented ? Rule::kFrg4 : blame, wanted, got);
  Expect(want.fds == seen.fds, expected.fragmented ? blame : Rule::kFds5, wanted, got);
}

Json Stage::Stats() { return session_.Ask({{"cmd", "stats"}}); }

int Stage::OpenCount(const FileId& file) const {
  const auto files = OpenFiles(session_.hello().pid);
  const auto found = files.find(file);
  return found == files.end() ? 0 : found->second.count;
}

void Stage::Sanity() {
  if (!link().a_open()) return;
  const Datagram message =
      Datagram(0x7fffffff).Bytes(5, 99).Fds(Has("fds") ? 1 : 0).About(Rule::kRcv5);
  Post(message);
  Settle();
}

void Stage::Census(Rule rule) {
  const pid_t pid = session_.hello().pid;
  std::map<FileId, OpenFile> open = OpenFiles(pid);
  std::map<FileId, int> allowed;
  for (const auto& [file, entry] : baseline_) allowed[file] += entry.count;
  for (const auto& list : {receive_model_.HeldFds(), kept_fds_, held_fds_}) {
    for (const FileId& file : list) ++allowed[file];
  }
  for (const FileId& file : send_model_.WaitingFds()) ++allowed[file];
  for (const auto& [file, entry] : open) {
    const int most = allowed.contains(file) ? allowed[file] : 0;
    if (entry.count <= most) continue;
    const bool passed =
        std::find(posted_fds_.begin(), posted_fds_.end(), file) != posted_fds_.end();
    if (config_.free_files && most == 0 && !passed) continue;
    const bool sent =
        std::find(closing_fds_.begin(), closing_fds_.end(), file) != closing_fds_.end() ||
        std::find(held_fds_.begin(), held_fds_.end(), file) != held_fds_.end();
    throw CaseEnd{Verdict::kLeak, sent ? Rule::kSnd9 : rule,
                  absl::StrCat("open in the testee ", most, " times: ", NameOfFile(pid, file)),
                  absl::StrCat(entry.count, " times")};
  }
  for (const FileId& file : held_fds_) {
    Expect(open.contains(file), Rule::kSnd9, "what was lent without close_fd is still open",
           absl::StrCat("closed: ", file));
  }
  for (const auto& [file, entry] : baseline_) {
    Expect(open.contains(file) && open[file].count >= entry.count, rule,
           absl::StrCat("still open in the testee: ", file), "closed");
  }
}

void Stage::TakeBaseline() { baseline_ = OpenFiles(session_.hello().pid); }

void Stage::Reset() {
  const Json answer = session_.Ask({{"cmd", "reset"}});
  if (answer.value("ok", Json()) != true)
    throw CaseEnd{Verdict::kFail, std::nullopt, "{\"ok\":true} to reset", answer.dump()};
  link().DropUnsent();
  link().Drain();
  link().arrived().clear();
  link().Record(Recorded::Kind::kReset, 'b');
  receive_model_.DiscardAll();
  send_model_.Forget();
  expected_.clear();
  received_.clear();
  kept_fds_.clear();
  held_fds_.clear();
  keeps_ = false;
}

}  // namespace portproof::suite
