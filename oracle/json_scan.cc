#include "oracle/json_scan.h"

#include "oracle/cursor.h"
#include "oracle/digits.h"
#include "oracle/hex.h"
#include "oracle/json_keys.h"

namespace portproof {
namespace {

// A whole number as JSON writes it, of at most 18 digits.
bool ScanNumber(Cursor& cursor, uint64_t limit, uint64_t& number) {
  const char first = cursor.Done() ? ' ' : *cursor.at;
  const size_t digits = ReadDigits(cursor, number);
  return digits > 0 && digits < kDigitsMax && (digits == 1 || first != '0') && number <= limit;
}

template <typename Number>
bool ScanInto(Cursor& cursor, uint64_t limit, Number& field) {
  uint64_t number = 0;
  if (!ScanNumber(cursor, limit, number)) return false;
  field = static_cast<Number>(number);
  return true;
}

// With so few digits the nearest double times a million rounds to the same microsecond.
bool ScanTime(Cursor& cursor, Event& event) {
  constexpr uint64_t kSecondsMax = INT32_MAX;
  uint64_t seconds = 0;
  if (!ScanNumber(cursor, kSecondsMax, seconds)) return false;
  uint64_t fraction = 0;
  if (cursor.Eat('.')) {
    constexpr size_t kDecimals = 6;
    const size_t digits = ReadDigits(cursor, fraction);
    if (digits == 0 || digits > kDecimals) return false;
    fraction *= kPowersOfTen[kDecimals - digits];
  }
  event.time_us = static_cast<int64_t>(seconds * 1000000 + fraction);
  return true;
}

// Printable ASCII without escapes, and the quote behind it.
bool ScanText(Cursor& cursor, std::string_view& text) {
  const char* at = cursor.at;
  while (at < cursor.end && *at >= ' ' && *at <= '~' && *at != '"' && *at != '\\') ++at;
  text = {cursor.at, static_cast<size_t>(at - cursor.at)};
  cursor.at = at;
  return cursor.Eat('"');
}

bool ScanData(Cursor& cursor, ByteBuffer& data) {
  const auto room = static_cast<size_t>(cursor.end - cursor.at) / 2 + 1;
  const char* stop = DecodeHexRun(cursor.at, cursor.end, data.Room(room));
  data.Grew(static_cast<size_t>(stop - cursor.at) / 2);
  cursor.at = stop;
  return cursor.Eat('"');
}

bool ScanKind(Cursor& cursor, Event& event, JsonFields& fields) {
  using enum EventKind;
  if (cursor.Eat("send\"")) {
    event.kind = kSend;
  } else if (cursor.Eat("recv\"")) {
    event.kind = kRecv;
  } else if (cursor.Eat("again\"")) {
    event.kind = kFail;
    fields.again = true;
  } else {
    std::string_view name;
    if (!ScanText(cursor, name)) return false;
    size_t kind = 0;
    while (kind < kJsonEventNames.size() && kJsonEventNames[kind] != name) ++kind;
    if (kind == kJsonEventNames.size()) return false;
    event.kind = static_cast<EventKind>(kind);
  }
  return true;
}

// A key, from behind its opening quote, with its colon; 0 where it is none of these.
uint32_t ScanKey(Cursor& cursor) {
  using namespace json;
  if (cursor.Done()) return 0;
  switch (*cursor.at) {
    case 'c':
      return cursor.Eat("cred_pid\":") ? kCredPid : 0U;
    case 'd':
      return cursor.Eat("data\":\"") ? kData : cursor.Eat("data_zero\":") ? kDataZero : 0U;
    case 'e':
      return cursor.Eat("ev\":\"") ? kEv : cursor.Eat("errno\":\"") ? kErrno : 0U;
    case 'f':
      return cursor.Eat("fds\":") ? kFds : 0U;
    case 'i':
      return cursor.Eat("iov\":") ? kIov : 0U;
    case 'm':
      return cursor.Eat("max_size\":") ? kMaxSize : cursor.Eat("max_share\":") ? kMaxShare : 0U;
    case 'p':
      return cursor.Eat("port\":\"")    ? kPort
             : cursor.Eat("pid\":")     ? kPid
             : cursor.Eat("pending\":") ? kPending
                                        : 0U;
    case 'r':
      return cursor.Eat("rights\":") ? kRights : 0U;
    case 's':
      return cursor.Eat("size\":") ? kSize : cursor.Eat("segment_bytes\":") ? kSegmentBytes : 0U;
    case 't':
      return cursor.Eat("time\":") ? kTime : cursor.Eat("tid\":") ? kTid : 0U;
    default:
      return 0;
  }
}

bool ScanValue(uint32_t key, Cursor& cursor, Event& event, JsonFields& fields) {
  using namespace json;
  switch (key) {
    case kEv:
      return ScanKind(cursor, event, fields);
    case kPort:
      return ScanText(cursor, fields.port) && !fields.port.empty();
    case kTime:
      return ScanTime(cursor, event);
    case kPid:
      return ScanInto(cursor, INT32_MAX, event.pid);
    case kTid:
      return ScanInto(cursor, INT32_MAX, event.tid);
    case kCredPid:
      return ScanInto(cursor, INT32_MAX, event.cred_pid);
    case kData:
      return ScanData(cursor, fields.data);
    case kDataZero:
      return ScanInto(cursor, kJsonDatagramBytesMax, event.zero_bytes);
    case kSize:
      return ScanInto(cursor, kJsonDatagramBytesMax, fields.size);
    case kFds:
      return ScanInto(cursor, UINT32_MAX, event.fds);
    case kRights:
      return ScanInto(cursor, UINT32_MAX, event.rights);
    case kIov:
      return ScanInto(cursor, UINT32_MAX, event.iov);
    case kMaxSize:
      return ScanInto(cursor, UINT32_MAX, event.max_size);
    case kMaxShare:
      return ScanInto(cursor, UINT32_MAX, event.max_share);
    case kSegmentBytes:
      return ScanInto(cursor, INT64_MAX, event.segment_bytes);
    case kPending:
      return ScanInto(cursor, INT64_MAX, event.pending);
    case kErrno:
      return ScanText(cursor, event.errno_name);
    default:
      return false;
  }
}

// How nearly all sends and receives begin, without a question at each key. False: the
// line begins otherwise, and what was found of it counts for nothing.
bool ScanUsualStart(Cursor& cursor, Event& event, JsonFields& fields) {
  using namespace json;
  const bool send = cursor.Eat("{\"ev\":\"send\",\"port\":\"");
  if (!send && !cursor.Eat("{\"ev\":\"recv\",\"port\":\"")) return false;
  event.kind = send ? EventKind::kSend : EventKind::kRecv;
  fields.seen = kEv | kPort | kTime | kPid | kTid | kData;
  return ScanText(cursor, fields.port) && !fields.port.empty() && cursor.Eat(",\"time\":") &&
         ScanTime(cursor, event) && cursor.Eat(",\"pid\":") &&
         ScanInto(cursor, INT32_MAX, event.pid) && cursor.Eat(",\"tid\":") &&
         ScanInto(cursor, INT32_MAX, event.tid) && cursor.Eat(",\"data\":\"") &&
         ScanData(cursor, fields.data);
}

}  // namespace

bool ScanCanonical(std::string_view line, Event& event, JsonFields& fields) {
  Cursor cursor(line);
  if (ScanUsualStart(cursor, event, fields)) {
    if (cursor.Eat('}')) return cursor.Done();
    if (!cursor.Eat(",\"")) return false;
  } else {
    cursor = Cursor(line);
    fields.Clear();
    if (!cursor.Eat("{\"")) return false;
  }
  while (true) {
    const uint32_t key = ScanKey(cursor);
    if (key == 0 || (fields.seen & key) != 0) return false;
    fields.seen |= key;
    if (!ScanValue(key, cursor, event, fields)) return false;
    if (cursor.Eat(",\"")) continue;
    return cursor.Eat('}') && cursor.Done();
  }
}

}  // namespace portproof
