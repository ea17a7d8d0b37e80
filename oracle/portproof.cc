// The command line. Each command is a function from its options to an exit status:
// 0 done or conforming, 1 violations, 2 usage or unreadable input, 3 internal error.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "oracle/dump.h"
#include "oracle/expectations.h"
#include "oracle/jsonl_writer.h"
#include "oracle/judge.h"
#include "oracle/line_source.h"
#include "oracle/redact.h"
#include "oracle/report.h"
#include "oracle/rule_book.h"
#include "oracle/suite/suite_command.h"

namespace portproof {
namespace {

constexpr int kDone = 0;
constexpr int kViolations = 1;
constexpr int kUnreadable = 2;
constexpr int kInternal = 3;

constexpr const char* kVersion = "portproof 0.1.0";

struct Shared {
  std::string profile = "auto";
  std::string format = "text";
  std::string from = "auto";
  std::string output = "-";
  std::string color = "auto";
  bool quiet = false;
};

struct CheckArguments {
  std::vector<std::string> traces;
  bool strict = false;
  bool follow = false;
  std::string ignore;
  std::string expect;
  uint64_t max_violations = UINT64_MAX;
};

struct RulesArguments {
  std::string format = "text";
  bool index = false;
  std::string index_of;  // empty: of all rules
};

struct ConvertArguments {
  std::string in;
  std::string out;
  bool redact = false;
};

int Fail(const absl::Status& status) {
  std::cerr << "portproof: " << status.message() << "\n";
  return kUnreadable;
}

TraceFormat FormatOf(const std::string& from) {
  if (from == "strace") return TraceFormat::kStrace;
  if (from == "jsonl") return TraceFormat::kJsonLines;
  return TraceFormat::kAuto;
}

bool UseColor(const Shared& shared) {
  if (shared.color != "auto") return shared.color == "always";
  return shared.output == "-" && isatty(STDOUT_FILENO) != 0;
}

// On a terminal a long reading says how far it is; the line is wiped at the end.
std::function<void(uint64_t, uint64_t)> Progress(const Shared& shared, const std::string& name) {
  if (shared.quiet || isatty(STDERR_FILENO) == 0) return nullptr;
  return [name](uint64_t done, uint64_t all) {
    constexpr uint64_t kMegabyte = 1000000;
    if (all > 0) {
      std::fprintf(stderr, "\r%s: %3d%% of %lu MB\x1b[K", name.c_str(),
                   static_cast<int>(100 * done / all), static_cast<unsigned long>(all / kMegabyte));
    } else {
      std::fprintf(stderr, "\r%s: %lu MB\x1b[K", name.c_str(),
                   static_cast<unsigned long>(done / kMegabyte));
    }
  };
}

void WipeProgress(const ReadOptions& options) {
  if (options.progress) std::fprintf(stderr, "\r\x1b[K");
}

int WriteOut(const std::string& text, const std::string& output, int status) {
  auto sink = TextSink::Open(output);
  if (!sink.ok()) return Fail(sink.status());
  (*sink)->Write(text);
  const absl::Status written = (*sink)->Finish();
  return written.ok() ? status : Fail(written);
}

absl::Status ParseIgnored(const std::string& list, std::array<bool, kRuleCount>& off) {
  const std::vector<std::string> ids = absl::StrSplit(list, ',', absl::SkipEmpty());
  for (const std::string& id : ids) {
    const std::optional<Rule> rule = FindRule(id);
    if (!rule)
      return absl::InvalidArgumentError(
          absl::StrCat("--ignore: unknown rule ", id, "; `portproof rules` lists them"));
    off[static_cast<size_t>(*rule)] = true;
  }
  return absl::OkStatus();
}

int Check(const Shared& shared, const CheckArguments& arguments) {
  JudgeOptions options;
  options.profile = shared.profile;
  options.read.format = FormatOf(shared.from);
  options.read.follow = arguments.follow;
  absl::Status status = ParseIgnored(arguments.ignore, options.off);
  if (!status.ok()) return Fail(status);
  std::vector<Expectation> expectations;
  if (!arguments.expect.empty()) {
    auto parsed = ParseExpectations(arguments.expect);
    if (!parsed.ok()) return Fail(parsed.status());
    expectations = *std::move(parsed);
  }
  if (arguments.follow) {
    std::signal(SIGINT, [](int) { StopFollowing(); });
    std::signal(SIGTERM, [](int) { StopFollowing(); });
  }
  std::vector<TraceReport> reports;
  bool unreadable = false;
  for (const TraceInput& input : GroupInputs(arguments.traces)) {
    options.read.progress = Progress(shared, input.name);
    auto report = Judge(input, options);
    WipeProgress(options.read);
    if (report.ok()) {
      reports.push_back(*std::move(report));
    } else {
      Fail(report.status());
      unreadable = true;
    }
  }
  const std::vector<std::string> unmet = ApplyExpectations(expectations, reports);
  ReportOptions report_options{arguments.strict, arguments.max_violations, UseColor(shared),
                               shared.quiet};
  const std::string text = shared.format == "json" ? JsonReport(reports, report_options)
                                                   : TextReport(reports, report_options);
  bool violates = !unmet.empty();
  for (const std::string& line : unmet)
    std::cerr << "portproof: " << arguments.expect << ": " << line << "\n";
  for (const TraceReport& report : reports)
    violates = violates || Violates(report, arguments.strict);
  if (unreadable && reports.empty()) return kUnreadable;
  return WriteOut(text, shared.output, unreadable ? kUnreadable : violates ? kViolations : kDone);
}

const Profile& ProfileNamed(const std::string& name) { return *ResolveProfile(name)->profile; }

void SayDamage(const TraceInput& input, const ReadLog& log) {
  for (const DamagedLine& line : log.damaged) {
    std::cerr << "portproof: " << (line.file.empty() ? input.name : line.file) << ": line "
              << line.line << " damaged: " << line.what << "\n";
  }
  if (log.damaged_count > log.damaged.size()) {
    std::cerr << "portproof: " << input.name << ": " << log.damaged_count
              << " damaged lines in all\n";
  }
}

// Standard input can be read once: it is kept in a file without a name meanwhile.
class Spooled {
 public:
  absl::StatusOr<TraceInput> Keep(const std::vector<std::string>& files) {
    std::vector<TraceInput> inputs = GroupInputs(files);
    if (inputs.size() != 1) return absl::InvalidArgumentError("expected one trace");
    if (inputs.front().files.front() != "-") return inputs.front();
    file_ = std::tmpfile();
    if (file_ == nullptr)
      return absl::UnavailableError("-: cannot keep standard input for a second reading");
    std::vector<char> buffer(size_t{1} << 16);
    size_t got = 0;
    while ((got = std::fread(buffer.data(), 1, buffer.size(), stdin)) > 0) {
      if (std::fwrite(buffer.data(), 1, got, file_) != got)
        return absl::UnavailableError("-: cannot keep standard input");
    }
    std::fflush(file_);
    return TraceInput{"-", {absl::StrCat("/proc/self/fd/", fileno(file_))}};
  }
  ~Spooled() {
    if (file_ != nullptr) std::fclose(file_);
  }

 private:
  std::FILE* file_ = nullptr;
};

int Dump(const Shared& shared, const std::vector<std::string>& files) {
  JudgeOptions options;
  options.profile = shared.profile;
  options.read.format = FormatOf(shared.from);
  Spooled spooled;
  const auto input = spooled.Keep(files);
  if (!input.ok()) return Fail(input.status());
  TraceInfo info;
  const auto settled = SettleProfile(*input, options, info);
  if (!settled.ok()) return Fail(settled.status());
  auto out = TextSink::Open(shared.output);
  if (!out.ok()) return Fail(out.status());
  Dumper dumper(ProfileNamed(settled->profile), info.byte_order,
                [&](std::string_view line) { (*out)->Write(line); });
  const auto read = ReadTrace(
      *input, options.read, [](const TraceInfo&) { return absl::OkStatus(); }, dumper);
  if (!read.ok()) return Fail(read.status());
  if (!shared.quiet) SayDamage(*input, read->log);
  const absl::Status written = (*out)->Finish();
  return written.ok() ? kDone : Fail(written);
}

// The lines of receives that were altered on their way: zeros would hide it.
absl::StatusOr<absl::flat_hash_set<uint64_t>> AlteredLines(const TraceInput& input,
                                                           const JudgeOptions& options) {
  auto report = Judge(input, options);
  if (!report.ok()) return report.status();
  absl::flat_hash_set<uint64_t> lines;
  for (const Violation& found : report->result.findings) {
    if (found.rule == Rule::kSoc3) lines.insert(found.line);
  }
  return lines;
}

int Convert(const Shared& shared, const ConvertArguments& arguments) {
  const std::string& out_name = arguments.out;
  const bool redact = arguments.redact;
  const std::string plain =
      out_name.ends_with(".zst") ? out_name.substr(0, out_name.size() - 4) : out_name;
  if (!plain.ends_with(".jsonl") && plain != "-") {
    return Fail(absl::InvalidArgumentError(
        absl::StrCat(out_name, ": expected a name ending in .jsonl or .jsonl.zst, or -")));
  }
  JudgeOptions options;
  options.profile = shared.profile;
  options.read.format = FormatOf(shared.from);
  Spooled spooled;
  const auto input = spooled.Keep({arguments.in});
  if (!input.ok()) return Fail(input.status());
  TraceInfo info;
  const auto settled = SettleProfile(*input, options, info);
  if (!settled.ok()) return Fail(settled.status());
  absl::flat_hash_set<uint64_t> altered;
  if (redact) {
    auto lines = AlteredLines(*input, options);
    if (!lines.ok()) return Fail(lines.status());
    altered = *std::move(lines);
  }
  auto out = TextSink::Open(out_name);
  if (!out.ok()) return Fail(out.status());
  JsonLinesWriter writer([&](std::string_view line) { (*out)->Write(line); }, info);
  Redactor redactor(ProfileNamed(settled->profile), info.byte_order, altered, writer);
  options.read.progress = Progress(shared, input->name);
  EventSink& sink = redact ? static_cast<EventSink&>(redactor) : writer;
  const auto read = ReadTrace(
      *input, options.read, [](const TraceInfo&) { return absl::OkStatus(); }, sink);
  WipeProgress(options.read);
  if (!read.ok()) return Fail(read.status());
  SayDamage(*input, read->log);
  const absl::Status written = (*out)->Finish();
  return written.ok() ? kDone : Fail(written);
}

int UnknownRule(const std::string& id) {
  return Fail(absl::InvalidArgumentError(
      absl::StrCat("unknown rule ", id, "; `portproof rules` lists them")));
}

int Rules(const Shared& shared, const RulesArguments& arguments) {
  if (!arguments.index) return WriteOut(RulesText(arguments.format), shared.output, kDone);
  const std::optional<Rule> rule = FindRule(arguments.index_of);
  if (!rule && !arguments.index_of.empty()) return UnknownRule(arguments.index_of);
  return WriteOut(IndexText(rule), shared.output, kDone);
}

int Explain(const Shared& shared, const std::string& id) {
  const std::optional<Rule> rule = FindRule(id);
  if (!rule) return UnknownRule(id);
  return WriteOut(ExplainText(*rule), shared.output, kDone);
}

void AddOutput(CLI::App& command, Shared& shared) {
  command.add_option("-o,--output", shared.output, "Write to FILE instead of standard output")
      ->type_name("FILE");
}

int Test(const Shared& shared, const suite::SuiteOptions& options) {
  auto sink = TextSink::Open(shared.output);  // before minutes of work are lost
  if (!sink.ok()) return Fail(sink.status());
  return suite::TestCommand(options, [&](const std::string& report, int status) {
    (*sink)->Write(report);
    const absl::Status written = (*sink)->Finish();
    return written.ok() ? status : Fail(written);
  });
}

CLI::App* AddTest(CLI::App& app, Shared& shared, suite::SuiteOptions& options) {
  CLI::App& test = *app.add_subcommand("test", "Run the live suite against a program");
  test.footer("As in:\n  portproof test --quiet --case='FRG-*' -- ./testee --its-own-option");
  AddOutput(test, shared);
  test.add_option("--profile", options.profile,
                  "Play all cases that apply to it in this profile; else each in its own");
  test.add_option("--case", options.only, "Cases to play")->type_name("GLOB");
  test.add_option("--skip", options.skip, "Cases not to play")->type_name("GLOB");
  test.add_flag("--list", options.list, "List the cases, and the rules that have none");
  test.add_option("--known-failures", options.known_failures,
                  "Lines CASE  # reason; one of them that passes is an error")
      ->type_name("FILE");
  test.add_option("--seed", options.seed, "Of the random conversations")
      ->check([](const std::string& text) {
        return std::string(text.starts_with('-') ? "expected a number from 0 on" : "");
      })
      ->capture_default_str();
  test.add_option("--random", options.random, "How many random conversations")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  test.add_option("--jobs", options.jobs, "Testees at a time; they mostly wait")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  test.add_option("--shrinks", options.shrinks, "How many failing conversations to shrink")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  test.add_option("--timeout-ms", options.timeout_ms, "For an answer")
      ->check(CLI::Range(10, 600000))
      ->capture_default_str();
  test.add_option("--keep-traces", options.keep_traces,
                  "Write a trace of each case there, for check and dump")
      ->type_name("DIR");
  test.add_option("--format", options.format, "text, json or junit")
      ->check(CLI::IsMember({"text", "json", "junit"}))
      ->capture_default_str();
  test.add_flag("--quiet", options.quiet, "Say only what is wrong");
  test.add_option("TESTEE", "The program to test, and its arguments, after --")
      ->type_name("-- TESTEE [ARG...]")
      ->expected(-1);
  return &test;
}

void AddProfile(CLI::App& command, Shared& shared) {
  command
      .add_option("--profile", shared.profile,
                  "Releases to judge by: unit-X.Y[.Z], freeunit-X.Y.Z, unit-seed; auto takes the "
                  "one the trace names, "
                  "else guesses from the traffic")
      ->capture_default_str();
  command.add_option("--from", shared.from, "Format of the input; auto looks at its first bytes")
      ->check(CLI::IsMember({"auto", "strace", "jsonl"}))
      ->capture_default_str();
  command.add_flag("--quiet", shared.quiet, "Say only what is wrong");
}

constexpr const char* kCheckFooter = R"(
Record with:
  strace -f --seccomp-bpf -ttt -yy -xx -s 200000 -o unit.strace \
    -e trace=socketpair,sendmsg,recvmsg,memfd_create,ftruncate,?fork,?vfork,clone,?clone3,execve,exit_group,setsockopt \
    unitd --no-daemon
then:
  portproof check unit.strace
  portproof check --strict --ignore=HDR-7 unit.strace.zst
  strace ... -o /dev/stdout ... | portproof check --format=json -

Exit status: 0 conforms, 1 violations found, 2 usage or unreadable input, 3 internal error.)";

CLI::App* AddCheck(CLI::App& app, Shared& shared, CheckArguments& arguments) {
  CLI::App* const check = app.add_subcommand("check", "Judge recorded traffic");
  check->footer(kCheckFooter);
  AddProfile(*check, shared);
  AddOutput(*check, shared);
  check->add_option("--format", shared.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  check->add_option("--color", shared.color, "Color the text report")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  check->add_flag("--strict", arguments.strict, "Warnings and damaged lines count as errors");
  check->add_flag("--follow", arguments.follow,
                  "Judge a growing file until interrupted (Ctrl-C), then report");
  check->add_option("--ignore", arguments.ignore, "Rules not to judge")->type_name("RULE[,RULE]");
  check
      ->add_option("--expect", arguments.expect,
                   "Known violations, a line each: RULE [PORT [STREAM]]  # reason; one that no "
                   "longer occurs is an error")
      ->type_name("FILE");
  check
      ->add_option("--max-violations", arguments.max_violations,
                   "Print N per trace; all are counted")
      ->type_name("N");
  check
      ->add_option("TRACE", arguments.traces,
                   "strace text or JSON Lines, plain or .zst; the files of one strace -ff "
                   "recording together; - is standard input")
      ->required();
  return check;
}

CLI::App* AddDump(CLI::App& app, Shared& shared, std::vector<std::string>& files) {
  CLI::App* const dump = app.add_subcommand("dump", "Print one line per datagram");
  AddProfile(*dump, shared);
  AddOutput(*dump, shared);
  dump->add_option("TRACE", files, "A trace, as for check")->required();
  return dump;
}

CLI::App* AddConvert(CLI::App& app, Shared& shared, ConvertArguments& arguments) {
  CLI::App* const convert = app.add_subcommand("convert", "Rewrite a trace as JSON Lines");
  AddProfile(*convert, shared);
  convert->add_flag("--redact", arguments.redact,
                    "Payloads become zeros, but for references and what a checker decodes; "
                    "verdicts stay the same");
  convert->add_option("IN", arguments.in, "A trace, as for check")->required();
  convert
      ->add_option("OUT", arguments.out, "NAME.jsonl or NAME.jsonl.zst, or - for standard output")
      ->required();
  return convert;
}

CLI::App* AddRules(CLI::App& app, Shared& shared, RulesArguments& arguments) {
  CLI::App* const rules = app.add_subcommand("rules", "List every rule");
  CLI::Option* const format =
      rules->add_option("--format", arguments.format, "text, json or markdown")
          ->check(CLI::IsMember({"text", "json", "markdown"}))
          ->capture_default_str();
  CLI::Option* const index =
      rules
          ->add_flag("--index", arguments.index,
                     "List instead where each is carried out, judged, tested and shown")
          ->excludes(format);
  rules->add_option("RULE-ID", arguments.index_of, "Such as FRG-1: the index of that one")
      ->needs(index);
  AddOutput(*rules, shared);
  return rules;
}

CLI::App* AddExplain(CLI::App& app, Shared& shared, std::string& rule_id) {
  CLI::App* const explain =
      app.add_subcommand("explain", "Explain a rule, with a conforming and a breaking example");
  explain->add_option("RULE-ID", rule_id, "Such as FRG-1")->required();
  AddOutput(*explain, shared);
  return explain;
}

// CLI11 would take it for a file too many.
absl::Status CheckCommand(const CLI::App& app, const std::string& first) {
  if (first.empty() || first[0] == '-') return absl::OkStatus();
  std::string known;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == first) return absl::OkStatus();
    known += " " + command->get_name();
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown command ", first, "; there are:", known));
}

// What is behind -- is the testee's, to the letter: CLI11 would read [a] as a list. How
// many arguments are left.
int TakeTestee(int argc, char** argv, suite::SuiteOptions& options) {
  if (argc < 2 || std::string_view(argv[1]) != "test") return argc;
  char** const end = argv + argc;
  char** const dashes = std::find(argv, end, std::string_view("--"));
  if (dashes != end) options.testee.assign(dashes + 1, end);
  return static_cast<int>(dashes - argv);
}

}  // namespace

int Main(int argc, char** argv) {
  CLI::App app{"Judges traffic of the port protocol of NGINX Unit and FreeUnit.", "portproof"};
  app.set_version_flag("--version", std::string(kVersion));
  app.require_subcommand(1);
  app.footer("`portproof COMMAND --help` tells more of each.");
  Shared shared;
  CheckArguments check_arguments;
  std::vector<std::string> dump_files;
  ConvertArguments convert_arguments;
  RulesArguments rules_arguments;
  suite::SuiteOptions suite_options;
  std::string rule_id;
  const CLI::App* const check = AddCheck(app, shared, check_arguments);
  const CLI::App* const dump = AddDump(app, shared, dump_files);
  const CLI::App* const convert = AddConvert(app, shared, convert_arguments);
  AddRules(app, shared, rules_arguments);
  const CLI::App* const test = AddTest(app, shared, suite_options);
  const CLI::App* const explain = AddExplain(app, shared, rule_id);
  if (const absl::Status status = CheckCommand(app, argc > 1 ? argv[1] : ""); !status.ok())
    return Fail(status);
  const int own = TakeTestee(argc, argv, suite_options);
  try {
    app.parse(own, argv);
    if (test->parsed() && test->count("TESTEE") > 0)
      return Fail(absl::InvalidArgumentError(
          "the testee comes after --, as in: portproof test [options] -- TESTEE [ARG...]"));
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kDone : kUnreadable;
  }
  if (check->parsed()) return Check(shared, check_arguments);
  if (dump->parsed()) return Dump(shared, dump_files);
  if (convert->parsed()) return Convert(shared, convert_arguments);
  if (test->parsed()) return Test(shared, suite_options);
  if (explain->parsed()) return Explain(shared, rule_id);
  return Rules(shared, rules_arguments);
}

}  // namespace portproof

int main(int argc, char** argv) {
  try {
    return portproof::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "portproof: internal error: " << error.what() << "\n";
    return portproof::kInternal;
  }
}
