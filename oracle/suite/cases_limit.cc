// Bounds on what a receiver holds: FRG-8, RCV-2.
#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

constexpr uint64_t kCountReachable = 4096;                 // assemblies we are willing to open
constexpr uint64_t kBytesReachable = uint64_t{160} << 20;  // bytes we are willing to send
constexpr uint64_t kMemorySlack = uint64_t{16} << 20;      // code, stacks, an allocator's habits
constexpr uint32_t kSmallFragments = 20000;

void PerSender(Stage& stage) {
  const uint64_t most = stage.limits().assemblies_per_sender;
  if (most > kCountReachable) stage.Unsupported("a limit within reach");
  for (uint32_t stream = 1; stream <= most; ++stream)
    stage.Post(Datagram(stream).Bytes(1, stream).Mf().About(Rule::kFrg8));
  stage.Settle();
  const auto beyond = static_cast<uint32_t>(most + 1);
  stage.Post(Datagram(beyond).Bytes(1).Mf());
  stage.Post(Datagram(1).Bytes(1).Nf().About(Rule::kFrg8));
  stage.Post(Datagram(beyond).Bytes(1, 3).Mf().About(Rule::kFrg8));
  stage.Settle();
}

void PerPort(Stage& stage) {
  const uint64_t each = stage.limits().assemblies_per_sender;
  const uint64_t most = stage.limits().assemblies_per_port;
  if (most > kCountReachable || each > 200) stage.Unsupported("a limit within reach");
  const bool keyed = stage.profile().key_has_sender;
  uint32_t stream = 1;
  for (uint64_t opened = 0; opened < most;) {
    std::vector<Datagram> batch;
    for (; opened < most && batch.size() < each; ++opened)
      batch.push_back(Datagram(keyed ? static_cast<uint32_t>(batch.size()) : stream++)
                          .Bytes(1)
                          .Mf()
                          .About(Rule::kFrg8));
    stage.PostFromOther(batch);
    stage.Settle();
  }
  stage.Post(Datagram(0x10000).Bytes(1).Mf());
  stage.Settle();
}

void Fragments(Stage& stage, uint32_t stream, uint64_t bytes, uint64_t& sent) {
  const uint32_t limit = stage.limit();
  while (bytes > 0) {
    const auto part = static_cast<size_t>(std::min<uint64_t>(bytes, limit));
    Datagram datagram(stream);
    datagram.Payload(std::vector<uint8_t>(part, 7)).Mf().About(Rule::kFrg8);
    if (sent > 0) datagram.Nf();
    stage.Post(datagram);
    sent += part;
    bytes -= part;
    if (stage.link().unsent() >= 64) stage.Settle();
  }
}

void BytesOfOne(Stage& stage) {
  const uint64_t most = stage.limits().assembly_bytes;
  if (most > kBytesReachable) stage.Unsupported("a limit within reach");
  uint64_t sent = 0;
  Fragments(stage, 5, most, sent);
  stage.Settle();
  stage.Post(Datagram(5).Bytes(1).Nf());
  stage.Settle();
  stage.Post(Datagram(5).Bytes(1).Nf().About(Rule::kFrg8));  // it is gone
  stage.Settle();
}

// A sender alone may hold half, and another has room beside it.
void BytesInAll(Stage& stage) {
  const uint64_t most = stage.limits().total_bytes / 2;
  if (most > kBytesReachable) stage.Unsupported("a limit within reach");
  const uint64_t each = std::min(stage.limits().assembly_bytes, most);
  uint32_t stream = 1;
  for (uint64_t left = most; left > 0; ++stream) {
    uint64_t sent = 0;
    const uint64_t part = std::min(left, each);
    Fragments(stage, stream, part, sent);
    left -= part;
  }
  stage.Settle();
  stage.Post(Datagram(stream).Bytes(1).Mf());
  stage.Settle();
  stage.PostFromOther({Datagram(stream).Bytes(1).Mf().About(Rule::kFrg8),
                       Datagram(stream).Bytes(1, 2).Nf().About(Rule::kFrg8)});
  stage.Settle();
}

void MemoryFollowsBytes(Stage& stage) {
  const uint64_t before = ResidentBytes(stage.hello().pid);
  for (uint32_t i = 0; i < kSmallFragments; ++i) {
    Datagram datagram(1 + i % 16);
    datagram.Payload({1}).Mf().About(Rule::kFrg8);
    if (i >= 16) datagram.Nf();
    stage.Post(datagram);
    if (stage.link().unsent() >= 128) stage.Settle();
  }
  stage.Settle();
  const uint64_t after = ResidentBytes(stage.hello().pid);
  const uint64_t grown = after > before ? after - before : 0;
  stage.Expect(
      grown <= stage.limits().memory_bytes + kMemorySlack, Rule::kFrg8,
      absl::StrCat("at most ", stage.limits().memory_bytes, " bytes held"),
      absl::StrCat(grown, " bytes more than before, for ", kSmallFragments, " bytes of payload"));
}

void RefusalsHoldNothing(Stage& stage) {
  const uint64_t before = ResidentBytes(stage.hello().pid);
  for (uint32_t i = 0; i < 3000; ++i) {
    stage.Post(Datagram(i).Payload(std::vector<uint8_t>(stage.limit(), 1)).Nf().About(Rule::kFrg2));
    if (stage.link().unsent() >= 64) stage.Settle();
  }
  stage.Settle();
  const uint64_t after = ResidentBytes(stage.hello().pid);
  const uint64_t grown = after > before ? after - before : 0;
  stage.Expect(grown <= (uint64_t{24} << 20), Rule::kRcv2, "no memory held for refused datagrams",
               absl::StrCat(grown, " bytes more than before"));
}

}  // namespace

void AddLimitCases(CaseList& cases) {
  const std::vector<std::string> fragments = {"fragments"};
  Add(cases, "FRG-8/messages-open-per-sender", PerSender).Needs(fragments);
  Add(cases, "FRG-8/messages-open-per-port", PerPort).Needs(fragments);
  Add(cases, "FRG-8/bytes-of-one-message", BytesOfOne).Needs(fragments).Fresh();
  Add(cases, "FRG-8/bytes-in-all", BytesInAll).Needs(fragments).Fresh();
  Add(cases, "FRG-8/memory-follows-bytes", MemoryFollowsBytes).Needs(fragments).Fresh();
  Add(cases, "RCV-2/refused-datagrams-hold-no-memory", RefusalsHoldNothing)
      .Needs(fragments)
      .Fresh();
}

}  // namespace portproof::suite
