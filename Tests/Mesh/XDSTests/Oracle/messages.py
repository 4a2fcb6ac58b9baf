#!/usr/bin/env python3
"""The protobuf library's own opinion of messages: the other side of the codecs' tests.

    messages.py make SEED COUNT   names of messages on stdin; for each that the packages know, COUNT random messages as lines
                                  NAME <tab> BYTES IN HEX <tab> JSON
    messages.py same              lines NAME <tab> HEX <tab> HEX; prints those whose two sides are different messages

Needs the packages protobuf and xds-protos.
"""

import importlib
import json
import pathlib
import random
import sys

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor as F

ROOTS = ("envoy", "xds", "udpa", "google", "cel", "opentelemetry", "validate")


def load():
    """Every module of the packages, so that the pool knows all messages."""
    for folder in map(pathlib.Path, sys.path):
        for root in ROOTS:
            for file in sorted((folder / root).rglob("*_pb2.py")):
                try:
                    importlib.import_module(".".join(file.relative_to(folder).with_suffix("").parts))
                except Exception:
                    # Some need packages that are not there; the messages of the test do not.
                    pass
    for name in ("any", "duration", "struct", "timestamp", "wrappers", "empty", "field_mask"):
        importlib.import_module(f"google.protobuf.{name}_pb2")


POOL = descriptor_pool.Default()


def message_class(name):
    try:
        return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))
    except KeyError:
        return None


class Maker:
    """Random messages. Nothing that JSON cannot say: no NaN, no values of enums without a name."""

    PACKED = ["envoy.config.core.v3.Address", "google.protobuf.Duration", "google.protobuf.StringValue",
              "google.protobuf.Struct", "envoy.config.core.v3.HttpProtocolOptions", "google.protobuf.Int64Value"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        letters = "abcXYZ019_-./:% \"\\\n\u00e9\u20ac\U0001f600"
        return "".join(self.random.choice(letters) for _ in range(self.random.randrange(0, 12)))

    def scalar(self, field):
        r = self.random
        kind = field.cpp_type
        if kind == F.CPPTYPE_BOOL:
            return r.random() < 0.5
        if kind == F.CPPTYPE_ENUM:
            return r.choice(field.enum_type.values).number
        if kind in (F.CPPTYPE_INT32, F.CPPTYPE_INT64):
            bits = 31 if kind == F.CPPTYPE_INT32 else 63
            return r.choice([0, 1, -1, (1 << bits) - 1, -(1 << bits), r.randrange(-1000, 1000)])
        if kind in (F.CPPTYPE_UINT32, F.CPPTYPE_UINT64):
            bits = 32 if kind == F.CPPTYPE_UINT32 else 64
            return r.choice([0, 1, 127, 128, (1 << bits) - 1, r.randrange(1 << bits)])
        if kind == F.CPPTYPE_FLOAT:
            return r.choice([0.0, 0.1, -2.5, 1e10, 3.0, 16777216.0])
        if kind == F.CPPTYPE_DOUBLE:
            return r.choice([0.0, 0.1, -2.5, 1e300, 3.0, r.random()])
        if field.type == F.TYPE_BYTES:
            return bytes(r.randrange(256) for _ in range(r.randrange(0, 8)))
        return self.text()

    def json_value(self, depth):
        r = self.random
        choice = r.randrange(7 if depth < 3 else 4)
        if choice == 0:
            return None
        if choice == 1:
            return r.random() < 0.5
        if choice == 2:
            return r.choice([0.0, 1.0, -7.0, 0.25, 1e100])
        if choice == 3:
            return self.text()
        if choice == 4:
            return [self.json_value(depth + 1) for _ in range(r.randrange(3))]
        return {self.text(): self.json_value(depth + 1) for _ in range(r.randrange(3))}

    def fill(self, message, depth=0):
        r = self.random
        name = message.DESCRIPTOR.full_name
        if name == "google.protobuf.Duration":
            sign = r.choice([1, -1])
            message.seconds = sign * r.choice([0, 1, 3600, 315576000000])
            message.nanos = sign * r.choice([0, 1, 1000, 500000000, 999999999]) if abs(message.seconds) < 4000 else 0
        elif name == "google.protobuf.Timestamp":
            message.seconds = r.choice([0, -1, 1764000000, 253402300799])
            message.nanos = r.choice([0, 1000, 500000000, 999999999])
        elif name == "google.protobuf.Struct":
            message.update({self.text(): self.json_value(0) for _ in range(r.randrange(3))})
        elif name == "google.protobuf.Value":
            json_format.ParseDict(self.json_value(0), message)
        elif name == "google.protobuf.ListValue":
            message.extend([self.json_value(1) for _ in range(r.randrange(3))])
        elif name == "google.protobuf.FieldMask":
            message.paths.extend(["a_b", "c"])
        elif name == "google.protobuf.Any":
            inner = message_class(r.choice(self.PACKED))()
            self.fill(inner, depth + 2)
            message.Pack(inner)
        else:
            for field in message.DESCRIPTOR.fields:
                if r.random() < (0.7, 0.5, 0.25, 0.15, 0.08, 0.03)[min(depth, 5)]:
                    self.fill_field(message, field, depth)

    def fill_field(self, message, field, depth):
        r = self.random
        if field.message_type and field.message_type.GetOptions().map_entry:
            entries = getattr(message, field.name)
            key, value = field.message_type.fields
            for _ in range(r.randrange(4)):
                if value.message_type:
                    self.fill(entries[self.scalar(key)], depth + 1)
                else:
                    entries[self.scalar(key)] = self.scalar(value)
        elif field.is_repeated:
            for _ in range(r.randrange(4 if depth < 3 else 2)):
                if field.message_type:
                    self.fill(getattr(message, field.name).add(), depth + 1)
                else:
                    getattr(message, field.name).append(self.scalar(field))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            self.fill(getattr(message, field.name), depth + 1)
        else:
            setattr(message, field.name, self.scalar(field))


def line(message):
    text = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return "\t".join([
        message.DESCRIPTOR.full_name, message.SerializeToString(deterministic=True).hex(),
        json.dumps(text, ensure_ascii=True, sort_keys=True)])


def main():
    load()
    mode = sys.argv[1]
    if mode == "make":
        maker = Maker(int(sys.argv[2]))
        for name in sys.stdin.read().split():
            kind = message_class(name)
            for _ in range(int(sys.argv[3]) if kind else 0):
                message = kind()
                maker.fill(message)
                print(line(message))
    elif mode == "same":
        for row in sys.stdin:
            name, ours, theirs = row.rstrip("\n").split("\t")
            a, b = message_class(name)(), message_class(name)()
            try:
                a.ParseFromString(bytes.fromhex(ours))
            except Exception as error:
                print(name, error, ours)
                continue
            b.ParseFromString(bytes.fromhex(theirs))
            if a != b:
                print(name, ours, theirs)


main()
