// A case's recorded datagrams as a trace: for people, for `check`, for the checker.
//   shapes    the record of a Link; ports are "a" (to the testee) and "b" (from it)
//   returns   DumpRecord: the last lines of what `dump` prints. WriteRecord: an error text,
//             empty if the file was written; `check` reads it
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_CASE_TRACE_H_
#define PORTPROOF_ORACLE_SUITE_CASE_TRACE_H_

#include <string>
#include <vector>

#include "oracle/suite/link.h"
#include "oracle/trace.h"
#include "protocol/profile.h"

namespace portproof::suite {

// `port` 0: both.
void ReplayRecord(const std::vector<Recorded>& record, char port, EventSink& sink);
std::vector<std::string> DumpRecord(const std::vector<Recorded>& record, const Profile& profile);
std::string WriteRecord(const std::vector<Recorded>& record, const std::string& profile,
                        const std::string& directory, const std::string& name);

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_CASE_TRACE_H_
