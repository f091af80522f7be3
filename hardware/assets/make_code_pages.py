#!/usr/bin/env python3
"""Writes code_pages.tsv: the upper half of each printer code page, from Python's own codecs.

    python3 hardware/assets/make_code_pages.py           write the table
    python3 hardware/assets/make_code_pages.py --check   exit 1 when the table is not what this script writes

Columns: name, number n of `ESC t n` in Epson's numbering, Python codec, and 128
code points in hexadecimal for the bytes 80 to FF ("-" where the byte has no character).
C1 controls, which the ISO pages keep at 80 to 9F, count as no character.
"""

import pathlib
import sys

PAGES = [
    ("PC437", 0, "cp437"),
    ("PC850", 2, "cp850"),
    ("PC860", 3, "cp860"),
    ("PC863", 4, "cp863"),
    ("PC865", 5, "cp865"),
    ("PC857", 13, "cp857"),
    ("PC737", 14, "cp737"),
    ("ISO8859-7", 15, "iso8859-7"),
    ("WPC1252", 16, "cp1252"),
    ("PC866", 17, "cp866"),
    ("PC852", 18, "cp852"),
    ("PC858", 19, "cp858"),
    ("ISO8859-2", 39, "iso8859-2"),
    ("ISO8859-15", 40, "iso8859-15"),
    ("WPC1250", 45, "cp1250"),
    ("WPC1251", 46, "cp1251"),
    ("WPC1253", 47, "cp1253"),
    ("WPC1254", 48, "cp1254"),
    ("WPC1257", 51, "cp1257"),
]

TABLE = pathlib.Path(__file__).with_name("code_pages.tsv")


def cell(byte, codec):
    """The code point of one byte, or "-" where the codec refuses it."""
    try:
        char = bytes([byte]).decode(codec)
    except UnicodeDecodeError:
        return "-"
    if 0x80 <= ord(char) <= 0x9F:
        return "-"
    return f"{ord(char):04X}"


def table():
    rows = []
    for name, number, codec in PAGES:
        points = " ".join(cell(byte, codec) for byte in range(0x80, 0x100))
        rows.append(f"{name}\t{number}\t{codec}\t{points}\n")
    return "".join(rows)


def main():
    if sys.argv[1:] == ["--check"]:
        if TABLE.read_text(encoding="ascii") != table():
            sys.exit(f"{TABLE.name} is stale: run make_code_pages.py")
    elif not sys.argv[1:]:
        TABLE.write_text(table(), encoding="ascii")
    else:
        sys.exit(__doc__)


main()
