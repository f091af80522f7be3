#!/usr/bin/env python3
"""Cuts the sample in tests/fixtures/online-retail/ out of the whole "Online Retail" file.

    scripts/sample-online-retail.py transactions.csv.gz tests/fixtures/online-retail

The same input gives the same bytes. Needs Python 3.9 and nothing else.

products.csv: what a shop would load into its tills.
  - A product is a stock code with a digit that was sold at a price above zero on an invoice which is not a
    cancellation. POST, DOT, M, C2, BANK CHARGES and the like are bookings, not products.
  - Codes that differ in case only (84997b, 84997B) are one product under the spelling that occurs most.
  - The 600 on the most invoices are taken, and every gift voucher: their names hold a pound sign.
  - The name is the most common description, runs of blanks closed up.
  - The price is the lower median of the prices asked, so it is one that really was asked.
    A voucher costs what its name says: the file holds its price without the tax of the day.
  - The file knows no tax. 2000 basis points is the UK's standard rate; a voucher that may be spent on anything is
    taxed when it is spent, hence 0.

invoices-sample.csv.gz: whole invoices in the file's order and columns.
  - Every 60th invoice, so that the ordinary is there in its own proportion.
  - And whatever is rare and must not break a replay; see the list RARE below.
"""

import csv
import gzip
import io
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
PRODUCTS = 600
EVERY = 60
STANDARD_RATE_BP = 2000

# What to look for, and how many invoices of it to keep.
RARE = [
    ("the longest invoice", 1, lambda no, lines, rest: len(lines) == rest["longest"]),
    ("bad debt", 9, lambda no, lines, rest: no.startswith("A")),
    ("a price finer than the currency", 9, lambda no, lines, rest: any(finer_than_a_penny(x) for x in lines)),
    ("an invoice whose lines are not together", 9, lambda no, lines, rest: no in rest["scattered"]),
    ("a stock correction", 25, lambda no, lines, rest: is_correction(no, lines)),
    ("a stock correction of nothing known", 5, lambda no, lines, rest: is_correction(no, lines) and not lines[0]["Description"]),
    ("a cancellation", 25, lambda no, lines, rest: no.startswith("C")),
    ("a cancellation of many lines", 3, lambda no, lines, rest: no.startswith("C") and len(lines) >= 20),
    ("a price of zero among others", 10, lambda no, lines, rest: len({price(x) == 0 for x in lines}) == 2),
    ("a price of zero alone", 10, lambda no, lines, rest: all(price(x) == 0 and quantity(x) > 0 for x in lines)),
    ("the same line twice", 5, lambda no, lines, rest: len({tuple(x.values()) for x in lines}) < len(lines)),
    ("the largest quantities", 4, lambda no, lines, rest: any(abs(quantity(x)) >= 50_000 for x in lines)),
    ("the highest prices", 4, lambda no, lines, rest: any(abs(price(x)) >= 10_000 for x in lines)),
    ("a pound sign", 5, lambda no, lines, rest: any("£" in x["Description"] for x in lines)),
    ("codes in lower case", 3, lambda no, lines, rest: any(x["StockCode"] != x["StockCode"].upper() for x in lines)),
    ("bookings without a product", 6, lambda no, lines, rest: all(not has_digit(x["StockCode"]) for x in lines)),
]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with gzip.open(sys.argv[1], "rt", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    if not lines or list(lines[0]) != COLUMNS:
        sys.exit(f"expected the columns {', '.join(COLUMNS)}")
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)

    products = choose_products(lines)
    with open(folder / "products.csv", "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["code", "name", "price", "tax_rate_bp"])
        out.writerows(products)

    chosen = choose_invoices(lines)
    text = io.StringIO(newline="")
    out = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    out.writeheader()
    kept = [line for line in lines if line["InvoiceNo"] in chosen]
    out.writerows(kept)
    with open(folder / "invoices-sample.csv.gz", "wb") as file:
        # Neither a name nor a time in the header: the same input gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as zipped:
            zipped.write(text.getvalue().encode())

    exact = sum(quantity(line) * price(line) for line in kept)
    print(f"products.csv: {len(products)} products")
    print(f"invoices-sample.csv.gz: {len(chosen)} invoices, {len(kept)} lines, exact sum {exact}")


def choose_products(lines):
    on_invoices, spellings = defaultdict(set), defaultdict(Counter)
    names, prices = defaultdict(Counter), defaultdict(list)
    for line in lines:
        code = line["StockCode"]
        if not has_digit(code) or code == "C2" or line["InvoiceNo"].startswith("C") or price(line) <= 0 or quantity(line) <= 0:
            continue
        key = code.upper()
        on_invoices[key].add(line["InvoiceNo"])
        spellings[key][code] += 1
        names[key][" ".join(line["Description"].split())] += 1
        prices[key].append(price(line))
    by_popularity = sorted(on_invoices, key=lambda key: (-len(on_invoices[key]), key))
    vouchers = [key for key in by_popularity if "£" in most_common(names[key])]
    rows = []
    for key in sorted(set(by_popularity[:PRODUCTS]) | set(vouchers)):
        asked = sorted(prices[key])
        code, name, cost, rate = most_common(spellings[key]), most_common(names[key]), asked[(len(asked) - 1) // 2], STANDARD_RATE_BP
        if key in vouchers:
            cost, rate = Decimal(name.partition("£")[2]), 0
        rows.append([code, name, f"{cost:.2f}", rate])
    return rows


def choose_invoices(lines):
    invoices, scattered, last = {}, set(), None
    for line in lines:
        no = line["InvoiceNo"]
        if no in invoices and no != last:
            scattered.add(no)
        invoices.setdefault(no, []).append(line)
        last = no
    rest = {"longest": max(map(len, invoices.values())), "scattered": scattered}
    chosen = set(list(invoices)[::EVERY])
    for what, wanted, is_one in RARE:
        found = [no for no, of in invoices.items() if is_one(no, of, rest)]
        if not found:
            sys.exit(f"the file holds no {what}")
        # Spread over the file rather than all from its first day.
        step = max(1, len(found) // wanted)
        chosen.update(found[::step][:wanted])
    return chosen


def most_common(counter):
    return min(counter, key=lambda value: (-counter[value], value))


def has_digit(code):
    return any(letter.isdigit() for letter in code)


def is_correction(no, lines):
    return not no.startswith("C") and any(quantity(line) < 0 for line in lines)


def finer_than_a_penny(line):
    return price(line) != price(line).quantize(Decimal("0.01"))


def price(line):
    return Decimal(line["UnitPrice"])


def quantity(line):
    return int(line["Quantity"])


if __name__ == "__main__":
    main()
