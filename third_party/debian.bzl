"""How Bazel 4.2.3 sees Debian's packages of its own rules, without a network."""

_RULES_CC = "/usr/share/bazel/rules/cc"

# Debian's rules_cc 0.0.4 loads this symbol, which Bazel 4.2.3 does not have.
_PATCHED = [
    "cc/private/rules_impl/cc_flags_supplier.bzl",
    "cc/private/rules_impl/compiler_flag.bzl",
]

def _debian_rules_cc_impl(ctx):
    root = ctx.path(_RULES_CC)
    if not root.exists:
        fail("%s is missing: run ./setup (Debian package bazel-rules-cc)" % _RULES_CC)
    for entry in root.readdir():
        if entry.basename not in ["cc", "WORKSPACE"]:
            ctx.symlink(entry, entry.basename)
    ctx.file("WORKSPACE", 'workspace(name = "rules_cc")\n')
    for directory in ["cc", "cc/private", "cc/private/rules_impl"]:
        for entry in ctx.path(_RULES_CC + "/" + directory).readdir():
            relative = directory + "/" + entry.basename
            if relative in ["cc/private", "cc/private/rules_impl"]:
                continue
            if relative not in _PATCHED:
                ctx.symlink(entry, relative)
                continue
            text = ctx.read(entry)
            text = text.replace(', "use_cpp_toolchain"', "")
            text = text.replace(
                "use_cpp_toolchain()",
                '["@bazel_tools//tools/cpp:toolchain_type"]',
            )
            ctx.file(relative, text)

debian_rules_cc = repository_rule(
    implementation = _debian_rules_cc_impl,
    doc = "Debian's rules_cc, its files linked, the two that Bazel 4.2.3 cannot load rewritten.",
    local = True,
)

def _empty_coverage_tools_impl(ctx):
    ctx.file("WORKSPACE", 'workspace(name = "remote_coverage_tools")\n')
    ctx.file("BUILD", """\
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
""")

empty_coverage_tools = repository_rule(
    implementation = _empty_coverage_tools_impl,
    doc = "A stub: `bazel test` asks for this repository even when nothing is covered.",
)
