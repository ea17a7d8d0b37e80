"""Holds a port implementation to the protocol, as a test of one's own build.

    load("@portproof//oracle/suite:conformance.bzl", "portproof_conformance_test")

    portproof_conformance_test(
        name = "conformance_test",
        testee = ":my_testee",
        known_failures = "known_failures.txt",
    )
"""

def portproof_conformance_test(name, testee, known_failures = None, options = [], args = [], **kwargs):
    """Runs the live suite on a testee; fails unless all cases pass, or are known to fail.

    Args:
      name: of the test
      testee: an executable target that speaks the commands of oracle/suite/README.md
      known_failures: a file of lines `CASE  # reason`; a case on it that passes is an error
      options: of `portproof test`, such as --profile=unit-1.18.0
      args: of the testee
      **kwargs: of the test, such as size, tags, visibility
    """
    known = ["$(location %s)" % known_failures] if known_failures else ["-"]
    native.sh_test(
        name = name,
        size = kwargs.pop("size", "medium"),
        srcs = [str(Label("//oracle/suite:conformance_test.sh"))],
        args = ["$(location %s)" % str(Label("//oracle:portproof"))] + known + options +
               ["--", "$(location %s)" % testee] + args,
        data = kwargs.pop("data", []) + [testee, str(Label("//oracle:portproof"))] +
               ([known_failures] if known_failures else []),
        **kwargs
    )
