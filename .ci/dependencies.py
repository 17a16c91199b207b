"""Holds the dependencies to deny.toml and to the manifest's rust-version, with cargo alone: licences, sources, duplicates, compilers.

Shipped are normal and build dependencies, of every platform. Licences and sources count with all features, duplicates and compilers with
the default ones and the tool's. Advisories need the advisory database, which is a Git repository: see deny.toml.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

MANIFESTS = ["Cargo.toml", "python/Cargo.toml"]
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def cargo(*arguments):
    run = subprocess.run(["cargo", *arguments], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"cargo {' '.join(arguments)}:\n{run.stderr}")
    return run.stdout


def tree(manifest, *options):
    """(name, version) of every crate that is built: unlike cargo metadata's, by the resolver that builds."""
    lines = cargo("tree", "--locked", "--manifest-path", manifest, "--edges", "normal,build", "--target", "all",
                  "--prefix", "none", "--format", "{p}", *options).splitlines()
    return {tuple(line.split(" v", 1)[0:1] + [line.split(" v", 1)[1].split()[0]]) for line in lines if " v" in line}


def is_allowed(expression, allowed):
    """An SPDX expression, the old "/" for OR included; OR, AND and brackets, AND before OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    merged = []
    for token in tokens:  # "Apache-2.0 WITH LLVM-exception" is one licence
        if merged and (token == "WITH" or merged[-1].endswith(" WITH")):
            merged[-1] += " " + token
        else:
            merged.append(token)

    def either(at):
        value, at = both(at)
        while at < len(merged) and merged[at] == "OR":
            other, at = both(at + 1)
            value = value or other
        return value, at

    def both(at):
        value, at = term(at)
        while at < len(merged) and merged[at] == "AND":
            other, at = term(at + 1)
            value = value and other
        return value, at

    def term(at):
        if at < len(merged) and merged[at] == "(":
            value, at = either(at + 1)
            return value, at + 1
        return at < len(merged) and merged[at] in allowed, at + 1

    value, end = either(0)
    return value and end == len(merged)


def duplicates(built, skipped):
    versions = defaultdict(set)
    for name, version in built - skipped:
        versions[name].add(version)
    return {name: sorted(found) for name, found in versions.items() if len(found) > 1}


def minor(version):
    return tuple(int(part) for part in version.split(".")[:2])


def main():
    rules = tomllib.loads(Path("deny.toml").read_text())
    allowed = set(rules["licenses"]["allow"])
    exceptions = {rule["crate"]: set(rule["allow"]) for rule in rules["licenses"]["exceptions"]}
    wrong = []
    for manifest in MANIFESTS:
        listed = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--all-features", "--manifest-path", manifest))
        packages = {(p["name"], p["version"]): p for p in listed["packages"]}
        own = {key for key, p in packages.items() if p["source"] is None}
        everything = tree(manifest, "--all-features")
        for name, version in sorted(everything):
            package = packages[name, version]
            licence = package["license"] or "none given"
            if not is_allowed(licence, allowed | exceptions.get(name, set())):
                wrong.append(f"{manifest}: {name} {version}: licence {licence} is not in deny.toml")
            if package["source"] not in (CRATES_IO, None):
                wrong.append(f"{manifest}: {name} {version} comes from {package['source']}")

        features = ["--features", "cli"] if manifest == "Cargo.toml" else []
        built = tree(manifest, *features)
        skipped = set()
        for rule in rules["bans"]["skip-tree"]:
            skipped |= tree(manifest, "--package", rule["crate"])
        for name, found in duplicates(built, skipped).items():
            wrong.append(f"{manifest}: {name} is built twice: {', '.join(found)}")

        oldest = packages[next(key for key in own if key[0].startswith("conediff"))]["rust_version"]
        said = {key: packages[key]["rust_version"] for key in built - own}
        for (name, version), needs in sorted(said.items()):
            if needs and minor(needs) > minor(oldest):
                wrong.append(f"{manifest}: {name} {version} needs Rust {needs}, the manifest promises {oldest}")
        silent = sum(1 for needs in said.values() if not needs)
        print(f"{manifest}: {len(everything)} crates with all features, {len(built)} without the optional integrations; "
              f"of these {len(said) - silent} say that Rust {oldest} is enough, {silent} say nothing")
    if wrong:
        sys.exit("\n".join(wrong))


assert is_allowed("(MIT OR GPL-3.0) AND Zlib", {"MIT", "Zlib"}) and not is_allowed("MIT AND GPL-3.0", {"MIT"})
assert is_allowed("Apache-2.0/MIT", {"MIT"}) and not is_allowed("Apache-2.0 WITH LLVM-exception", {"Apache-2.0"})
main()
