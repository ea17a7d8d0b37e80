// Which classes of cases a property reached, and how often; a class that is needed
// and was reached in fewer than a tenth of the runs is a failure.
//   shapes    classes by name; a run counts a class once, however often it is met
//   returns   Expect: fails the test for each class below the floor
//   holds     a counter for each class
//   rules     none
//   source    none
#ifndef PORTPROOF_PROPS_FLOORS_H_
#define PORTPROOF_PROPS_FLOORS_H_

#include <gtest/gtest.h>

#include <initializer_list>
#include <map>
#include <set>
#include <string>

namespace portproof {

class Floors {
 public:
  // Call at the beginning of each run.
  void Begin() {
    ++runs_;
    in_this_run_.clear();
  }
  void Reached(const std::string& name) {
    if (in_this_run_.insert(name).second) ++count_[name];
  }
  void Expect(std::initializer_list<const char*> names) {
    for (const char* name : names) {
      EXPECT_GE(count_[name] * 10, runs_) << name << ": " << count_[name] << " of " << runs_;
      std::printf("  %3d%% %s\n", 100 * count_[name] / (runs_ > 0 ? runs_ : 1), name);
    }
  }
  // Seldom, as what has several causes at once is.
  void ExpectSome(std::initializer_list<const char*> names) {
    for (const char* name : names) EXPECT_GE(count_[name], 5) << name << " of " << runs_;
  }

 private:
  int runs_ = 0;
  std::map<std::string, int> count_;
  std::set<std::string> in_this_run_;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_FLOORS_H_
