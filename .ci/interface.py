"""The public interface, read from rustdoc's JSON: compared with docs/public-api.txt, and held to be documented.

    python3 .ci/interface.py JSON           fails if the interface differs from the file, or a document is missing
    python3 .ci/interface.py JSON --write   writes the file

A fallible function says "# Errors"; a type has an example: its own, or one of its methods'.
"""

import difflib
import json
import re
import sys
from pathlib import Path

SNAPSHOT = Path("docs/public-api.txt")
# Of rustdoc's JSON, which changes with the compiler: that of Rust 1.95.
FORMAT = 57
# Auto traits whose loss breaks callers.
AUTO = {"Send", "Sync"}
# Compiler-internal markers, which say nothing beyond the derive they come with.
MARKERS = {"StructuralPartialEq"}


class Interface:
    def __init__(self, document):
        self.index = document["index"]
        self.lines = set()
        self.types = {}  # path: item, with the examples of its methods
        self.without_errors = []
        self.done = set()
        self.module("conediff", self.item(document["root"]))

    def item(self, id):
        return self.index.get(str(id))

    def add(self, path, line):
        self.lines.add((path.replace("conediff::", ""), line.replace("conediff::", "")))

    # What there is.

    def module(self, path, item):
        for id in item["inner"]["module"]["items"]:
            self.member(path, self.item(id))

    def member(self, path, item):
        if item is None or (item["visibility"] != "public" and "macro" not in item["inner"]):
            return
        (kind, inner), = item["inner"].items()
        if kind == "use":
            target = self.item(inner["id"]) if inner["id"] is not None else None
            if target is None:  # of another crate
                self.add(f"{path}::{inner['name']}", f"pub use {path}::{inner['name']} = {inner['source']}")
            elif inner["is_glob"]:
                for id in target["inner"]["module"]["items"]:
                    self.member(path, self.item(id))
            else:
                self.named(f"{path}::{inner['name']}", target)
        else:
            self.named(f"{path}::{item['name']}", item)

    def named(self, path, item):
        if (path, item["id"]) in self.done:
            return
        self.done.add((path, item["id"]))
        (kind, inner), = item["inner"].items()
        if kind == "module":
            self.add(path, f"pub mod {path}")
            self.module(path, item)
            return
        if kind == "function":
            self.function(path, item)
        elif kind in ("struct", "enum", "trait", "union"):
            self.type(kind, path, item, inner)
        elif kind == "constant":
            self.add(path, f"pub const {path}: {self.show(inner['type'])} = {inner['const']['expr']}")
        elif kind == "type_alias":
            self.add(path, f"pub type {path}{self.generics(inner['generics'])} = {self.show(inner['type'])}")
        else:
            self.add(path, f"pub {kind} {path}")

    def type(self, kind, path, item, inner):
        self.types[path] = item
        marks = " #[non_exhaustive]" if "non_exhaustive" in str(item["attrs"]) else ""
        self.add(path, f"pub {kind} {path}{self.generics(inner['generics'])}{marks}")
        if kind == "struct":
            shape = inner["kind"]
            if isinstance(shape, dict) and "plain" in shape:
                self.fields(path, shape["plain"]["fields"])
                if shape["plain"]["has_stripped_fields"]:
                    self.add(path, f"pub {kind} {path} {{ .. }}")
            elif isinstance(shape, dict):
                self.fields(path, [id for id in shape["tuple"] if id is not None])
        elif kind == "enum":
            for id in inner["variants"]:
                variant = self.item(id)
                self.variant(f"{path}::{variant['name']}", variant["inner"]["variant"])
        elif kind == "trait":
            for id in inner["items"]:
                self.associated(path, self.item(id))
            return
        for id in inner["impls"]:
            self.implementation(path, item, self.item(id))

    def fields(self, path, ids):
        for field in filter(None, map(self.item, ids)):
            if field["visibility"] in ("public", "default"):
                self.add(f"{path}::{field['name']}", f"pub {path}::{field['name']}: {self.show(field['inner']['struct_field'])}")

    def variant(self, path, inner):
        shape = inner["kind"]
        self.add(path, f"pub {path}" + (f" = {inner['discriminant']['expr']}" if inner["discriminant"] else ""))
        if isinstance(shape, dict):
            self.fields(path, shape["tuple"] if "tuple" in shape else shape["struct"]["fields"])

    def implementation(self, path, item, block):
        inner = block["inner"]["impl"]
        if inner["blanket_impl"] is not None:
            return
        trait = inner["trait"]
        if trait is None:
            for id in inner["items"]:
                member = self.item(id)
                if member is not None and member["visibility"] == "public":
                    self.associated(path, member)
                    item.setdefault("examples", []).extend(examples(member["docs"]))
            return
        name = trait["path"].rsplit("::", 1)[-1]
        if name in MARKERS or (inner["is_synthetic"] and (name not in AUTO or inner["is_negative"])):
            return
        arguments = self.arguments(trait["args"])
        self.add(path, f"impl {name}{arguments} for {path}{self.generics(inner['generics'])}")

    def associated(self, path, item):
        (kind, inner), = item["inner"].items()
        name = f"{path}::{item['name']}"
        if kind == "function":
            self.function(name, item)
        elif kind == "assoc_const":
            self.add(name, f"pub const {name}: {self.show(inner['type'])}")
        else:
            self.add(name, f"pub {kind} {name}")

    def function(self, path, item):
        inner = item["inner"]["function"]
        signature = inner["sig"]
        inputs = ", ".join(f"{name}: {self.show(kind)}" for name, kind in signature["inputs"])
        output = f" -> {self.show(signature['output'])}" if signature["output"] else ""
        words = "".join(word + " " for word in ("const", "async", "unsafe") if inner["header"][f"is_{word}"])
        self.add(path, f"pub {words}fn {path}{self.generics(inner['generics'])}({inputs}){output}")
        if output.startswith(" -> Result<") and "# Errors" not in (item["docs"] or ""):
            self.without_errors.append(path)

    # How a type is written.

    def show(self, kind):
        if kind is None:
            return "()"
        (name, inner), = kind.items() if isinstance(kind, dict) else [(kind, None)]
        if name == "resolved_path":
            return inner["path"].rsplit("::", 1)[-1] + self.arguments(inner["args"])
        if name in ("generic", "primitive"):
            return inner
        if name == "tuple":
            return "(" + ", ".join(map(self.show, inner)) + ")"
        if name == "slice":
            return f"[{self.show(inner)}]"
        if name == "array":
            return f"[{self.show(inner['type'])}; {inner['len']}]"
        if name == "borrowed_ref":
            lifetime = inner["lifetime"] + " " if inner["lifetime"] else ""
            return f"&{lifetime}{'mut ' if inner['is_mutable'] else ''}{self.show(inner['type'])}"
        if name == "impl_trait":
            return "impl " + self.bounds(inner)
        if name == "dyn_trait":
            return "dyn " + " + ".join(self.path(bound["trait"]) for bound in inner["traits"])
        if name == "qualified_path":
            own, trait = self.show(inner["self_type"]), self.path(inner["trait"]) if inner["trait"] else ""
            return f"<{own} as {trait}>::{inner['name']}" if trait else f"{own}::{inner['name']}"
        if name == "function_pointer":
            inputs = ", ".join(self.show(kind) for _, kind in inner["sig"]["inputs"])
            return f"fn({inputs}) -> {self.show(inner['sig']['output'])}"
        sys.exit(f"a type this script does not know: {name}")

    def path(self, trait):
        return trait["path"].rsplit("::", 1)[-1] + self.arguments(trait["args"])

    def arguments(self, arguments):
        if not arguments:
            return ""
        if "parenthesized" in arguments:
            inner = arguments["parenthesized"]
            return f"({', '.join(map(self.show, inner['inputs']))}) -> {self.show(inner['output'])}"
        inner = arguments["angle_bracketed"]
        shown = []
        for argument in inner["args"]:
            (name, value), = argument.items() if isinstance(argument, dict) else [(argument, None)]
            shown.append(value if name == "lifetime" else self.show(value) if name == "type" else str(value))
        for bound in inner["constraints"]:
            (name, value), = bound["binding"].items()
            shown.append(bound["name"] + (" = " + self.show(value["type"]) if name == "equality" else ": " + self.bounds(value)))
        return f"<{', '.join(shown)}>" if shown else ""

    def bounds(self, bounds):
        shown = []
        for bound in bounds:
            (name, inner), = bound.items()
            shown.append(self.path(inner["trait"]) if name == "trait_bound" else inner if name == "outlives" else name)
        return " + ".join(shown)

    def generics(self, generics):
        shown = []
        for parameter in generics["params"]:
            (name, inner), = parameter["kind"].items()
            if name == "type" and inner["is_synthetic"]:
                continue  # an impl Trait argument, shown there
            bounds = self.bounds(inner["bounds"]) if name == "type" and inner["bounds"] else ""
            shown.append(parameter["name"] + (f": {bounds}" if bounds else ""))
        for clause in generics["where_predicates"]:
            if "bound_predicate" in clause:
                inner = clause["bound_predicate"]
                shown.append(f"{self.show(inner['type'])}: {self.bounds(inner['bounds'])}")
        return f"<{', '.join(shown)}>" if shown else ""


def examples(docs):
    """The Rust code blocks of a document."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", docs or "", re.DOTALL | re.MULTILINE)
    return [code for language, code in blocks if language in ("", "rust", "no_run")]


def without_example(interface):
    """The types, each by the first of its paths."""
    items = {item["id"]: path for path, item in sorted(interface.types.items(), reverse=True)
             if not examples(item["docs"]) and not item.get("examples")}
    return sorted(items.values())


def main(document, *options):
    content = json.loads(Path(document).read_text())
    if content["format_version"] != FORMAT:
        print(f"rustdoc's JSON has format {content['format_version']}, this script was written for {FORMAT}: mistrust what follows")
    interface = Interface(content)
    lines = [line for _, line in sorted(interface.lines)]
    lacking = without_example(interface)
    print(f"{len(lines)} public items; {len(interface.types)} types, {len(lacking)} without an example of their own; "
          f"{len(interface.without_errors)} fallible functions without '# Errors'")
    wrong = [f"no example of its own: {path}" for path in lacking]
    wrong += [f"no '# Errors': {path}" for path in interface.without_errors]
    if "--write" in options:
        SNAPSHOT.write_text("\n".join(lines) + "\n")
    else:
        kept = SNAPSHOT.read_text().splitlines()
        changes = [line for line in difflib.unified_diff(kept, lines, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]
        if changes:
            wrong += ["the public interface changed; if that is meant, run: bash .ci/supply --write", *changes]
    if wrong:
        sys.exit("\n".join(wrong))


main(*sys.argv[1:])
