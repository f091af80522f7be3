/**
 * A sync server that answers from a made-up shop, counts what it is asked, and takes edits: behind `fetch` in tests, and
 * behind a real port for the pictures.
 */
import type {
  FieldEdit,
  ImportView,
  PictureAnswer,
  ProductEdit,
  ProductRow,
  ProductView,
  SaleDetail,
  SaleRow,
  SalesReport,
  SalesRow,
  StoreView,
  TaxClassView,
} from '../../src/lib/api/server.gen';
import { dayIn, hourIn } from '../../src/lib/days';
import { money, quantity, taxRate, unitPrice } from '../../src/lib/money';
import * as shop from './shop';

export interface Ask {
  method: string;
  path: string;
  query: URLSearchParams;
  body: unknown;
}
export interface Reply {
  status: number;
  value: unknown;
}

const GBP = { currency: 'GBP', exponent: 2 };
const LONDON = 'Europe/London';
const ok = (value: unknown): Reply => ({ status: 200, value });
const fail = (status: number, code: string, message = ''): Reply => ({ status, value: { code, message } });

export class ShopServer {
  asked: Ask[] = [];
  /** Who is signed in. */
  session: string | null = 'Dana Levi';
  password = 'correct horse';
  catalogue = shop.products();
  made = shop.sales(this.catalogue);
  taxClasses = shop.taxClasses();
  stores = shop.stores();
  devices = shop.devices();
  exceptions = shop.exceptions(this.made);
  openOrders = shop.openOrders();
  shifts = shop.shifts();
  imports = shop.imports();
  isComplete = false;
  /** Every answer instead of the usual one, for what is asked below /api/v1; null for never. */
  instead: ((ask: Ask) => Reply | null | undefined) | null = null;
  #histories = new Map<string, FieldEdit[]>();
  #seen = 1;

  /** Null is an answer that never comes. */
  answer(ask: Ask): Reply | null {
    this.asked.push(ask);
    const path = ask.path.replace(/^\/api\/v1/, '');
    if (ask.path === '/api/face') return ok({ face: 'manager' });
    const instead = this.instead?.({ ...ask, path });
    if (instead !== undefined) return instead;
    if (path === '/session') return this.#session(ask);
    if (!this.session) return fail(401, 'not_signed_in', 'Sign in.');
    return this.#route({ ...ask, path }) ?? fail(404, 'not_found', 'There is no such thing.');
  }

  /** What was asked at a path, newest last. */
  askedAt(path: string): Ask[] {
    return this.asked.filter((ask) => ask.path === `/api/v1${path}`);
  }

  #session({ method, body }: Ask): Reply {
    if (method === 'DELETE') {
      this.session = null;
      return { status: 204, value: null };
    }
    if (method === 'POST') {
      const { name, password } = body as { name: string; password: string };
      if (password !== this.password) return fail(401, 'wrong_password');
      this.session = name;
    }
    return this.session ? ok({ name: this.session }) : fail(401, 'not_signed_in');
  }

  #route(ask: Ask): Reply | null {
    const { method, path, query, body } = ask;
    const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
    switch (`${method} ${parts[0]}`) {
      case 'GET reports':
        return ok(this.report(query));
      case 'GET sales':
        return parts.length === 1 ? ok(this.#salesPage(query)) : this.#sale(parts[2]!);
      case 'GET stock':
        return ok(parts.length === 1 ? this.#stock(query) : this.#movements(parts[1]!, parts[2]!));
      case 'GET devices':
        return ok(this.devices);
      case 'POST enrolment-codes':
        return ok({
          link: 'evertill://sync.example.org:7443/enrol#4QK7-2MZD-9XWT-1HPB&ca=b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9',
          expires_at_ms: shop.NOW + 900_000,
        });
      case 'GET shifts':
        return ok({
          ...page(this.#ofStore(this.shifts, query), query),
          coverage: shop.coverage(this.isComplete),
        });
      case 'GET open-orders':
        return ok(this.#openOrders(query));
      case 'GET exceptions':
        return ok(this.#exceptions(query));
      case 'POST exceptions':
        return this.#review(parts[1]!, body as { note: string });
      case 'GET products':
        return parts.length === 1 ? ok(this.#products(query)) : this.#product(parts[1]!);
      case 'POST products':
        return this.#create(body as Partial<ProductEdit>);
      case 'PATCH products':
        return this.#edit(parts[1]!, body as Partial<ProductEdit>);
      case 'PUT products':
      case 'DELETE products':
        return this.#picture(parts[1]!, method === 'PUT');
      case 'GET tax-classes':
        return ok(this.taxClasses);
      case 'POST tax-classes':
      case 'PATCH tax-classes':
        return this.#taxClass(parts[1], body as Partial<TaxClassView>);
      case 'GET stores':
        return parts.length === 1 ? ok(this.stores) : this.#store(parts[1]!);
      case 'PATCH stores':
        return this.#editStore(parts[1]!, body as Partial<StoreView>);
      default:
        return parts[0] === 'imports' ? this.#import(method, parts, query) : null;
    }
  }

  #selected(query: URLSearchParams): shop.Sale[] {
    const zone = query.get('time_zone') ?? LONDON;
    const isClock = query.get('basis') === 'clock';
    const [from, to] = [query.get('from')!, query.get('to')!];
    return this.made.filter(({ row, lines }) => {
      const day = isClock ? dayIn(zone, row.at_ms) : row.business_day!;
      const says = (name: string, value: string) => !query.has(name) || query.get(name) === value;
      const search = query.get('search')?.toLowerCase();
      return (
        day >= from &&
        day <= to &&
        says('store', row.store) &&
        says('till', row.device) &&
        says('cashier', row.cashier) &&
        says('kind', row.kind) &&
        says('hour', String(hourIn(zone, row.at_ms))) &&
        says('tender', row.tenders[0]!) &&
        (!query.has('product') || lines.some((line) => line.product === query.get('product'))) &&
        (!query.has('category') || lines.some((line) => line.category === query.get('category'))) &&
        (!query.has('tax_rate_bp') ||
          lines.some((line) => String(line.tax_rate_bp) === query.get('tax_rate_bp'))) &&
        (!search || row.number.toLowerCase().includes(search) || money(row.total_minor, GBP).includes(search))
      );
    });
  }

  report(query: URLSearchParams): SalesReport {
    const group_by = query.get('group_by') as SalesReport['group_by'];
    const zone = query.get('time_zone') ?? LONDON;
    const rows = new Map<string, SalesRow>();
    const byLine = group_by === 'product' || group_by === 'category';
    const empty = (key: string, label: string, detail = ''): SalesRow => ({
      key,
      label,
      detail,
      sales: 0,
      sales_minor: 0,
      refunds: 0,
      refunds_minor: 0,
      net_minor: 0,
      quantity_milli: byLine ? 0 : null,
      tax_minor: byLine || group_by === 'tender' ? null : 0,
    });
    const [from, to] = [query.get('from')!, query.get('to')!];
    if (group_by === 'day')
      for (let at = Date.parse(from); at <= Date.parse(to); at += 86_400_000) {
        const day = new Date(at).toISOString().slice(0, 10);
        rows.set(day, empty(day, day));
      }
    if (group_by === 'hour')
      for (let hour = 0; hour < 24; hour += 1) rows.set(String(hour), empty(String(hour), String(hour)));
    if (group_by === 'till')
      for (const till of this.devices.filter((d) => d.kind === 'till'))
        rows.set(till.device, empty(till.device, till.name, till.store ?? ''));
    const total = empty('total', 'Total');
    const add = (row: SalesRow, kind: SaleRow['kind'], minor: number, milli: number) => {
      if (kind === 'sale') {
        row.sales += 1;
        row.sales_minor += minor;
      } else {
        row.refunds += 1;
        row.refunds_minor -= minor;
      }
      row.net_minor += minor;
      if (row.quantity_milli !== null) row.quantity_milli += milli;
      if (row.tax_minor !== null) row.tax_minor += Math.round(minor / 6);
    };
    for (const sale of this.#selected(query)) {
      const { row, lines } = sale;
      add(total, row.kind, row.total_minor, 0);
      for (const [key, label, detail, minor, milli] of keysOf(group_by, sale, zone)) {
        if (!rows.has(key)) rows.set(key, empty(key, label, detail));
        add(rows.get(key)!, row.kind, minor, milli);
      }
      if (total.quantity_milli !== null)
        total.quantity_milli += lines.reduce((sum, l) => sum + l.quantity_milli, 0);
    }
    const made = [...rows.values()];
    if (!['day', 'hour', 'till'].includes(group_by)) made.sort((a, b) => b.net_minor - a.net_minor);
    return {
      from,
      to,
      basis: query.get('basis') === 'clock' ? 'clock' : 'business_day',
      time_zone: zone,
      group_by,
      store: query.get('store'),
      ...GBP,
      rows: made,
      truncated: false,
      total,
      coverage: shop.coverage(this.isComplete),
    };
  }

  #salesPage(query: URLSearchParams) {
    const found = this.#selected(query).map(({ row }) => row);
    const { rows, next } = page(found, query);
    return {
      rows,
      next,
      time_zone: query.get('time_zone') ?? LONDON,
      coverage: shop.coverage(this.isComplete),
    };
  }

  #sale(order: string): Reply | null {
    const at = this.made.findIndex(({ row }) => row.order === order);
    const sale = this.made[at];
    if (!sale) return null;
    const { row, lines } = sale;
    const isRefund = row.kind === 'refund';
    const original = isRefund ? (this.made[at + 3]?.row ?? null) : null;
    const refund = this.made.find((other, i) => other.row.kind === 'refund' && this.made[i + 3] === sale);
    const store = this.stores.find((s) => s.code === row.store)!;
    const abs = (minor: number) => money(Math.abs(minor), GBP);
    const detail: SaleDetail = {
      sale: row,
      original,
      refunds: refund ? [refund.row] : [],
      receipt: {
        store_name: store.name,
        address: store.address,
        header: store.receipt_header,
        is_refund: isRefund,
        number: row.number,
        at: '2026-11-21 14:29',
        cashier: row.cashier,
        original_number: original?.number ?? null,
        reason: isRefund ? 'Damaged' : null,
        lines: lines.map((line) => ({
          name: line.name,
          detail:
            Math.abs(line.quantity_milli) === 1000
              ? null
              : `${quantity(Math.abs(line.quantity_milli))} × ${unitPrice(line.unit_price_centi, GBP)}`,
          amount: money(line.amount_minor, GBP),
        })),
        total: money(row.total_minor, GBP),
        taxes: [
          [
            taxRate(2000),
            abs(row.total_minor - Math.round(row.total_minor / 6)),
            abs(Math.round(row.total_minor / 6)),
          ],
        ],
        tax_included: true,
        payments: [
          {
            method: 'Cash',
            handed_over: abs(row.total_minor + (isRefund ? 0 : 500)),
            change: isRefund ? null : '£5.00',
          },
        ],
        footer: store.receipt_footer,
      },
      lines: lines.map((line, i) => ({ ...line, refunded_milli: refund && i === 0 ? 1000 : 0 })),
      exceptions: this.exceptions.filter((exception) => exception.order === order),
      proof: {
        device: row.device,
        incarnation: shop.id(6, 1),
        scope: `store/${row.store}`,
        seq: 8_812 - at,
        commit: 9_120 - at,
        hash: 'b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9',
        received_at_ms: row.at_ms + 140,
      },
    };
    return ok(detail);
  }

  #stockRows() {
    return this.catalogue.slice(0, 80).flatMap((product, i) =>
      this.stores.slice(0, i % 3 === 0 ? 2 : 1).map((store, s) => ({
        store: store.code,
        product: product.product,
        code: product.code,
        name: product.name,
        category: product.category,
        quantity_milli:
          i % 17 === 3
            ? -3000
            : i % 11 === 4
              ? 0
              : product.code === 'TEA-L'
                ? 12_375
                : (7 + ((i * 37) % 190)) * 1000,
        moved_at_ms: i % 13 === 7 ? null : shop.NOW - (i + s) * 3_700_000,
      })),
    );
  }

  #stock(query: URLSearchParams) {
    const search = query.get('search')?.toLowerCase() ?? '';
    const below = query.has('below_milli') ? Number(query.get('below_milli')) : Infinity;
    const found = this.#stockRows().filter(
      (row) =>
        (!query.has('store') || row.store === query.get('store')) &&
        (!query.has('category') || row.category === query.get('category')) &&
        row.quantity_milli < below &&
        `${row.name} ${row.code}`.toLowerCase().includes(search),
    );
    return { ...page(found, query), coverage: shop.coverage(this.isComplete) };
  }

  #movements(store: string, product: string) {
    const row = this.#stockRows().find((one) => one.store === store && one.product === product)!;
    let level = row.quantity_milli;
    const movements = Array.from({ length: 14 }, (_, i) => {
      const sale = this.made[i * 5]!.row;
      const reason = i === 11 ? 'count' : i === 9 ? 'adjustment' : i === 4 ? 'refund' : 'sale';
      const moved = reason === 'sale' ? -1000 * (1 + (i % 3)) : reason === 'refund' ? 1000 : 24_000;
      const counted_milli = i === 11 ? 24_000 : null;
      const movement = {
        counted_milli,
        at_ms: sale.at_ms,
        reason,
        quantity_milli: counted_milli === null ? moved : 0,
        level_milli: level,
        order: reason === 'adjustment' || reason === 'count' ? null : sale.order,
        number: reason === 'adjustment' || reason === 'count' ? null : sale.number,
        till: sale.till,
        cashier: sale.cashier,
        note: reason === 'adjustment' ? 'Delivery of Thursday' : '',
      };
      level -= movement.quantity_milli;
      return movement;
    });
    return { row, movements, next: null, coverage: shop.coverage(this.isComplete) };
  }

  #exceptions(query: URLSearchParams) {
    const found = this.exceptions.filter(
      (one) =>
        (query.get('state') === 'all' || (one.review === null && one.settled === null)) &&
        (!query.has('kind') || one.kind === query.get('kind')) &&
        (!query.has('store') || one.store === query.get('store')),
    );
    return {
      ...page(found, query),
      open: this.exceptions.filter((one) => !one.review && !one.settled).length,
    };
  }

  #ofStore<Row extends { store: string }>(rows: Row[], query: URLSearchParams): Row[] {
    return rows.filter((one) => !query.has('store') || one.store === query.get('store'));
  }

  #openOrders(query: URLSearchParams) {
    const search = query.get('search')?.toLowerCase() ?? '';
    const found = this.openOrders.filter(
      (one) =>
        (!query.has('store') || one.store === query.get('store')) &&
        `${one.label} ${one.note}`.toLowerCase().includes(search),
    );
    return { ...page(found, query), open: found.length, coverage: shop.coverage(this.isComplete) };
  }

  #review(id: string, { note }: { note: string }): Reply | null {
    const one = this.exceptions.find((exception) => exception.id === id);
    if (!one) return null;
    one.review = { by: this.session!, at_ms: shop.NOW, note };
    return ok(one);
  }

  #products(query: URLSearchParams) {
    const search = query.get('search')?.toLowerCase() ?? '';
    const found = this.catalogue.filter(
      (one) =>
        (!query.has('category') || one.category === query.get('category')) &&
        (!query.has('active') || String(one.active) === query.get('active')) &&
        `${one.name} ${one.code} ${one.barcodes.join(' ')}`.toLowerCase().includes(search),
    );
    const categories = [...new Set(this.catalogue.map((one) => one.category))].filter(Boolean).sort();
    return { ...page(found, query), total: found.length, categories, ...GBP };
  }

  #product(id: string): Reply | null {
    const product = this.catalogue.find((one) => one.product === id);
    return product ? ok(this.#view(product)) : null;
  }

  #view(product: ProductRow): ProductView {
    return { product: { ...product }, seen: `seen-${this.#seen}`, history: this.history(product.product) };
  }

  /** Who wrote what, newest first; a test may add to it. */
  history(id: string): FieldEdit[] {
    if (!this.#histories.has(id)) this.#histories.set(id, []);
    return this.#histories.get(id)!;
  }

  write(id: string, field: string, old: string | null, now: string, by = this.session ?? ''): void {
    const history = this.history(id);
    for (const edit of history)
      if (edit.field === field && edit.outcome === 'current') edit.outcome = 'replaced';
    history.unshift({ field, old, new: now, by, at_ms: shop.NOW, outcome: 'current' });
    this.#seen += 1;
  }

  #create(edit: Partial<ProductEdit>): Reply {
    if (this.catalogue.some((one) => one.code === edit.code))
      return fail(409, 'conflict', `Another product has the code ${edit.code}: choose another code.`);
    const product = {
      product: shop.id(1, 900 + this.catalogue.length),
      code: '',
      name: '',
      barcodes: [],
      category: '',
      price_centi: 0,
      tax_class: null,
      tax_rate_bp: 0,
      picture: null,
      active: true,
    };
    this.catalogue.push(this.#changed(product, edit));
    return ok(this.#view(this.catalogue.at(-1)!));
  }

  #edit(id: string, edit: Partial<ProductEdit>): Reply | null {
    const at = this.catalogue.findIndex((one) => one.product === id);
    if (at < 0) return null;
    const before = this.catalogue[at]!;
    this.catalogue[at] = this.#changed(before, edit);
    const words: Record<string, [string, string]> = {};
    if (edit.name !== undefined) words['name'] = [before.name, edit.name!];
    if (edit.price_centi !== undefined)
      words['price'] = [unitPrice(before.price_centi, GBP), unitPrice(edit.price_centi!, GBP)];
    if (edit.category !== undefined) words['category'] = [before.category, edit.category!];
    if (edit.active !== undefined) words['active'] = [String(before.active), String(edit.active)];
    if (edit.barcodes !== undefined)
      words['barcodes'] = [before.barcodes.join(', '), edit.barcodes!.join(', ')];
    for (const [field, [old, now]] of Object.entries(words)) this.write(id, field, old, now);
    return ok(this.#view(this.catalogue[at]!));
  }

  #changed(product: ProductRow, { seen: _, ...edit }: Partial<ProductEdit>): ProductRow {
    const next = { ...product, ...(edit as Partial<ProductRow>) };
    if (edit.tax_class)
      next.tax_rate_bp = this.taxClasses.find((one) => one.tax_class === edit.tax_class)!.rate_bp;
    else if (edit.tax_rate_bp !== undefined) next.tax_class = null;
    return next;
  }

  #picture(id: string, isThere: boolean): Reply | null {
    const product = this.catalogue.find((one) => one.product === id);
    if (!product) return null;
    product.picture = isThere ? 'picture-0' : null;
    this.write(id, 'picture', null, isThere ? 'a picture' : '');
    const answer: PictureAnswer = { picture: product.picture, view: this.#view(product) };
    return ok(answer);
  }

  #taxClass(id: string | undefined, edit: Partial<TaxClassView>): Reply | null {
    if (id === undefined) {
      const made = {
        tax_class: shop.id(2, 9),
        name: '',
        rate_bp: 0,
        active: true,
        products: 0,
        ...edit,
        seen: 'seen-1',
      };
      this.taxClasses.push(made);
      return ok(made);
    }
    const at = this.taxClasses.findIndex((one) => one.tax_class === id);
    if (at < 0) return null;
    this.taxClasses[at] = { ...this.taxClasses[at]!, ...edit, seen: 'seen-2' };
    return ok(this.taxClasses[at]);
  }

  #store(code: string): Reply | null {
    const store = this.stores.find((one) => one.code === code);
    return store ? ok({ ...store, history: this.history(code) }) : null;
  }

  #editStore(code: string, { seen: _, ...edit }: Partial<StoreView>): Reply | null {
    const at = this.stores.findIndex((one) => one.code === code);
    if (at < 0) return null;
    const before = this.stores[at]!;
    for (const [field, now] of Object.entries(edit))
      this.write(code, field, String(before[field as keyof StoreView]), String(now));
    this.stores[at] = { ...before, ...edit, seen: `seen-${this.#seen}` };
    return this.#store(code);
  }

  #import(method: string, parts: string[], query: URLSearchParams): Reply | null {
    if (parts.length === 1 && method === 'GET') return ok(this.imports);
    if (parts.length === 1) {
      const begun: ImportView = {
        ...this.imports[0]!,
        id: 'import-new',
        name: query.get('name')!,
        state: 'reading',
        done: 0,
        rows: 0,
        changes: [],
        message: 'The file is being read.',
      };
      this.imports.unshift(begun);
      return ok(begun);
    }
    const one = this.imports.find((known) => known.id === parts[1]);
    if (!one) return null;
    if (parts[2] === 'apply')
      Object.assign(one, { state: 'applied', can_be_undone: true, message: 'It is written.' });
    if (parts[2] === 'undo')
      Object.assign(one, {
        state: 'undone',
        can_be_undone: false,
        kept: 1,
        message: 'It has been taken back.',
      });
    if (method === 'DELETE') this.imports = this.imports.filter((known) => known !== one);
    return method === 'DELETE' ? { status: 204, value: null } : ok(one);
  }
}

function page<R>(rows: R[], query: URLSearchParams): { rows: R[]; next: string | null } {
  const from = Number(query.get('after') ?? 0);
  const to = from + Number(query.get('limit') ?? 50);
  return { rows: rows.slice(from, to), next: to < rows.length ? String(to) : null };
}

type Share = [key: string, label: string, detail: string, minor: number, milli: number];

function keysOf(group: SalesReport['group_by'], { row, lines }: shop.Sale, zone: string): Share[] {
  const whole = (key: string, label: string, detail = ''): Share[] => [
    [key, label, detail, row.total_minor, 0],
  ];
  const parts = (keyOf: (line: (typeof lines)[number]) => [string, string, string]) => {
    const sums = new Map<string, Share>();
    for (const line of lines) {
      const [key, label, detail] = keyOf(line);
      const known = sums.get(key) ?? [key, label, detail, 0, 0];
      sums.set(key, [key, label, detail, known[3] + line.amount_minor, known[4] + line.quantity_milli]);
    }
    return [...sums.values()];
  };
  switch (group) {
    case 'day':
      return whole(row.business_day!, row.business_day!);
    case 'hour':
      return whole(String(hourIn(zone, row.at_ms)), '');
    case 'till':
      return whole(row.device, row.till, row.store);
    case 'cashier':
      return whole(row.cashier, row.cashier);
    case 'tender':
      return whole(row.tenders[0]!, row.tenders[0]!);
    case 'product':
      return parts((line) => [line.product, line.name, line.code]);
    case 'category':
      return parts((line) => [line.category, line.category, '']);
    case 'tax_rate':
      return parts((line) => [String(line.tax_rate_bp), taxRate(line.tax_rate_bp), '']);
  }
}
