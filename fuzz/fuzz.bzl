"""A fuzz target: the libFuzzer binary, and the replay of its corpus as a test."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

def portproof_fuzz_target(name, srcs, deps = [], **kwargs):
    """Declares a fuzz target.

    The corpus is `<noun>_corpus/`, one file an input with a human name; a
    dictionary, if there is one, is `<noun>.dict`.

    Args:
      name: "<noun>_fuzz"; the libFuzzer binary (built with --config=fuzz, see fuzz/run)
      srcs: the file with LLVMFuzzerTestOneInput
      deps: what it tests
      **kwargs: further attributes of the library
    """
    noun = name[:-len("_fuzz")]
    corpus = native.glob([noun + "_corpus/*"])
    if not corpus:
        fail("fuzz target %s has no corpus in %s_corpus/" % (name, noun))
    cc_library(
        name = name + "_lib",
        testonly = True,
        srcs = srcs,
        alwayslink = True,
        deps = deps,
        **kwargs
    )
    cc_binary(
        name = name,
        testonly = True,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = [":" + name + "_lib"],
    )
    cc_test(
        name = name + "_replay",
        size = "small",
        args = ["$(location %s)" % file for file in corpus],
        data = corpus,
        linkstatic = True,
        deps = [
            ":replay_main",
            ":" + name + "_lib",
        ],
    )
