// Composing: the golden table of section 3, and HDR-3, HDR-4, HDR-5, HDR-6 on what is
// sent.
#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

Piece Memory(uint32_t bytes, uint64_t seed = 1) { return {.bytes = bytes, .seed = seed}; }
Piece Adjacent(uint32_t bytes, uint64_t seed) {
  return {.bytes = bytes, .seed = seed, .adjacent = true};
}
Piece Sync(bool last = false) { return {.sync = true, .last = last}; }

std::vector<Piece> Separate(uint32_t count, uint32_t bytes) {
  std::vector<Piece> chain;
  for (uint32_t i = 0; i < count; ++i) chain.push_back(Memory(bytes, i + 1));
  return chain;
}

std::vector<Piece> With(std::vector<Piece> chain, const std::vector<Piece>& more) {
  chain.insert(chain.end(), more.begin(), more.end());
  return chain;
}

struct Golden {
  const char* name;
  std::function<std::vector<Piece>(uint32_t)> chain;  // of L
  bool last = false;
};

const std::vector<Golden>& GoldenTable() {
  static const std::vector<Golden> table = {
      {"IOV-7/nothing", [](uint32_t) { return std::vector<Piece>(); }},
      {"IOV-7/a-sync-buffer", [](uint32_t) { return std::vector{Sync()}; }},
      {"IOV-7/a-marked-sync-buffer", [](uint32_t) { return std::vector{Sync(true)}; }},
      {"IOV-7/empty-buffers-only",
       [](uint32_t) {
         return std::vector{Memory(0), Sync(), Memory(0)};
       }},
      {"IOV-1/empty-then-five",
       [](uint32_t) {
         return std::vector{Memory(0), Memory(5)};
       }},
      {"IOV-1/one-byte", [](uint32_t) { return std::vector{Memory(1)}; }},
      {"IOV-1/exactly-the-limit", [](uint32_t limit) { return std::vector{Memory(limit)}; }},
      {"IOV-1/one-beyond-the-limit", [](uint32_t limit) { return std::vector{Memory(limit + 1)}; }},
      {"IOV-5/a-buffer-ends-at-the-limit-with-more-behind",
       [](uint32_t limit) {
         return std::vector{Memory(limit), Memory(100, 2)};
       }},
      {"IOV-5/an-empty-one-between",
       [](uint32_t limit) {
         return std::vector{Memory(limit), Memory(0), Memory(5, 2)};
       }},
      {"IOV-6/a-mark-below-the-limit",
       [](uint32_t limit) {
         return std::vector{Memory(limit - 1), Sync(true)};
       }},
      {"IOV-6/a-mark-right-behind-the-limit",
       [](uint32_t limit) {
         return std::vector{Memory(limit), Sync(true)};
       }},
      {"IOV-6/a-mark-behind-the-second-datagram",
       [](uint32_t limit) {
         return std::vector{Memory(limit + 1), Sync(true)};
       }},
      {"IOV-6/the-flag-in-every-datagram",
       [](uint32_t limit) { return std::vector{Memory(limit + 1)}; }, true},
      {"IOV-6/a-mark-between",
       [](uint32_t) {
         return std::vector{Memory(10), Sync(true), Memory(20, 2)};
       }},
      {"IOV-6/once-set-it-stays",
       [](uint32_t limit) {
         return std::vector{Memory(10), Sync(true), Memory(limit, 2)};
       }},
      {"IOV-6/once-set-at-the-limit-it-stays",
       [](uint32_t limit) {
         return std::vector{Memory(limit), Sync(true), Memory(100, 2)};
       }},
      {"IOV-6/a-mark-behind-seven-runs",
       [](uint32_t) {
         return With(Separate(7, 5), {Sync(true), Memory(5, 9)});
       }},
      {"IOV-6/a-mark-behind-eight-runs",
       [](uint32_t) { return With(Separate(8, 5), {Sync(true)}); }},
      {"IOV-3/seven-runs", [](uint32_t) { return Separate(7, 5); }},
      {"IOV-3/not-more-than-the-limit",
       [](uint32_t limit) { return std::vector{Memory(2 * limit)}; }},
      {"IOV-3/eight-runs", [](uint32_t) { return Separate(8, 5); }},
      {"IOV-3/fifteen-runs", [](uint32_t) { return Separate(15, 5); }},
      {"IOV-2/twenty-adjacent",
       [](uint32_t) {
         std::vector<Piece> chain = {Memory(10)};
         for (uint64_t i = 2; i <= 20; ++i) chain.push_back(Adjacent(10, i));
         return chain;
       }},
      {"IOV-2/adjacent-across-a-sync-buffer",
       [](uint32_t) {
         std::vector<Piece> chain = {Memory(10)};
         for (uint64_t i = 2; i <= 9; ++i) {
           chain.push_back(Sync());
           chain.push_back(Adjacent(10, i));
         }
         return chain;
       }},
      {"IOV-2/adjacent-across-the-limit",
       [](uint32_t limit) {
         return std::vector{Memory(limit - 3), Adjacent(10, 2), Memory(4, 3)};
       }},
      {"IOV-2/adjacent-across-an-empty-buffer",
       [](uint32_t) {
         std::vector<Piece> chain = {Memory(10)};
         for (uint64_t i = 2; i <= 9; ++i) {
           chain.push_back(Adjacent(0, i));
           chain.push_back(Adjacent(10, i));
         }
         return chain;
       }},
      {"IOV-4/a-separate-buffer-is-cut-at-the-limit",
       [](uint32_t limit) {
         return std::vector{Memory(100), Memory(limit, 2), Memory(7, 3)};
       }},
  };
  return table;
}

Message MessageOf(Stage& stage, int64_t id, std::vector<Piece> chain) {
  Message message = stage.MessageOf(id, std::move(chain));
  message.reply_port = 3;
  return message;
}

void PlayGolden(Stage& stage, const Golden& golden) {
  Message message = MessageOf(stage, 7, golden.chain(stage.limit()));
  message.last = golden.last;
  stage.Write(message);
  stage.Settle();
}

// N = max(1, ceil(P / L)) datagrams for P bytes in a row.
void ContiguousTable(Stage& stage) {
  int64_t id = 1;
  for (const uint32_t bytes :
       {0u, 1u, 16368u, 16369u, 16384u, 16385u, 32736u, 32737u, 32768u, 32769u, 65536u, 65537u}) {
    const uint64_t before = stage.sent().datagrams();
    stage.Write(
        MessageOf(stage, id++, bytes == 0 ? std::vector<Piece>() : std::vector{Memory(bytes)}));
    stage.Settle();
    const uint64_t wanted = std::max(1u, (bytes + stage.limit() - 1) / stage.limit());
    const uint64_t seen = stage.sent().datagrams() - before;
    stage.Expect(seen == wanted, Rule::kIov4, absl::StrCat(wanted, " datagrams for ", bytes),
                 absl::StrCat(seen));
  }
}

void EveryHeaderField(Stage& stage) {
  int64_t id = 1;
  for (const uint32_t stream : {0u, 1u, 0x01020304u, 0xffffffffu}) {
    for (const uint16_t reply : {0, 1, 0x0102, 65535}) {
      Message message = MessageOf(stage, id++, {Memory(3)});
      message.stream = stream;
      message.reply_port = reply;
      stage.Write(message);
    }
  }
  stage.Settle();
}

void FragmentsRepeatTheHeader(Stage& stage) {
  Message message = MessageOf(stage, 1, {Memory(3 * stage.limit())});
  message.stream = 0x01020304;
  message.reply_port = 0x0506;
  message.last = true;
  stage.Write(message);
  stage.Settle();
}

// The last number there is goes out; the one behind it is not accepted.
void TypesBelowTheCount(Stage& stage) {
  const auto count = static_cast<uint8_t>(stage.profile().types.size());
  for (const uint8_t type : {count, uint8_t{255}}) {
    Message message = MessageOf(stage, type, {Memory(3)});
    message.type = type;
    const Json answer = stage.TryWrite(message);
    stage.Expect(answer.value("accepted", Json()) == false, Rule::kHdr4,
                 absl::StrCat("type ", type, " not accepted"), answer.dump());
  }
  stage.Settle();
}

}  // namespace

void AddComposeCases(CaseList& cases) {
  const std::vector<std::string> fragments = {"fragments"};
  for (const Golden& golden : GoldenTable()) {
    Add(cases, golden.name, [&golden](Stage& stage) { PlayGolden(stage, golden); })
        .Role("sender")
        .Needs(fragments);
  }
  Add(cases, "IOV-4/how-many-datagrams", ContiguousTable).Role("sender").Needs(fragments);
  Add(cases, "IOV-4/old-how-many-datagrams", ContiguousTable)
      .Role("sender")
      .Needs(fragments)
      .Home("unit-0.2")
      .Applies([](const Profile& profile) { return !profile.header_within_max; });
  Add(cases, "HDR-6/header-fields-as-written", EveryHeaderField,
      {Rule::kHdr2, Rule::kHdr3, Rule::kHdr5})
      .Role("sender");
  Add(cases, "HDR-2/written-in-machine-order", EveryHeaderField).Role("sender");
  Add(cases, "HDR-3/flags-written-as-0-or-1", FragmentsRepeatTheHeader)
      .Role("sender")
      .Needs(fragments);
  Add(cases, "HDR-4/types-beyond-the-count-are-not-written", TypesBelowTheCount).Role("sender");
  Add(cases, "HDR-5/byte-15-written-as-0", FragmentsRepeatTheHeader)
      .Role("sender")
      .Needs(fragments);
  Add(cases, "FRG-3/fragments-repeat-the-header", FragmentsRepeatTheHeader)
      .Role("sender")
      .Needs(fragments);
}

}  // namespace portproof::suite
