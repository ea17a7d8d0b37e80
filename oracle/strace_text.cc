#include "oracle/strace_text.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "oracle/digits.h"
#include "oracle/hex.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace portproof {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsNameChar(char c) { return IsDigit(c) || c == '_' || (c >= 'a' && c <= 'z'); }

// strace escapes whatever cannot be printed.
bool IsPrintable(char c) { return c >= ' ' && c <= '~'; }

bool AllPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), IsPrintable);
}

void SkipSpaces(Cursor& cursor) {
  while (cursor.at < cursor.end && *cursor.at == ' ') ++cursor.at;
}

// Up to six digits behind a '.', as microseconds.
int64_t ParseFraction(Cursor& cursor) {
  constexpr size_t kDecimals = 6;
  Cursor six = cursor;
  uint64_t number = 0;
  size_t digits = ReadDigits(cursor, number);
  if (digits > kDecimals) {
    six.end = six.at + kDecimals;
    digits = ReadDigits(six, number);
  }
  return static_cast<int64_t>(number * kPowersOfTen[kDecimals - digits]);
}

constexpr int64_t kSecondUs = 1000000;
constexpr uint64_t kSecondsMax = 1000000000000;  // keeps microseconds within 63 bits

// "1795402788.240449 " or "06:15:59.123456 "; the cursor stands on its first digit.
bool ParseTime(Cursor& cursor, StraceLine& line) {
  uint64_t first = 0;
  line.time_base = TimeBase::kEpoch;
  line.whole_seconds = true;
  if (!ParseUnsigned(cursor, first) || first > kSecondsMax) return false;
  int64_t us = static_cast<int64_t>(first) * kSecondUs;
  if (cursor.Eat(':')) {
    uint64_t minutes = 0;
    uint64_t seconds = 0;
    if (!ParseUnsigned(cursor, minutes) || !cursor.Eat(':') || !ParseUnsigned(cursor, seconds))
      return false;
    if (first > 23 || minutes > 59 || seconds > 60) return false;
    us = static_cast<int64_t>((first * 60 + minutes) * 60 + seconds) * kSecondUs;
    line.time_base = TimeBase::kMidnight;
  } else if (cursor.at == cursor.end || *cursor.at != '.') {
    return cursor.Eat(' ') &&
           (line.time_us = us, true);  // -t -t -t without fraction, or a bare number
  }
  if (cursor.Eat('.')) {
    us += ParseFraction(cursor);
    line.whole_seconds = false;
  }
  line.time_us = us;
  return cursor.Eat(' ');
}

// "<command>" behind a pid: strace -Y.
bool SkipCommand(Cursor& cursor) {
  if (!cursor.Eat('<')) return true;
  while (cursor.at < cursor.end && *cursor.at != '>') ++cursor.at;
  return cursor.Eat('>');
}

// The pid column or "[pid N]"; both may be missing.
bool ParsePid(Cursor& cursor, StraceLine& line) {
  uint64_t number = 0;
  if (cursor.Eat("[pid ")) {
    SkipSpaces(cursor);
    if (!ParseUnsigned(cursor, number) || number > INT32_MAX) return false;
    if (!SkipCommand(cursor) || !cursor.Eat("] ")) return false;
    line.tid = static_cast<int32_t>(number);
    return true;
  }
  if (cursor.Done() || !IsDigit(*cursor.at)) return true;
  Cursor ahead = cursor;
  if (!ParseUnsigned(ahead, number)) return false;
  const bool named = ahead.at < ahead.end && *ahead.at == '<';
  if (!SkipCommand(ahead)) return false;
  if (ahead.Done() || *ahead.at != ' ') return !named;
  if (number > INT32_MAX) return false;
  line.tid = static_cast<int32_t>(number);
  line.column = static_cast<size_t>(ahead.at - cursor.at);
  cursor = ahead;
  return true;
}

// strace -r pads the seconds since the last line to six characters. Other times have no padding.
bool IsRelative(size_t padding, const Cursor& cursor) {
  constexpr size_t kSecondsWidth = 6;
  const char* point = cursor.at;
  while (point < cursor.end && IsDigit(*point)) ++point;
  return padding > 0 && point < cursor.end && *point == '.' &&
         padding + static_cast<size_t>(point - cursor.at) == kSecondsWidth;
}

// "[  47] ", the number of a call (-n), or "[00007f0f1b2c3d4e] ", an address (-i).
bool SkipBracket(Cursor& cursor) {
  constexpr std::string_view kInside = "0123456789abcdef ?";
  Cursor ahead = cursor;
  if (!ahead.Eat('[')) return false;
  while (ahead.at < ahead.end && kInside.find(*ahead.at) != std::string_view::npos) ++ahead.at;
  if (!ahead.Eat("] ")) return false;
  cursor = ahead;
  return true;
}

// What stands before the call: pid, times, number, address; all may be missing.
bool ParsePrefix(Cursor& cursor, StraceLine& line) {
  constexpr size_t kPidWidth = 5;  // to which strace pads a pid, before the space behind it
  if (!ParsePid(cursor, line)) return false;
  const size_t pid_width = line.column;
  const size_t behind_pid = pid_width == 0 ? 0 : std::max(kPidWidth, pid_width) + 1 - pid_width;
  const char* spaces = cursor.at;
  SkipSpaces(cursor);
  const auto space_count = static_cast<size_t>(cursor.at - spaces);
  if (pid_width > 0) line.column += space_count;
  if (cursor.at < cursor.end && IsDigit(*cursor.at)) {
    const bool relative = space_count > behind_pid && IsRelative(space_count - behind_pid, cursor);
    if (!ParseTime(cursor, line)) return false;
    if (relative) line.time_base = TimeBase::kLastLine;
  }
  if (cursor.Eat("(+")) {  // both -r and a time of its own
    while (cursor.at < cursor.end && *cursor.at != ')') ++cursor.at;
    if (!cursor.Eat(") ")) return false;
  }
  while (SkipBracket(cursor)) {
  }
  SkipSpaces(cursor);
  return true;
}

constexpr std::string_view kUnfinished = " <unfinished ...>";
constexpr std::string_view kNeverReturned = " <unfinished ...>) = ?";
constexpr std::string_view kDetached = " <detached ...>";

// Removes the mark of a call that the recorder saw no end of; false: there is none.
bool CutAbandoned(std::string_view& args) {
  for (const std::string_view mark : {kNeverReturned, kDetached}) {
    if (!args.ends_with(mark)) continue;
    args.remove_suffix(mark.size());
    return true;
  }
  return false;
}

// "+++ exited with 0 +++" and the like.
LineKind KindOfPlus(std::string_view text) {
  if (!text.ends_with(" +++")) return LineKind::kBad;
  if (text.starts_with("+++ exited with ")) return LineKind::kExited;
  if (text.starts_with("+++ killed by ")) return LineKind::kKilled;
  return LineKind::kNoise;
}

// The name of a call and what stands behind it; the commonest two at once.
template <size_t kSize>
bool SplitName(Cursor& cursor, const char (&behind)[kSize], StraceLine& line) {
  const char* name = cursor.at;
  if (!cursor.Eat("recvmsg")) cursor.Eat("sendmsg");
  while (cursor.at < cursor.end && IsNameChar(*cursor.at)) ++cursor.at;
  line.name = {name, static_cast<size_t>(cursor.at - name)};
  return !line.name.empty() && cursor.Eat(behind);
}

void SplitResumed(Cursor& cursor, StraceLine& line) {
  if (!SplitName(cursor, " resumed>", line)) return;
  line.args = cursor.Rest();
  line.abandoned = CutAbandoned(line.args);
  line.kind = LineKind::kResumed;
}

void SplitCall(Cursor& cursor, StraceLine& line) {
  if (!SplitName(cursor, "(", line)) return;
  line.args = cursor.Rest();
  line.kind = LineKind::kCall;
  if (line.args.ends_with('>') && line.args.ends_with(kUnfinished)) {
    line.kind = LineKind::kUnfinished;
    line.args.remove_suffix(kUnfinished.size());
  } else if (CutAbandoned(line.args)) {
    line.abandoned = true;
    line.kind = LineKind::kUnfinished;
  }
}

#ifdef __SSE2__
// Sixteen characters "\xHH\xHH\xHH\xHH" to four bytes; false where they are not that.
inline bool DecodeFour(const char* at, uint8_t* out) {
  const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m128i frame = _mm_set1_epi32(0x0000785c);  // 'x' '\'
  const __m128i frame_mask = _mm_set1_epi32(0x0000ffff);
  const __m128i framed = _mm_cmpeq_epi32(_mm_and_si128(text, frame_mask), frame);
  // '0'-'9' and 'a'-'f' to 0-15; bytes outside are caught below.
  const __m128i digits = _mm_srli_epi32(text, 16);
  const __m128i letter = _mm_cmpgt_epi8(digits, _mm_set1_epi8('9'));
  const __m128i value = _mm_sub_epi8(_mm_sub_epi8(digits, _mm_set1_epi8('0')),
                                     _mm_and_si128(letter, _mm_set1_epi8('a' - '0' - 10)));
  const __m128i bad_digit = _mm_or_si128(_mm_cmpgt_epi8(value, _mm_set1_epi8(15)),
                                         _mm_cmplt_epi8(value, _mm_setzero_si128()));
  const __m128i bad_letter = _mm_and_si128(letter, _mm_cmplt_epi8(digits, _mm_set1_epi8('a')));
  const __m128i half = _mm_set1_epi32(0x0000ffff);
  const __m128i bad = _mm_and_si128(_mm_or_si128(bad_digit, bad_letter), half);
  if (_mm_movemask_epi8(framed) != 0xffff ||
      _mm_movemask_epi8(_mm_cmpeq_epi8(bad, _mm_setzero_si128())) != 0xffff) {
    return false;
  }
  // Each lane holds high | low << 8: high * 16 + low in its low byte.
  const __m128i high = _mm_slli_epi32(_mm_and_si128(value, _mm_set1_epi32(0x0f)), 4);
  const __m128i low = _mm_and_si128(_mm_srli_epi32(value, 8), _mm_set1_epi32(0x0f));
  __m128i bytes = _mm_or_si128(high, low);
  bytes = _mm_packs_epi32(bytes, bytes);
  bytes = _mm_packus_epi16(bytes, bytes);
  const int four = _mm_cvtsi128_si32(bytes);
  memcpy(out, &four, 4);
  return true;
}
#endif

// The run of \xHH at the cursor; stops at anything else.
void DecodeHexRun(Cursor& cursor, ByteBuffer& bytes) {
  uint8_t* const room = bytes.Room(static_cast<size_t>(cursor.end - cursor.at) / 4 + 4);
  uint8_t* out = room;
#ifdef __SSE2__
  while (cursor.end - cursor.at >= 16 && DecodeFour(cursor.at, out)) {
    cursor.at += 16;
    out += 4;
  }
#endif
  while (cursor.end - cursor.at >= 4 && cursor.at[0] == '\\' && cursor.at[1] == 'x') {
    const int value = HexPair(cursor.at + 2);
    if (value < 0) break;
    *out++ = static_cast<uint8_t>(value);
    cursor.at += 4;
  }
  bytes.Grew(static_cast<size_t>(out - room));
}

// Behind a backslash.
bool DecodeEscape(Cursor& cursor, ByteBuffer& bytes) {
  if (cursor.Done()) return false;
  const char c = *cursor.at;
  if (c >= '0' && c <= '7') {
    int value = 0;
    for (int i = 0; i < 3 && cursor.at < cursor.end && *cursor.at >= '0' && *cursor.at <= '7';
         ++i) {
      value = value * 8 + (*cursor.at++ - '0');
    }
    bytes.Push(static_cast<uint8_t>(value));
    return value < 256;
  }
  ++cursor.at;
  constexpr std::string_view kFrom = "tnvfra\"\\b'<>";
  constexpr std::string_view kTo = "\t\n\v\f\r\a\"\\\b'<>";
  const size_t index = kFrom.find(c);
  if (index == std::string_view::npos) return false;
  bytes.Push(static_cast<uint8_t>(kTo[index]));
  return true;
}

}  // namespace

bool ParseUnsigned(Cursor& cursor, uint64_t& value) {
  Cursor ahead = cursor;
  const size_t digits = ReadDigits(ahead, value);
  if (digits == 0 || digits > kDigitsMax) return false;
  cursor = ahead;
  return true;
}

bool ParseSigned(Cursor& cursor, int64_t& value) {
  Cursor ahead = cursor;
  const bool negative = ahead.Eat('-');
  uint64_t magnitude = 0;
  if (!ParseUnsigned(ahead, magnitude) || magnitude > INT64_MAX) return false;
  value = negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
  cursor = ahead;
  return true;
}

StraceLine SplitLine(std::string_view text) {
  StraceLine line;
  Cursor cursor(text);
  // A frame of -k begins with " > ".
  if (cursor.StandsAt("strace: ") || cursor.StandsAt("[ Process PID=") || cursor.StandsAt(" > ")) {
    line.kind = LineKind::kNoise;
    return line;
  }
  if (!ParsePrefix(cursor, line) || cursor.Done()) return line;
  switch (*cursor.at) {
    case '+':
      line.kind = KindOfPlus(cursor.Rest());
      return line;
    case '-':
      if (cursor.Rest().starts_with("--- ") && cursor.Rest().ends_with(" ---"))
        line.kind = LineKind::kNoise;
      return line;
    case '<':
      if (cursor.StandsAt("<... ?\?\? resumed>")) {
        line.kind = LineKind::kNoise;
      } else if (cursor.Eat("<... ")) {
        SplitResumed(cursor, line);
      }
      return line;
    case '?':  // strace lost the call of a thread that was killed
      if (cursor.StandsAt("?\?\?(")) line.kind = LineKind::kNoise;
      return line;
    case 's':
      if (cursor.Rest().starts_with("strace: ")) {
        line.kind = LineKind::kNoise;
        return line;
      }
      break;
    default:
      break;
  }
  SplitCall(cursor, line);
  return line;
}

bool ParseFd(Cursor& cursor, FdText& fd) {
  fd = FdText{};
  if (!ParseSigned(cursor, fd.fd)) return false;
  if (!cursor.Eat('<')) return cursor.Done() || *cursor.at == ',' || *cursor.at == ']';
  using enum FdText::Kind;
  fd.kind = kOther;
  if (cursor.Eat("UNIX:[") || cursor.Eat("UNIX-SEQPACKET:[") || cursor.Eat("socket:[")) {
    fd.kind = kUnix;
  } else if (cursor.Eat("UNIX-DGRAM:[")) {
    fd.kind = kUnixDgram;
  } else if (cursor.Eat("UNIX-STREAM:[")) {
    fd.kind = kUnixStream;
  }
  if (fd.kind != kOther) {
    if (!ParseUnsigned(cursor, fd.inode)) return false;
    if (cursor.Eat("->") && !ParseUnsigned(cursor, fd.peer)) return false;
    if (cursor.Eat(',')) {  // its address: "path", @"name"
      cursor.Eat('@');
      const char* quote = cursor.at;
      if (quote == cursor.end || *quote != '"' || !SkipValue(cursor)) return false;
    }
    return cursor.Eat("]>");
  }
  const auto* close =
      static_cast<const char*>(memchr(cursor.at, '>', static_cast<size_t>(cursor.end - cursor.at)));
  if (close == nullptr) return false;
  // "TCP:[1.2.3.4:5->1.2.3.4:6]" holds an arrow.
  while (close[-1] == '-' && close + 1 < cursor.end) {
    const char* next = static_cast<const char*>(
        memchr(close + 1, '>', static_cast<size_t>(cursor.end - close - 1)));
    if (next == nullptr) break;
    close = next;
  }
  fd.description = {cursor.at, static_cast<size_t>(close - cursor.at)};
  if (!AllPrintable(fd.description)) return false;
  cursor.at = close + 1;
  cursor.Eat("(deleted)");
  return true;
}

bool ParseString(Cursor& cursor, ByteBuffer& bytes, bool& cut) {
  if (!cursor.Eat('"')) return false;
  if (cursor.Rest().starts_with("\\x")) {
    // All of a string is in hex, or nothing of it.
    DecodeHexRun(cursor, bytes);
    if (!cursor.Eat('"')) return false;
  } else {
    while (true) {
      if (cursor.Done()) return false;
      const char c = *cursor.at++;
      if (c == '"') break;
      if (c == '\\') {
        if (!DecodeEscape(cursor, bytes)) return false;
      } else if (!IsPrintable(c)) {
        return false;
      } else {
        bytes.Push(static_cast<uint8_t>(c));
      }
    }
  }
  if (cursor.Eat("...")) cut = true;
  return true;
}

bool SkipValue(Cursor& cursor) {
  int depth = 0;
  bool quoted = false;
  const char* const start = cursor.at;
  for (; cursor.at < cursor.end; ++cursor.at) {
    const char c = *cursor.at;
    if (!IsPrintable(c)) return false;
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      if (c == '\\' && ++cursor.at == cursor.end) return false;
    } else if (c == '{' || c == '[' || c == '(') {
      ++depth;
    } else if (c == '}' || c == ']' || c == ')') {
      if (depth == 0) break;
      --depth;
    } else if (c == ',' && depth == 0) {
      break;
    }
  }
  return depth == 0 && !quoted && cursor.at != start;
}

bool ParseResult(Cursor& cursor, ResultText& result) {
  if (!cursor.Eat(')')) return false;
  SkipSpaces(cursor);
  if (!cursor.Eat("= ")) return false;
  if (cursor.Eat('?')) {
    result.unknown = true;
    if (cursor.Eat(" E")) result.errno_name = "EINTR";  // to be restarted: nothing went
    return cursor.Done() || *cursor.at == ' ' || !result.errno_name.empty();
  }
  if (!ParseSigned(cursor, result.value)) return false;
  if (!cursor.Done() && *cursor.at != ' ' && *cursor.at != '<') return false;
  if (result.value == -1) {
    if (!cursor.Eat(' ')) return false;
    if (cursor.Eat("(errno ")) {  // a number without a name: the thread died inside the call
      result.unknown = true;
      return true;
    }
    const char* name = cursor.at;
    while (cursor.at < cursor.end &&
           ((*cursor.at >= 'A' && *cursor.at <= 'Z') || IsDigit(*cursor.at)))
      ++cursor.at;
    result.errno_name = {name, static_cast<size_t>(cursor.at - name)};
    if (!result.errno_name.starts_with('E')) return false;
  }
  return true;
}

bool ParseLastResult(std::string_view args, ResultText& result) {
  for (size_t at = args.rfind(" = "); at != std::string_view::npos && at > 0;
       at = args.rfind(" = ", at - 1)) {
    size_t close = at;
    while (close > 0 && args[close] == ' ') --close;
    Cursor cursor(args.substr(close));
    if (ParseResult(cursor, result)) return true;
  }
  return false;
}

}  // namespace portproof
