/** Stand-ins for the node and the sync server: they record what they are asked and answer when they are told to. */
import { type Answer, BackendError } from '../src/lib/api/client';
import type {
  ClosedShiftView,
  ApiError,
  CartLineView,
  Command,
  Event as NodeEvent,
  OpenOrderView,
  ShiftView,
  ProductView,
  Query,
  TillView,
} from '../src/lib/api/node.gen';
import type { TillBackend } from '../src/lib/backend';

export const GBP = { currency: 'GBP', exponent: 2 };

export function line(code: string, name: string, pieces: number, priceMinor: number): CartLineView {
  return {
    code,
    name,
    quantity_milli: pieces * 1000,
    unit_price: priceMinor * 100,
    tax_rate_bp: 2000,
    amount_minor: pieces * priceMinor,
  };
}

export function tillView(lines: CartLineView[] = [], more: Partial<TillView> = {}): TillView {
  const total_minor = lines.reduce((sum, l) => sum + l.amount_minor, 0);
  const staff = { id: 'staff-1', name: 'Amara', role: 'cashier' as const };
  return {
    store: { code: 'S01', name: 'Harbour Street', ...GBP, tax_included: true, languages: ['en'] },
    till: { name: 'Till 3', series: 'S01-T03b' },
    staff: [staff],
    signed_in: {
      staff,
      may_refund_without_sale: true,
      may_override_price: true,
      may_refund_payment: true,
      may_adjust_stock: true,
      may_open_drawer: true,
    },
    shift: {
      id: 'shift-1',
      business_day: '2026-11-21',
      opened_at_ms: 0,
      float_minor: 10_000,
      expected_minor: 10_000,
      sales: 0,
      refunds: 0,
      sales_minor: 0,
      refunds_minor: 0,
    },
    last_closed_shift: null,
    cart: {
      order: 'order-1',
      is_refund: false,
      reason: null,
      lines,
      touched: lines.length ? lines.length - 1 : null,
      taxes: [{ rate_bp: 2000, net_minor: total_minor - 100, tax_minor: 100 }],
      total_minor,
      recalled: null,
      quick_cash_minor: [total_minor, 5_000],
    },
    open_orders: 0,
    last_order: null,
    link: {
      state: 'online',
      way: 'quic',
      unsent: 0,
      not_central: 0,
      neighbours: 0,
      last_contact_ms: 0,
      problem: null,
      history_percent: null,
    },
    print_jobs: [],
    print_jobs_more: 0,
    ...more,
  };
}

export const refusal = (code: ApiError['code'], more: Partial<ApiError> = {}) =>
  new BackendError({ kind: 'refused', error: { code, message: 'In words.', retry_after_ms: null, ...more } });
export const lost = () => new BackendError({ kind: 'unreachable' });

type Reply = TillView | BackendError;

/** A closed shift whose drawer was exact; `more` replaces parts. */
export const closedShift = (shift: ShiftView, more: Partial<ClosedShiftView> = {}): ClosedShiftView => ({
  shift,
  till: 'Till 1',
  title: 'Z S01-T01a 2026-03-02 18:00',
  closed_at_ms: 1_772_474_400_000,
  counted_minor: shift.expected_minor,
  difference_minor: 0,
  addenda: [],
  difference_with_addenda_minor: 0,
  ...more,
});

/** A node that answers commands by `reply`, at once or, while `isSlow`, when `answer` is called. */
export class FakeNode implements TillBackend {
  commands: Command[] = [];
  queries: Query[] = [];
  products: ProductView[] = [];
  openOrders: OpenOrderView[] = [];
  shifts: ClosedShiftView[] = [];
  isSlow = false;
  isGone = false;
  reply: (command: Command, view: TillView) => Reply = (_, view) => view;
  #waiting: (() => void)[] = [];
  #onEvent: (event: NodeEvent) => void = () => {};

  constructor(public view: TillView = tillView()) {}

  command(command: Command): Promise<TillView> {
    this.commands.push(command);
    return new Promise((done, failed) => {
      const answer = () => {
        const reply = this.isGone ? lost() : this.reply(command, this.view);
        if (reply instanceof BackendError) return failed(reply);
        this.view = reply;
        done(reply);
      };
      if (this.isSlow) this.#waiting.push(answer);
      else answer();
    });
  }

  async query<Q extends Query>(query: Q): Promise<Answer<Q>> {
    this.queries.push(query);
    if (this.isGone) throw lost();
    const answers = {
      till: this.view,
      search: this.products,
      orders: [],
      order: null,
      find_order: null,
      open_orders: this.openOrders,
      shifts: this.shifts,
      ledger: null,
    };
    return answers[query.type] as unknown as Answer<Q>;
  }

  async picture(id: string): Promise<Blob | null> {
    return id === 'pic1' ? new Blob(['picture'], { type: 'image/png' }) : null;
  }

  subscribe(onEvent: (event: NodeEvent) => void): () => void {
    this.#onEvent = onEvent;
    return () => {};
  }

  announce(event: NodeEvent): void {
    this.#onEvent(event);
  }

  /** Answers the command that has waited longest. */
  async answer(): Promise<void> {
    this.#waiting.shift()?.();
    await settled();
  }
}

/** Lets everything that has been answered reach the screen. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

/** A pause that ends when the test says so. */
export class Clock {
  #waiting: (() => void)[] = [];
  pause = (): Promise<void> => new Promise((done) => this.#waiting.push(done));

  async tick(): Promise<void> {
    for (const done of this.#waiting.splice(0)) done();
    await settled();
  }
}
