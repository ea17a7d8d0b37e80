#include "oracle/json_event.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/hex.h"
#include "oracle/json_keys.h"
#include "oracle/line_source.h"

namespace portproof {

using namespace json;

namespace ondemand = simdjson::ondemand;

struct JsonEventParser::Json {
  ondemand::parser parser;
};

namespace {

static_assert(LineSource::kPadding >= simdjson::SIMDJSON_PADDING);

constexpr double kMicrosecond = 1e6;
constexpr double kSecondsMax = 1e12;
// Of "data_zero": more than any header or reference list.
constexpr uint64_t kZerosWritten = 1 << 15;

bool AtEnd(ondemand::document& document) {
  return document.current_location().error() == simdjson::OUT_OF_BOUNDS;
}

simdjson::padded_string_view Padded(std::string_view line) {
  return simdjson::padded_string_view(line.data(), line.size(), line.size() + LineSource::kPadding);
}

// The fields of one object, whatever their form.
class FieldReader {
 public:
  FieldReader(Event& event, JsonFields& fields, std::string& wrong)
      : event_(event), fields_(fields), wrong_(wrong) {}
  bool ReadField(std::string_view key, ondemand::value value);

 private:
  bool Wrong(std::string what) {
    wrong_ = std::move(what);
    return false;
  }
  bool ReadKind(ondemand::value value);
  bool ReadNumber(std::string_view key, ondemand::value value, uint64_t limit, uint64_t& number);
  template <typename Number>
  bool ReadInto(std::string_view key, ondemand::value value, uint64_t limit, Number& field) {
    uint64_t number = 0;
    if (!ReadNumber(key, value, limit, number)) return false;
    field = static_cast<Number>(number);
    return true;
  }
  bool ReadText(std::string_view key, ondemand::value value, std::string_view& text);
  bool ReadData(ondemand::value value);
  bool ReadFlags(ondemand::value value);
  bool ReadTime(ondemand::value value);

  Event& event_;
  JsonFields& fields_;
  std::string& wrong_;
};

bool FieldReader::ReadKind(ondemand::value value) {
  std::string_view text;
  if (!ReadText("ev", value, text)) return false;
  if (text == "again") {
    fields_.again = true;
    event_.kind = EventKind::kFail;
    return true;
  }
  for (size_t i = 0; i < kJsonEventNames.size(); ++i) {
    if (text == kJsonEventNames[i]) {
      event_.kind = static_cast<EventKind>(i);
      return true;
    }
  }
  return Wrong(absl::StrCat("unknown event \"", std::string(text),
                            "\"; expected open, send, recv, fail, again, eof, exit or close"));
}

bool FieldReader::ReadText(std::string_view key, ondemand::value value, std::string_view& text) {
  if (value.get_string().get(text))
    return Wrong(absl::StrCat("\"", std::string(key), "\": expected a string"));
  return true;
}

bool FieldReader::ReadNumber(std::string_view key, ondemand::value value, uint64_t limit,
                             uint64_t& number) {
  if (value.get_uint64().get(number) || number > limit) {
    return Wrong(
        absl::StrCat("\"", std::string(key), "\": expected a whole number from 0 to ", limit));
  }
  return true;
}

bool FieldReader::ReadTime(ondemand::value value) {
  double seconds = 0;
  if (value.get_double().get(seconds) || !(std::abs(seconds) <= kSecondsMax)) {
    return Wrong("\"time\": expected seconds, at most 1e12");
  }
  event_.time_us = std::llround(seconds * kMicrosecond);
  return true;
}

bool FieldReader::ReadData(ondemand::value value) {
  std::string_view text;
  if (!ReadText("data", value, text)) return false;
  const char* end = text.data() + text.size();
  const bool read = DecodeHexRun(text.data(), end, fields_.data.Room(text.size() / 2 + 1)) == end;
  fields_.data.Grew(read ? text.size() / 2 : 0);
  return read || Wrong("\"data\": expected pairs of hex digits");
}

bool FieldReader::ReadFlags(ondemand::value value) {
  ondemand::array flags;
  if (value.get_array().get(flags)) return Wrong("\"flags\": expected a list");
  for (auto flag : flags) {
    std::string_view text;
    if (flag.get_string().get(text)) return Wrong("\"flags\": expected strings");
    if (text == "trunc") {
      event_.truncated = true;
    } else if (text == "ctrunc") {
      event_.ctrl_truncated = true;
    } else {
      return Wrong(absl::StrCat("\"flags\": unknown flag \"", std::string(text),
                                "\"; expected trunc or ctrunc"));
    }
  }
  return true;
}

bool FieldReader::ReadField(std::string_view key, ondemand::value value) {
  const uint32_t bit = FindKey(key);
  if (bit == 0) return Wrong(absl::StrCat("unknown key \"", std::string(key), "\""));
  if ((fields_.seen & bit) != 0)
    return Wrong(absl::StrCat("key \"", std::string(key), "\" stands twice"));
  fields_.seen |= bit;
  std::string_view text;
  switch (static_cast<Key>(bit)) {
    case kEv:
      return ReadKind(value);
    case kPort:
      if (!ReadText(key, value, text)) return false;
      fields_.port = text;
      return !text.empty() || Wrong("\"port\": expected a name");
    case kTime:
      return ReadTime(value);
    case kPid:
    case kTid:
    case kCredPid:
      return ReadInto(key, value, INT32_MAX,
                      bit == kPid   ? event_.pid
                      : bit == kTid ? event_.tid
                                    : event_.cred_pid);
    case kData:
      return ReadData(value);
    case kFds:
    case kRights:
    case kIov:
    case kMaxSize:
    case kMaxShare:
      return ReadInto(key, value, UINT32_MAX,
                      bit == kFds       ? event_.fds
                      : bit == kRights  ? event_.rights
                      : bit == kIov     ? event_.iov
                      : bit == kMaxSize ? event_.max_size
                                        : event_.max_share);
    case kSegmentBytes:
      return ReadNumber(key, value, INT64_MAX, event_.segment_bytes);
    case kPending:
      return ReadNumber(key, value, INT64_MAX, event_.pending);
    case kDataZero:
      return ReadNumber(key, value, kJsonDatagramBytesMax, event_.zero_bytes);
    case kSize:
      return ReadNumber(key, value, kJsonDatagramBytesMax, fields_.size);
    case kFlags:
      return ReadFlags(value);
    case kErrno:
      if (!ReadText(key, value, text)) return false;
      event_.errno_name = text;
      return true;
    case kKind:
      if (!ReadText(key, value, text)) return false;
      event_.dgram = text == "dgram";
      return event_.dgram || text == "seqpacket" || Wrong("\"kind\": expected seqpacket or dgram");
    case kKilled:
      if (value.get_bool().get(event_.killed)) return Wrong("\"killed\": expected true or false");
      return true;
  }
  return false;
}

}  // namespace

JsonEventParser::JsonEventParser(bool scan) : scan_(scan), json_(std::make_unique<Json>()) {}

JsonEventParser::~JsonEventParser() = default;

bool JsonEventParser::Wrong(std::string what) {
  wrong_ = std::move(what);
  return false;
}

bool JsonEventParser::Parse(std::string_view line, Event& event) {
  fields_.Clear();
  if (scan_ && ScanCanonical(line, event, fields_)) return Complete(event);
  event = Event();
  fields_.Clear();
  return ParseAny(line, event) && Complete(event);
}

bool JsonEventParser::ParseAny(std::string_view line, Event& event) {
  wrong_.clear();
  ondemand::document document;
  auto error = json_->parser.iterate(Padded(line)).get(document);
  ondemand::object object;
  if (!error) error = document.get_object().get(object);
  if (error) return Wrong(absl::StrCat("expected an object: ", simdjson::error_message(error)));
  FieldReader reader(event, fields_, wrong_);
  for (auto field : object) {
    std::string_view key;
    ondemand::value value;
    if ((error = field.unescaped_key().get(key))) break;
    if ((error = field.value().get(value))) break;
    if (!reader.ReadField(key, value)) return false;
  }
  if (error) return Wrong(absl::StrCat("expected a JSON object: ", simdjson::error_message(error)));
  return AtEnd(document) || Wrong("expected nothing behind the object");
}

absl::Status JsonEventParser::ParseInfo(std::string_view line, TraceInfo& info) {
  const auto wrong = [](const std::string& what) { return absl::InvalidArgumentError(what); };
  ondemand::document document;
  ondemand::object object;
  auto error = json_->parser.iterate(Padded(line)).get(document);
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

bool JsonEventParser::Complete(Event& event) {
  if ((fields_.seen & kEv) == 0) return Wrong("expected a key \"ev\"");
  const uint32_t keys = fields_.seen & ~uint32_t{kEv};
  const uint32_t extra = keys & ~AllowedKeys(event.kind);
  const std::string_view name = kJsonEventNames[static_cast<size_t>(event.kind)];
  const uint32_t first_extra = extra & (~extra + 1);
  if (extra != 0)
    return Wrong(
        absl::StrCat("unknown key \"", KeyName(first_extra), "\" in \"", std::string(name), "\""));
  const uint32_t missing = RequiredKeys(event.kind) & ~keys;
  if (missing != 0) {
    return Wrong(absl::StrCat("expected a key \"", KeyName(missing & (~missing + 1)), "\" in \"",
                              std::string(name), "\""));
  }
  const uint64_t zeros = std::min(event.zero_bytes, kZerosWritten);
  if (zeros > 0) memset(fields_.data.Room(zeros), 0, zeros);
  fields_.data.Grew(zeros);
  event.zero_bytes -= zeros;
  event.data = fields_.data.bytes();
  event.size = event.data.size() + event.zero_bytes;
  if ((keys & kSize) != 0) {
    if (fields_.size < event.size) return Wrong("\"size\" is less than the bytes of \"data\"");
    event.size = fields_.size;
  }
  if ((keys & kRights) == 0) event.rights = event.fds > 0 ? 1 : 0;
  if (event.kind == EventKind::kFail && (keys & kErrno) == 0) {
    if (!fields_.again) return Wrong("expected a key \"errno\" in \"fail\"");
    event.errno_name = "EAGAIN";
  }
  event.port = fields_.port;
  return true;
}

}  // namespace portproof
