#include "oracle/suite/verdict.h"

namespace portproof::suite {

std::string_view Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "PASS";
    case Verdict::kFail:
      return "FAIL";
    case Verdict::kNotReached:
      return "NOT-REACHED";
    case Verdict::kXfail:
      return "XFAIL";
    case Verdict::kXpass:
      return "XPASS";
    case Verdict::kUnsupported:
      return "UNSUPPORTED";
    case Verdict::kCrash:
      return "CRASH";
    case Verdict::kTimeout:
      return "TIMEOUT";
    case Verdict::kLeak:
      return "LEAK";
    case Verdict::kSuiteError:
      return "SUITE-ERROR";
  }
  return "";
}

}  // namespace portproof::suite
