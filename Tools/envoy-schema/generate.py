#!/usr/bin/env python3
"""Writes Sources/Mesh/XDS/Schema/EmbeddedSchema.swift from the .proto files below Sources/Mesh/XDS/Protos.

Needs protoc (Debian: protobuf-compiler) and nothing else: the descriptor set that protoc writes is read here, so that
no package of Python has to be there. `--check` writes nothing and fails when the committed file is not what would be
written, or when a .proto file does not compile.

The table is lines of text, columns separated by tabs, messages and enums in the order of their names:

    =NAME                          a message; what follows is its
    ?NAME [!]                      oneof, with ! when one of its fields must be set
    NAME NUMBER TYPE ONEOF RULES   field, in the order of numbers; columns at the end that are empty are left out
    #NAME VALUES                   an enum, values as NAME=NUMBER, separated by commas

TYPE is a letter (see `letters`), with the number of the enum or message behind it; in front `*` for a repeated field,
`%` and the key's letter for a map, `^` for a field that knows of its presence. RULES are words separated by blanks
(see `rule_words`); a blank within one is written as %20.
"""

import pathlib
import struct
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
room = here.parent.parent / "Sources/Mesh/XDS"
target = room / "Schema/EmbeddedSchema.swift"

# Numbers of FieldDescriptorProto.Type.
letters = {
    1: "d", 2: "f", 3: "l", 4: "v", 5: "i", 6: "V", 7: "U", 8: "b", 9: "s", 11: "m", 12: "y", 13: "u", 14: "e",
    15: "I", 16: "L", 17: "z", 18: "Z",
}


def fields(data):
    """The fields of a message as (number, value), values as int or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(tag & 7) or varint()
            yield tag >> 3, data[at:at + size]
            at += size


def every(data, number):
    return [value for found, value in fields(data) if found == number]


def first(data, number, default=None):
    return next(iter(every(data, number)), default)


def text(data, number):
    return first(data, number, b"").decode()


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def nanoseconds(data):
    return signed(first(data, 1, 0)) * 1_000_000_000 + signed(first(data, 2, 0))


def number_of(kind, value):
    """A bound of a rule as text."""
    if kind == "double":
        return repr(struct.unpack("<d", value)[0])
    if kind == "float":
        return repr(struct.unpack("<f", value)[0])
    if kind in ("duration", "timestamp"):
        return str(nanoseconds(value))
    return str(signed(value) if isinstance(value, int) else int.from_bytes(value, "little", signed=True))


kinds = {
    1: "float", 2: "double", 3: "int32", 4: "int64", 5: "uint32", 6: "uint64", 13: "bool", 14: "string", 15: "bytes",
    16: "enum", 17: "message", 18: "repeated", 19: "map", 20: "any", 21: "duration", 22: "timestamp",
}


def escape(value):
    return "".join(c if c.isprintable() and c not in " %|" else "%%%02X" % ord(c) for c in value)


def rule_words(rules):
    """The words for a FieldRules message. What is not understood here stops the generator."""
    words = []
    for number, body in fields(rules):
        kind = kinds[number]
        # Lists of values come as fields that repeat.
        lists = {}
        for n, value in fields(body):
            if kind in ("message", "any") and (n, value) in ((1, 1), (2, 1)):
                words.append("required" if (kind, n) in (("message", 2), ("any", 1)) else "skip")
            elif kind == "message":
                pass
            elif kind == "bool":
                words.append(f"const={value}")
            elif kind == "enum":
                if n == 2:
                    words.append("defined")
                elif n in (3, 4):
                    packed = list(value) if isinstance(value, bytes) else [value]
                    lists.setdefault("in" if n == 3 else "notin", []).extend(map(str, packed))
                else:
                    sys.exit(f"rule {kind} {n}")
            elif kind in ("string", "bytes"):
                plain = {2: "min", 3: "max", 19: "len"} if kind == "string" else {2: "min", 3: "max", 13: "len"}
                if n in plain:
                    words.append(f"{plain[n]}={value}")
                elif kind == "string" and n in (4, 5, 20):
                    words.append({4: "minbytes", 5: "maxbytes", 20: "bytes"}[n] + f"={value}")
                elif kind == "string" and n in (6, 7, 8, 9):
                    words.append({6: "pattern", 7: "prefix", 8: "suffix", 9: "contains"}[n] + "=" + escape(value.decode()))
                elif kind == "string" and n in (10, 11):
                    lists.setdefault("in" if n == 10 else "notin", []).append(escape(value.decode()))
                elif kind == "string" and n == 24:
                    strict = signed(first(body, 25, 1))
                    words.append({1: "headername", 2: "headervalue"}[value] + ("" if strict else "lax"))
                elif kind == "string" and n == 25:
                    pass
                elif kind == "string" and n == 17:
                    words.append("uri")
                elif n == (26 if kind == "string" else 14):
                    words.append("ignoreempty")
                else:
                    sys.exit(f"rule {kind} {n}")
            elif kind == "repeated":
                if n in (1, 2):
                    words.append({1: "minitems", 2: "maxitems"}[n] + f"={value}")
                elif n == 3:
                    words.append("unique")
                elif n == 4:
                    words += ["each." + word for word in rule_words(value)]
                else:
                    sys.exit(f"rule {kind} {n}")
            elif kind == "map":
                if n in (1, 2):
                    words.append({1: "minitems", 2: "maxitems"}[n] + f"={value}")
                elif n in (4, 5):
                    words += [{4: "keys.", 5: "values."}[n] + word for word in rule_words(value)]
                else:
                    sys.exit(f"rule {kind} {n}")
            elif kind == "duration" and n == 1:
                words.append("required")
            else:
                bounds = {2: "const", 3: "lt", 4: "le", 5: "gt", 6: "ge"} if kind == "duration" else {
                    1: "const", 2: "lt", 3: "le", 4: "gt", 5: "ge"}
                if n in bounds:
                    words.append(f"{bounds[n]}={number_of(kind, value)}")
                elif n == 8 and kind != "duration":
                    words.append("ignoreempty")
                elif n in (6, 7) and kind in ("uint32", "int32", "uint64", "int64"):
                    lists.setdefault("in" if n == 6 else "notin", []).append(number_of(kind, value))
                else:
                    sys.exit(f"rule {kind} {n}")
        words += [f"{name}={'|'.join(values)}" for name, values in lists.items()]
    return words


class Table:
    def __init__(self):
        self.messages, self.enums, self.map_entries = {}, {}, {}

    def add_message(self, scope, message):
        name = f"{scope}.{text(message, 1)}"
        is_entry = first(first(message, 7, b""), 7, 0)
        (self.map_entries if is_entry else self.messages)[name] = message
        for enum in every(message, 4):
            self.enums[f"{name}.{text(enum, 1)}"] = enum
        for nested in every(message, 3):
            self.add_message(name, nested)

    def lines(self):
        names, enums = sorted(self.messages), sorted(self.enums)
        self.message_numbers = {name: n for n, name in enumerate(names)}
        self.enum_numbers = {name: n for n, name in enumerate(enums)}
        for name in names:
            yield "=" + name
            message = self.messages[name]
            members = sorted(every(message, 2), key=lambda field: first(field, 3))
            # A oneof that stands for `optional` is none.
            optional = {first(field, 9) for field in members if first(field, 17)}
            real = [n for n in range(len(every(message, 8))) if n not in optional]
            for n in real:
                oneof = every(message, 8)[n]
                yield f"?{text(oneof, 1)}" + ("\t!" if first(first(oneof, 2, b""), 1071) else "")
            if len(members) > 128:
                sys.exit(f"{name} has more fields than a reader can mark")
            for field in members:
                oneof = first(field, 9)
                rules = first(first(field, 8, b""), 1071, b"")
                columns = [
                    text(field, 1), str(first(field, 3)), self.type(field),
                    str(real.index(oneof)) if oneof in real else "", " ".join(rule_words(rules))]
                yield "\t".join(columns).rstrip("\t")
        for name in enums:
            values = every(self.enums[name], 2)
            yield f"#{name}\t" + ",".join(f"{text(value, 1)}={signed(first(value, 2, 0))}" for value in values)

    def type(self, field):
        name = text(field, 6)[1:]
        if entry := self.map_entries.get(name):
            key, value = every(entry, 2)
            return "%" + letters[first(key, 5)] + self.type(value)
        letter = letters[first(field, 5)]
        number = {"m": self.message_numbers, "e": self.enum_numbers}.get(letter, {}).get(name, "")
        # Singular messages and members of a oneof know anyway.
        mark = "*" if first(field, 4) == 3 else "^" if first(field, 17) else ""
        return f"{mark}{letter}{number}"


def main():
    protos = sorted(str(path.relative_to(room / "Protos")) for path in (room / "Protos").rglob("*.proto"))
    with tempfile.NamedTemporaryFile() as output:
        subprocess.run(
            ["protoc", "-I", str(room / "Protos"), "--include_imports", "-o", output.name, *protos], check=True)
        descriptors = pathlib.Path(output.name).read_bytes()
    table = Table()
    for file in every(descriptors, 1):
        package = text(file, 2)
        if text(file, 1) in ("google/protobuf/descriptor.proto", "validate/validate.proto"):
            continue
        for message in every(file, 4):
            table.add_message(package, message)
        for enum in every(file, 5):
            table.enums[f"{package}.{text(enum, 1)}"] = enum
    out = (
        "// Generated by Tools/envoy-schema/generate.py from the .proto files beside it. Do not edit.\n"
        "// swift-format-ignore-file\n\n"
        "/// Envoy's messages as text within the program; what a line means stands in the generator.\n"
        "enum EmbeddedSchema {\n"
        '    static let table: StaticString = #"""\n'
        + "".join(line + "\n" for line in table.lines())
        + '"""#\n}\n')
    if "--check" in sys.argv:
        if target.read_text() != out:
            sys.exit(f"{target} is not what its .proto files say: run Tools/envoy-schema/generate.py")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(out)


main()
