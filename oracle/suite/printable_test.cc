#include "oracle/suite/printable.h"

#include <gtest/gtest.h>

namespace portproof::suite {
namespace {

TEST(Printable, LeavesTextAlone) {
  EXPECT_EQ(Printable(""), "");
  EXPECT_EQ(Printable("a testee, \"quoted\" \\ and all"), "a testee, \"quoted\" \\ and all");
  EXPECT_EQ(Printable("gr\u00fc\u00dfe \u20ac \U0001f600"), "gr\u00fc\u00dfe \u20ac \U0001f600");
}

TEST(Printable, ShowsControlCharacters) {
  EXPECT_EQ(Printable(std::string_view("\0\x1b[31m\x7f\n", 8)), "\\x00\\x1b[31m\\x7f\\x0a");
  EXPECT_EQ(Printable("a\n\tb\r", true), "a\n\tb\\x0d");
  EXPECT_EQ(Printable("\xc2\x85"), "\\xc2\\x85");  // a control character of two bytes
}

TEST(Printable, ShowsWhatIsNoCharacter) {
  EXPECT_EQ(Printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(Printable("\xc0\x80"), "\\xc0\\x80");                    // longer than it need be
  EXPECT_EQ(Printable("\xe0\x80\x80"), "\\xe0\\x80\\x80");           // the same
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // half of a pair
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond the last
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");                    // cut off
  EXPECT_EQ(Printable("\xc3("), "\\xc3(");
}

}  // namespace
}  // namespace portproof::suite
