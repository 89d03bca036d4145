"""Writes NfcTable.cs from Python's unicodedata. Run: python3 make_nfc_table.py > NfcTable.cs

Packed form, base64 over bytes; numbers are little-endian base-128 (high bit: more follows):
  Decompositions, sorted by code point: step from the previous code point, first * 2 + (1 if the pair composes again), second (0: none).
  Classes, runs of equal combining class: step from the end of the previous run, length, class.
"""
import base64
import unicodedata as u


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return out


def literal(name, data):
    text = base64.b64encode(bytes(data)).decode()
    lines = [text[i:i + 150] for i in range(0, len(text), 150)]
    print(f"    public const string {name} =")
    print("\n".join(f'        "{line}"' + (" +" if i + 1 < len(lines) else ";") for i, line in enumerate(lines)))


decompositions, previous = bytearray(), 0
for cp in range(0x110000):
    parts = u.decomposition(chr(cp)) if not 0xAC00 <= cp < 0xD7A4 else ""
    if not parts or parts[0] == "<":
        continue
    parts = [int(p, 16) for p in parts.split()]
    composes = len(parts) == 2 and u.normalize("NFC", chr(cp)) == chr(cp)
    decompositions += number(cp - previous) + number(parts[0] * 2 + composes) + number(parts[1] if len(parts) == 2 else 0)
    previous = cp

classes, previous, cp = bytearray(), 0, 0
while cp < 0x110000:
    value, start = u.combining(chr(cp)), cp
    while cp < 0x110000 and u.combining(chr(cp)) == value:
        cp += 1
    if value:
        classes += number(start - previous) + number(cp - start) + number(value)
        previous = cp

print(f"""// Written by make_nfc_table.py from Unicode {u.unidata_version}; do not edit.
namespace LowLevelSpec.Models;

/// <summary>Canonical decompositions and combining classes, packed; see make_nfc_table.py for the form.</summary>
internal static class NfcTable
{{""")
literal("Decompositions", decompositions)
print()
literal("Classes", classes)
print("}")
