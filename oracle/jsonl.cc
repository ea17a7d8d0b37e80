#include "oracle/jsonl.h"

#include <simdjson.h>

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/hex.h"
#include "oracle/strace_text.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace portproof {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(LineSource::kPadding >= simdjson::SIMDJSON_PADDING);

constexpr double kMicrosecond = 1e6;
constexpr double kSecondsMax = 1e12;
constexpr uint64_t kDatagramBytesMax = uint64_t{1} << 31;
constexpr uint64_t kZerosWritten = 1
                                   << 17;  // of "data_zero": more than any header or reference list
constexpr uint64_t kProgressLines = 1 << 14;

constexpr std::array<std::string_view, 7> kEventNames = {"open", "send", "recv", "fail",
                                                         "eof",  "exit", "close"};

#ifdef __SSE2__
// Sixteen lower-case hex digits to eight bytes; false where they are something else.
bool DecodeEight(const char* at, uint8_t* out) {
  const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m128i letter = _mm_cmpgt_epi8(text, _mm_set1_epi8('9'));
  const __m128i value = _mm_sub_epi8(_mm_sub_epi8(text, _mm_set1_epi8('0')),
                                     _mm_and_si128(letter, _mm_set1_epi8('a' - '0' - 10)));
  const __m128i low_letter = _mm_and_si128(letter, _mm_cmplt_epi8(text, _mm_set1_epi8('a')));
  const __m128i bad = _mm_or_si128(_mm_or_si128(_mm_cmpgt_epi8(value, _mm_set1_epi8(15)),
                                                _mm_cmplt_epi8(value, _mm_setzero_si128())),
                                   low_letter);
  if (_mm_movemask_epi8(bad) != 0) return false;
  const __m128i high = _mm_and_si128(_mm_slli_epi16(value, 4), _mm_set1_epi16(0x00f0));
  const __m128i both = _mm_or_si128(high, _mm_srli_epi16(value, 8));
  const __m128i packed = _mm_packus_epi16(both, both);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), packed);
  return true;
}
#endif

bool DecodeHex(std::string_view text, ByteBuffer& bytes) {
  if (text.size() % 2 != 0) return false;
  uint8_t* out = bytes.Room(text.size() / 2 + 1);
  size_t at = 0;
#ifdef __SSE2__
  while (at + 16 <= text.size() && DecodeEight(text.data() + at, out + at / 2)) at += 16;
#endif
  for (; at < text.size(); at += 2) {
    const int value = HexPair(text.data() + at);
    if (value < 0) return false;
    out[at / 2] = static_cast<uint8_t>(value);
  }
  bytes.Grew(text.size() / 2);
  return true;
}

bool AtEnd(ondemand::document& document) {
  return document.current_location().error() == simdjson::OUT_OF_BOUNDS;
}

// Which keys an event may have, beside "ev"; which it must have.
enum Key : uint32_t {
  kPort = 1,
  kTime = 2,
  kPid = 4,
  kTid = 8,
  kData = 16,
  kFds = 32,
  kRights = 64,
  kIov = 128,
  kSegmentBytes = 256,
  kCredPid = 512,
  kFlags = 1024,
  kErrno = 2048,
  kMaxSize = 4096,
  kMaxShare = 8192,
  kKind = 16384,
  kKilled = 32768,
  kDataZero = 65536,
  kSize = 131072,
  kEv = 262144,
};

constexpr uint32_t kWho = kTime | kPid | kTid;

uint32_t Allowed(EventKind kind) {
  switch (kind) {
    case EventKind::kOpen:
      return kPort | kTime | kMaxSize | kMaxShare | kKind;
    case EventKind::kSend:
      return kPort | kWho | kData | kDataZero | kSize | kFds | kRights | kIov | kSegmentBytes |
             kKilled;
    case EventKind::kRecv:
      return kPort | kWho | kData | kDataZero | kSize | kFds | kRights | kCredPid | kFlags |
             kSegmentBytes;
    case EventKind::kFail:
      return kPort | kWho | kErrno;
    case EventKind::kEof:
    case EventKind::kClose:
      return kPort | kWho;
    case EventKind::kExit:
      return kWho;
    case EventKind::kDamage:
      return 0;
  }
  return 0;
}

uint32_t Required(EventKind kind) {
  switch (kind) {
    case EventKind::kSend:
    case EventKind::kRecv:
      return kPort | kData;
    case EventKind::kOpen:
    case EventKind::kFail:
    case EventKind::kEof:
    case EventKind::kClose:
      return kPort;
    case EventKind::kExit:
      return kPid;
    case EventKind::kDamage:
      return 0;
  }
  return 0;
}

constexpr std::pair<std::string_view, Key> kKeys[] = {
    {"ev", kEv},
    {"port", kPort},
    {"time", kTime},
    {"pid", kPid},
    {"tid", kTid},
    {"data", kData},
    {"fds", kFds},
    {"rights", kRights},
    {"iov", kIov},
    {"segment_bytes", kSegmentBytes},
    {"cred_pid", kCredPid},
    {"flags", kFlags},
    {"errno", kErrno},
    {"max_size", kMaxSize},
    {"max_share", kMaxShare},
    {"kind", kKind},
    {"killed", kKilled},
    {"data_zero", kDataZero},
    {"size", kSize},
};

std::string KeyName(uint32_t key) {
  for (const auto& [name, bit] : kKeys) {
    if ((bit & key) != 0) return std::string(name);
  }
  return "";
}

// One line to an Event. `wrong` says what was expected, empty where the line is good.
class LineParser {
 public:
  bool Parse(std::string_view line, Event& event);
  const std::string& wrong() const { return wrong_; }
  // The port the line names, if that much could be read.
  std::string_view port() const { return port_; }
  ondemand::parser& parser() { return parser_; }

 private:
  bool Wrong(std::string what) {
    wrong_ = std::move(what);
    return false;
  }
  bool ReadField(std::string_view key, ondemand::value value, Event& event);
  bool ReadKind(ondemand::value value, Event& event);
  bool ReadNumber(std::string_view key, ondemand::value value, uint64_t limit, uint64_t& number);
  bool ReadText(std::string_view key, ondemand::value value, std::string_view& text);
  bool ReadFlags(ondemand::value value, Event& event);
  bool ReadTime(ondemand::value value, Event& event);
  bool Complete(Event& event);

  ondemand::parser parser_;
  ByteBuffer data_;
  std::string port_;
  std::string errno_;
  std::string wrong_;
  uint32_t seen_ = 0;
  bool sized_ = false;
  uint64_t size_ = 0;
  bool again_ = false;
};

bool LineParser::Parse(std::string_view line, Event& event) {
  seen_ = 0;
  sized_ = again_ = false;
  data_.Clear();
  port_.clear();
  wrong_.clear();
  ondemand::document document;
  const simdjson::padded_string_view padded(line.data(), line.size(),
                                            line.size() + LineSource::kPadding);
  auto error = parser_.iterate(padded).get(document);
  ondemand::object object;
  if (!error) error = document.get_object().get(object);
  if (error) return Wrong(absl::StrCat("expected an object: ", simdjson::error_message(error)));
  for (auto field : object) {
    std::string_view key;
    ondemand::value value;
    if ((error = field.unescaped_key().get(key))) break;
    if ((error = field.value().get(value))) break;
    if (!ReadField(key, value, event)) return false;
  }
  if (error) return Wrong(absl::StrCat("expected a JSON object: ", simdjson::error_message(error)));
  if (!AtEnd(document)) return Wrong("expected nothing behind the object");
  return Complete(event);
}

bool LineParser::Complete(Event& event) {
  if ((seen_ & kEv) == 0) return Wrong("expected a key \"ev\"");
  const uint32_t keys = seen_ & ~static_cast<uint32_t>(kEv);
  const uint32_t extra = keys & ~Allowed(event.kind);
  const std::string_view name = kEventNames[static_cast<size_t>(event.kind)];
  const uint32_t first_extra = extra & (~extra + 1);
  if (extra != 0)
    return Wrong(
        absl::StrCat("unknown key \"", KeyName(first_extra), "\" in \"", std::string(name), "\""));
  const uint32_t missing = Required(event.kind) & ~keys;
  if (missing != 0) {
    return Wrong(absl::StrCat("expected a key \"", KeyName(missing & (~missing + 1)), "\" in \"",
                              std::string(name), "\""));
  }
  const uint64_t zeros = std::min(event.zero_bytes, kZerosWritten);
  if (zeros > 0) memset(data_.Room(zeros), 0, zeros);
  data_.Grew(zeros);
  event.zero_bytes -= zeros;
  event.data = data_.bytes();
  event.size = event.data.size() + event.zero_bytes;
  if (sized_) {
    if (size_ < event.size) return Wrong("\"size\" is less than the bytes of \"data\"");
    event.size = size_;
  }
  if ((keys & kRights) == 0) event.rights = event.fds > 0 ? 1 : 0;
  if (event.kind == EventKind::kFail && (keys & kErrno) == 0) {
    if (!again_) return Wrong("expected a key \"errno\" in \"fail\"");
    event.errno_name = "EAGAIN";
  }
  event.port = port_;
  return true;
}

bool LineParser::ReadKind(ondemand::value value, Event& event) {
  std::string_view text;
  if (!ReadText("ev", value, text)) return false;
  if (text == "again") {
    again_ = true;
    event.kind = EventKind::kFail;
    return true;
  }
  for (size_t i = 0; i < kEventNames.size(); ++i) {
    if (text == kEventNames[i]) {
      event.kind = static_cast<EventKind>(i);
      return true;
    }
  }
  return Wrong(absl::StrCat("unknown event \"", std::string(text),
                            "\"; expected open, send, recv, fail, again, eof, exit or close"));
}

bool LineParser::ReadText(std::string_view key, ondemand::value value, std::string_view& text) {
  if (value.get_string().get(text))
    return Wrong(absl::StrCat("\"", std::string(key), "\": expected a string"));
  return true;
}

bool LineParser::ReadNumber(std::string_view key, ondemand::value value, uint64_t limit,
                            uint64_t& number) {
  if (value.get_uint64().get(number) || number > limit) {
    return Wrong(
        absl::StrCat("\"", std::string(key), "\": expected a whole number from 0 to ", limit));
  }
  return true;
}

bool LineParser::ReadTime(ondemand::value value, Event& event) {
  double seconds = 0;
  if (value.get_double().get(seconds) || !(std::abs(seconds) <= kSecondsMax)) {
    return Wrong("\"time\": expected seconds, at most 1e12");
  }
  event.time_us = std::llround(seconds * kMicrosecond);
  return true;
}

bool LineParser::ReadFlags(ondemand::value value, Event& event) {
  ondemand::array flags;
  if (value.get_array().get(flags)) return Wrong("\"flags\": expected a list");
  for (auto flag : flags) {
    std::string_view text;
    if (flag.get_string().get(text)) return Wrong("\"flags\": expected strings");
    if (text == "trunc") {
      event.truncated = true;
    } else if (text == "ctrunc") {
      event.ctrl_truncated = true;
    } else {
      return Wrong(absl::StrCat("\"flags\": unknown flag \"", std::string(text),
                                "\"; expected trunc or ctrunc"));
    }
  }
  return true;
}

bool LineParser::ReadField(std::string_view key, ondemand::value value, Event& event) {
  uint32_t bit = 0;
  for (const auto& [name, known] : kKeys) {
    if (name == key) {
      bit = known;
      break;
    }
  }
  if (bit == 0) return Wrong(absl::StrCat("unknown key \"", std::string(key), "\""));
  if ((seen_ & bit) != 0) return Wrong(absl::StrCat("key \"", std::string(key), "\" stands twice"));
  seen_ |= bit;
  uint64_t number = 0;
  std::string_view text;
  switch (static_cast<Key>(bit)) {
    case kEv:
      return ReadKind(value, event);
    case kPort:
      if (!ReadText(key, value, text)) return false;
      port_.assign(text);
      return !port_.empty() || Wrong("\"port\": expected a name");
    case kTime:
      return ReadTime(value, event);
    case kPid:
    case kTid:
    case kCredPid:
      if (!ReadNumber(key, value, INT32_MAX, number)) return false;
      (bit == kPid   ? event.pid
       : bit == kTid ? event.tid
                     : event.cred_pid) = static_cast<int32_t>(number);
      return true;
    case kData:
      if (!ReadText(key, value, text)) return false;
      return DecodeHex(text, data_) || Wrong("\"data\": expected pairs of hex digits");
    case kFds:
    case kRights:
    case kIov:
    case kMaxSize:
    case kMaxShare:
      if (!ReadNumber(key, value, UINT32_MAX, number)) return false;
      (bit == kFds       ? event.fds
       : bit == kRights  ? event.rights
       : bit == kIov     ? event.iov
       : bit == kMaxSize ? event.max_size
                         : event.max_share) = static_cast<uint32_t>(number);
      return true;
    case kSegmentBytes:
      return ReadNumber(key, value, INT64_MAX, event.segment_bytes);
    case kDataZero:
      return ReadNumber(key, value, kDatagramBytesMax, event.zero_bytes);
    case kSize:
      sized_ = true;
      return ReadNumber(key, value, kDatagramBytesMax, size_);
    case kFlags:
      return ReadFlags(value, event);
    case kErrno:
      if (!ReadText(key, value, text)) return false;
      errno_.assign(text);
      event.errno_name = errno_;
      return true;
    case kKind:
      if (!ReadText(key, value, text)) return false;
      event.dgram = text == "dgram";
      return event.dgram || text == "seqpacket" || Wrong("\"kind\": expected seqpacket or dgram");
    case kKilled:
      if (value.get_bool().get(event.killed)) return Wrong("\"killed\": expected true or false");
      return true;
  }
  return false;
}

absl::Status ReadFirstLine(std::string_view line, ondemand::parser& parser, TraceInfo& info) {
  const auto wrong = [](const std::string& what) { return absl::InvalidArgumentError(what); };
  ondemand::document document;
  const simdjson::padded_string_view padded(line.data(), line.size(),
                                            line.size() + LineSource::kPadding);
  ondemand::object object;
  auto error = parser.iterate(padded).get(document);
  if (!error) error = document.get_object().get(object);
  bool versioned = false;
  if (!error) {
    for (auto field : object) {
      std::string_view key;
      std::string_view text;
      ondemand::value value;
      if ((error = field.unescaped_key().get(key)) || (error = field.value().get(value))) break;
      if (key == "portproof") {
        uint64_t version = 0;
        if (value.get_uint64().get(version) || version != 1)
          return wrong("\"portproof\": expected format 1");
        versioned = true;
      } else if (key == "profile") {
        if (value.get_string().get(text)) return wrong("\"profile\": expected a name");
        info.profile.assign(text);
      } else if (key == "byte_order") {
        if (value.get_string().get(text) || (text != "little" && text != "big")) {
          return wrong("\"byte_order\": expected little or big");
        }
        info.byte_order = text == "little" ? ByteOrder::kLittle : ByteOrder::kBig;
      } else {
        return wrong(absl::StrCat("unknown key \"", std::string(key), "\""));
      }
    }
  }
  if (error || !versioned || !AtEnd(document)) {
    return wrong("expected {\"portproof\":1,\"profile\":\"unit-X.Y.Z\",\"byte_order\":\"little\"}");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadJsonLines(LineSource& lines, const std::string& name,
                           const std::function<absl::Status(const TraceInfo&)>& on_info,
                           EventSink& sink, ReadLog& log) {
  LineParser parser;
  TraceInfo info;
  std::string_view line;
  if (!lines.Next(line))
    return absl::InvalidArgumentError(absl::StrCat(name, ": line 1: is empty, expected a trace"));
  absl::Status first = ReadFirstLine(line, parser.parser(), info);
  if (first.ok()) first = on_info(info);
  if (!first.ok())
    return absl::InvalidArgumentError(absl::StrCat(name, ": line 1: ", first.message()));
  while (lines.Next(line)) {
    const uint64_t number = lines.line_number();
    if ((number & (kProgressLines - 1)) == 0 && log.progress)
      log.progress(lines.bytes_read(), lines.file_bytes());
    if (line.empty() || line == "\r") continue;
    Event event;
    const bool good = !lines.overlong() && parser.Parse(line, event);
    event.line = number;
    if (!good) {
      log.Damaged("", number,
                  lines.overlong()
                      ? absl::StrCat("longer than ", LineSource::kLineBytesMax, " bytes")
                      : parser.wrong());
      event = Event();
      event.kind = EventKind::kDamage;
      event.line = number;
      event.port = parser.port();
    }
    sink.OnEvent(event);
  }
  log.lines = lines.line_number();
  if (!lines.trouble().empty()) log.Damaged("", lines.line_number() + 1, lines.trouble());
  return absl::OkStatus();
}

namespace {

void AppendHex(std::span<const uint8_t> bytes, std::string& hex) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  hex.resize(bytes.size() * 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    hex[2 * i] = kDigits[bytes[i] >> 4];
    hex[2 * i + 1] = kDigits[bytes[i] & 15];
  }
}

}  // namespace

JsonLinesWriter::JsonLinesWriter(std::function<void(std::string_view)> write, const TraceInfo& info)
    : write_(std::move(write)) {
  nlohmann::ordered_json first;
  first["portproof"] = 1;
  if (!info.profile.empty()) first["profile"] = info.profile;
  first["byte_order"] = info.byte_order == ByteOrder::kLittle ? "little" : "big";
  write_(first.dump() + "\n");
}

void JsonLinesWriter::OnEvent(const Event& event) {
  if (event.kind == EventKind::kDamage) return;
  nlohmann::ordered_json json;
  json["ev"] = kEventNames[static_cast<size_t>(event.kind)];
  if (!event.port.empty()) json["port"] = event.port;
  if (event.time_us != kNoTime) json["time"] = static_cast<double>(event.time_us) / kMicrosecond;
  if (event.kind == EventKind::kOpen) {
    if (event.max_size != 0) json["max_size"] = event.max_size;
    if (event.max_share != 0) json["max_share"] = event.max_share;
    json["kind"] = event.dgram ? "dgram" : "seqpacket";
    write_(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    return;
  }
  if (event.pid != kNoPid) json["pid"] = event.pid;
  if (event.tid != kNoPid && event.kind != EventKind::kExit) json["tid"] = event.tid;
  if (event.kind == EventKind::kFail) json["errno"] = event.errno_name;
  if (event.kind == EventKind::kSend || event.kind == EventKind::kRecv) {
    AppendHex(event.data, hex_);
    json["data"] = hex_;
    if (event.zero_bytes != 0) json["data_zero"] = event.zero_bytes;
    if (!IsWhole(event)) json["size"] = event.size;
    if (event.fds != 0) json["fds"] = event.fds;
    if (event.rights != (event.fds > 0 ? 1 : 0)) json["rights"] = event.rights;
    if (event.iov != 0) json["iov"] = event.iov;
    if (event.segment_bytes != 0) json["segment_bytes"] = event.segment_bytes;
    if (event.cred_pid != kNoPid) json["cred_pid"] = event.cred_pid;
    if (event.killed) json["killed"] = true;
    if (event.truncated) json["flags"].push_back("trunc");
    if (event.ctrl_truncated) json["flags"].push_back("ctrunc");
  }
  write_(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace portproof
