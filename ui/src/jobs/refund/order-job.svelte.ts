import type { ApiError, OrderView, RefundLine } from '../../lib/api/node.gen';
import { t } from '../../lib/messages';
import { quantity } from '../../lib/money';
import { errorText, type Till } from '../../lib/till.svelte';
import type { Job, PrimaryAction } from '../job';

const ONE = 1000;

/** One found order, and what of it comes back. */
export class OrderJob implements Job {
  readonly kind = 'order';
  readonly id: string;
  /** Null until it is looked up. */
  order = $state.raw<OrderView | null>(null);
  /** Why it could not be looked up. */
  problem = $state('');
  /** Whether the server is asked for it, because this till keeps no more of it than its row. */
  readonly isAsked: boolean;
  /** How much of each line comes back, in thousandths. */
  picked = $state<number[]>([]);
  reason = $state('');
  #till: Till;
  #onDone: () => void;
  #isSent = $state(false);

  constructor(till: Till, id: string, onDone: () => void, isHere = true) {
    this.#till = till;
    this.id = id;
    this.isAsked = !isHere;
    this.#onDone = onDone;
    void this.load();
  }

  async load(): Promise<void> {
    this.problem = '';
    const refused = (error: ApiError) => (this.problem = errorText(error));
    const order = await this.#till.ask({ type: 'order', order: this.id }, refused);
    if (!order) {
      this.problem ||= t('error.no_such_order');
      return;
    }
    const isSameLines = this.order?.lines.length === order.lines.length;
    this.order = order;
    this.picked = order.lines.map((line, i) =>
      isSameLines ? Math.min(this.picked[i] ?? 0, line.refundable_milli) : 0,
    );
  }

  isRefundable = $derived.by(
    () =>
      this.order !== null &&
      !this.order.summary.is_refund &&
      this.order.lines.some((line) => line.refundable_milli > 0),
  );
  mayRefundPayment = $derived.by(() => this.#till.view?.signed_in?.may_refund_payment ?? false);
  pickedMilli = $derived.by(() => this.picked.reduce((sum, n) => sum + n, 0));

  /** What the picked lines come to; exact when whole lines come back, otherwise a shown estimate: the node decides. */
  value = $derived.by(() => {
    let minor = 0;
    let isExact = true;
    for (const [i, line] of (this.order?.lines ?? []).entries()) {
      const milli = this.picked[i] ?? 0;
      if (milli === line.quantity_milli) minor += line.amount_minor;
      else if (milli > 0) {
        minor += Math.round((line.amount_minor * milli) / line.quantity_milli);
        isExact = false;
      }
    }
    return { minor, isExact };
  });

  primary: PrimaryAction | null = $derived.by(() =>
    this.isRefundable
      ? {
          label:
            this.pickedMilli > 0
              ? t('refund.submit', { quantity: quantity(this.pickedMilli) })
              : t('refund.submit_none'),
          testid: 'confirm-refund',
          tone: 'danger',
          isEnabled: !this.#isSent && this.pickedMilli > 0 && this.reason.trim() !== '',
          run: () => void this.refund(),
        }
      : null,
  );

  /** Picks one more or one less of a line; the last part of a broken quantity comes whole. */
  change(index: number, by: 1 | -1): void {
    const most = this.order?.lines[index]?.refundable_milli ?? 0;
    const now = this.picked[index] ?? 0;
    this.picked[index] = Math.max(0, Math.min(most, now + by * ONE));
  }

  all(index: number): void {
    this.picked[index] = this.order?.lines[index]?.refundable_milli ?? 0;
  }

  everything(): void {
    this.picked = (this.order?.lines ?? []).map((line) => line.refundable_milli);
  }

  async refund(): Promise<void> {
    const order = this.order;
    if (!order || !this.primary?.isEnabled) return;
    const lines: RefundLine[] = this.picked
      .map((quantity_milli, line) => ({ line, quantity_milli }))
      .filter((line) => line.quantity_milli > 0);
    this.#isSent = true;
    const outcome = await this.#till.send({
      type: 'refund_sale',
      refund: order.next_refund,
      original: this.id,
      lines,
      reason: this.reason.trim(),
    });
    this.#isSent = false;
    if (outcome.kind === 'done') this.#onDone();
    else if (outcome.kind === 'refused') void this.load();
  }

  /** Gives back what another sale sold too: how much that is, the node decides. */
  async refundTwice(): Promise<void> {
    const order = this.order;
    if (!order?.paid_twice || this.#isSent) return;
    this.#isSent = true;
    const outcome = await this.#till.send({
      type: 'refund_second_payment',
      refund: order.next_refund,
      sale: this.id,
    });
    this.#isSent = false;
    if (outcome.kind === 'done') this.#onDone();
    else if (outcome.kind === 'refused') void this.load();
  }

  async reprint(): Promise<void> {
    const outcome = await this.#till.send({ type: 'reprint', order: this.id });
    const receipt = this.order?.summary.receipt ?? '';
    if (outcome.kind === 'done')
      this.#till.notify({ tone: 'info', text: t('history.reprinted', { receipt }) });
  }
}
