/**
 * Hand-written types that sit beside the generated ones: which answer each query has, and how a call can fail.
 * The generated files are replaced whole whenever the Rust types change; nothing here is.
 */
import type {
  ClosedShiftView,
  ApiError,
  LedgerView,
  OpenOrderView,
  OrderSummary,
  OrderView,
  ProductView,
  Query,
  TillView,
} from './node.gen';

/** What the node answers to each kind of query. */
export interface Answers {
  till: TillView;
  search: ProductView[];
  orders: OrderSummary[];
  order: OrderView;
  find_order: OrderView;
  open_orders: OpenOrderView[];
  shifts: ClosedShiftView[];
  ledger: LedgerView;
}

export type Answer<Q extends Query> = Answers[Q['type']];

/** Why a call brought no answer. */
export type Failure =
  /** The other side said no, and why. */
  | { kind: 'refused'; error: ApiError }
  /** Nobody answered, or nonsense came back: whether it was done is not known. */
  | { kind: 'unreachable' };

export class BackendError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.kind === 'refused' ? failure.error.message : 'no answer');
    this.name = 'BackendError';
  }
}

export const unreachable = () => new BackendError({ kind: 'unreachable' });
export const refused = (error: ApiError) => new BackendError({ kind: 'refused', error });

/** The error of a refusal, or null when nobody answered. Anything that is not a BackendError is a bug and is thrown on. */
export function apiErrorOf(thrown: unknown): ApiError | null {
  if (!(thrown instanceof BackendError)) throw thrown;
  return thrown.failure.kind === 'refused' ? thrown.failure.error : null;
}
