/** The one seam to the sync server's manager API. */
import type {
  Basis,
  DeviceView,
  EnrolmentCode,
  EnrolmentCodeRequest,
  ExceptionRow,
  ExceptionsPage,
  GroupBy,
  ImportView,
  MovementsPage,
  OpenOrdersPage,
  PictureAnswer,
  ProductEdit,
  ProductsPage,
  ProductView,
  ReviewRequest,
  SaleDetail,
  SalesPage,
  SalesReport,
  SessionView,
  ShiftsPage,
  SignInRequest,
  StockPage,
  StoreEdit,
  StoreView,
  TaxClassEdit,
  TaxClassView,
  WebError,
} from './api/server.gen';
import { address } from './router.svelte';

/** Which days, of which stores. Both days included, `YYYY-MM-DD`. */
export interface Span {
  from: string;
  to: string;
  basis?: Basis;
  time_zone?: string;
  store?: string;
  /** The only currency in it; the first store's when absent. */
  currency?: string;
}

export interface ReportQuestion extends Span {
  group_by: GroupBy;
}

/** What a list of sales is narrowed by: the keys of a report's rows. */
export const SALE_FILTERS = [
  'hour',
  'till',
  'cashier',
  'product',
  'category',
  'tender',
  'tax_rate_bp',
  'kind',
  'search',
] as const;
export type SaleFilter = (typeof SALE_FILTERS)[number];
export type SalesQuestion = Span & Partial<Record<SaleFilter, string>>;

export interface StockQuestion {
  store?: string;
  search?: string;
  category?: string;
  below_milli?: string;
}

export interface OpenOrdersQuestion {
  store?: string;
  search?: string;
}

export interface ShiftsQuestion {
  store?: string;
}

export interface ProductsQuestion {
  search?: string;
  category?: string;
  active?: string;
}

export interface ExceptionsQuestion {
  state: 'open' | 'all';
  kind?: string;
  store?: string;
}

/** Which part of a list: what its last page called `next`, and how many rows. */
export interface PageOf {
  after?: string;
  limit?: string;
}

export interface ManagerBackend {
  /** Null when nobody is signed in. */
  session(): Promise<SessionView | null>;
  signIn(request: SignInRequest): Promise<SessionView>;
  signOut(): Promise<void>;
  report(question: ReportQuestion): Promise<SalesReport>;
  sales(question: SalesQuestion, page: PageOf): Promise<SalesPage>;
  sale(store: string, order: string): Promise<SaleDetail>;
  stock(question: StockQuestion, page: PageOf): Promise<StockPage>;
  movements(store: string, product: string, page: PageOf): Promise<MovementsPage>;
  openOrders(question: OpenOrdersQuestion, page: PageOf): Promise<OpenOrdersPage>;
  shifts(question: ShiftsQuestion, page: PageOf): Promise<ShiftsPage>;
  devices(): Promise<DeviceView[]>;
  enrolmentCode(request: EnrolmentCodeRequest): Promise<EnrolmentCode>;
  exceptions(question: ExceptionsQuestion, page: PageOf): Promise<ExceptionsPage>;
  review(exception: string, request: ReviewRequest): Promise<ExceptionRow>;
  products(question: ProductsQuestion, page: PageOf): Promise<ProductsPage>;
  product(id: string): Promise<ProductView>;
  createProduct(edit: Partial<ProductEdit>): Promise<ProductView>;
  editProduct(id: string, edit: Partial<ProductEdit>): Promise<ProductView>;
  setPicture(id: string, picture: Blob): Promise<PictureAnswer>;
  removePicture(id: string): Promise<PictureAnswer>;
  taxClasses(): Promise<TaxClassView[]>;
  createTaxClass(edit: Partial<TaxClassEdit>): Promise<TaxClassView>;
  editTaxClass(id: string, edit: Partial<TaxClassEdit>): Promise<TaxClassView>;
  stores(): Promise<StoreView[]>;
  store(code: string): Promise<StoreView>;
  editStore(code: string, edit: Partial<StoreEdit>): Promise<StoreView>;
  imports(): Promise<ImportView[]>;
  import(id: string): Promise<ImportView>;
  beginImport(file: File): Promise<ImportView>;
  applyImport(id: string): Promise<void>;
  undoImport(id: string): Promise<void>;
  forgetImport(id: string): Promise<void>;
}

/** Every way a call to the server fails. `code` is one of the server's stable codes, or `unreachable`. */
export class ManagerError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'ManagerError';
  }
}

const API = '/api/v1';
const ANSWER_MS_MAX = 30_000;
/** A large file over a slow line. */
const UPLOAD_MS_MAX = 10 * 60_000;

/** A part of a path: ids come from addresses that anybody may have written. */
const part = (text: string) => encodeURIComponent(text);

export const pictureUrl = (id: string) => `${API}/pictures/${part(id)}`;

/** The same table as a file. */
export function csvUrl(path: string, question: object): string {
  return address(API + path, { ...(question as Record<string, string>), format: 'csv' });
}

export class HttpManagerBackend implements ManagerBackend {
  #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  async session(): Promise<SessionView | null> {
    try {
      return await this.#get<SessionView>('/session');
    } catch (error) {
      if (error instanceof ManagerError && error.code === 'not_signed_in') return null;
      throw error;
    }
  }

  signIn = (request: SignInRequest) => this.#send<SessionView>('POST', '/session', request);
  signOut = () => this.#send<void>('DELETE', '/session');

  report = (question: ReportQuestion) => this.#get<SalesReport>('/reports/sales', question);
  sales = (question: SalesQuestion, page: PageOf) => this.#get<SalesPage>('/sales', { ...question, ...page });
  sale = (store: string, order: string) => this.#get<SaleDetail>(`/sales/${part(store)}/${part(order)}`);
  stock = (question: StockQuestion, page: PageOf) => this.#get<StockPage>('/stock', { ...question, ...page });
  movements = (store: string, product: string, page: PageOf) =>
    this.#get<MovementsPage>(`/stock/${part(store)}/${part(product)}/movements`, page);

  openOrders = (question: OpenOrdersQuestion, page: PageOf) =>
    this.#get<OpenOrdersPage>('/open-orders', { ...question, ...page });

  shifts = (question: ShiftsQuestion, page: PageOf) =>
    this.#get<ShiftsPage>('/shifts', { ...question, ...page });

  devices = () => this.#get<DeviceView[]>('/devices');
  enrolmentCode = (request: EnrolmentCodeRequest) =>
    this.#send<EnrolmentCode>('POST', '/enrolment-codes', request);
  exceptions = (question: ExceptionsQuestion, page: PageOf) =>
    this.#get<ExceptionsPage>('/exceptions', { ...question, ...page });
  review = (exception: string, request: ReviewRequest) =>
    this.#send<ExceptionRow>('POST', `/exceptions/${part(exception)}/review`, request);

  products = (question: ProductsQuestion, page: PageOf) =>
    this.#get<ProductsPage>('/products', { ...question, ...page });
  product = (id: string) => this.#get<ProductView>(`/products/${part(id)}`);
  createProduct = (edit: Partial<ProductEdit>) => this.#send<ProductView>('POST', '/products', edit);
  editProduct = (id: string, edit: Partial<ProductEdit>) =>
    this.#send<ProductView>('PATCH', `/products/${part(id)}`, edit);
  setPicture = (id: string, picture: Blob) =>
    this.#call<PictureAnswer>('PUT', `/products/${part(id)}/picture`, picture, picture.type);
  removePicture = (id: string) => this.#send<PictureAnswer>('DELETE', `/products/${part(id)}/picture`);

  taxClasses = () => this.#get<TaxClassView[]>('/tax-classes');
  createTaxClass = (edit: Partial<TaxClassEdit>) => this.#send<TaxClassView>('POST', '/tax-classes', edit);
  editTaxClass = (id: string, edit: Partial<TaxClassEdit>) =>
    this.#send<TaxClassView>('PATCH', `/tax-classes/${part(id)}`, edit);
  stores = () => this.#get<StoreView[]>('/stores');
  store = (code: string) => this.#get<StoreView>(`/stores/${part(code)}`);
  editStore = (code: string, edit: Partial<StoreEdit>) =>
    this.#send<StoreView>('PATCH', `/stores/${part(code)}`, edit);

  imports = () => this.#get<ImportView[]>('/imports');
  import = (id: string) => this.#get<ImportView>(`/imports/${part(id)}`);
  beginImport = (file: File) =>
    this.#call<ImportView>('POST', address('/imports', { name: file.name }), file, 'text/csv', UPLOAD_MS_MAX);
  applyImport = (id: string) => this.#send<void>('POST', `/imports/${part(id)}/apply`);
  undoImport = (id: string) => this.#send<void>('POST', `/imports/${part(id)}/undo`);
  forgetImport = (id: string) => this.#send<void>('DELETE', `/imports/${part(id)}`);

  #get<T>(path: string, question: object = {}): Promise<T> {
    return this.#call('GET', address(path, { ...(question as Record<string, string>) }));
  }

  #send<T>(method: string, path: string, body?: unknown): Promise<T> {
    if (body === undefined) return this.#call(method, path);
    return this.#call(method, path, JSON.stringify(body), 'application/json');
  }

  async #call<T>(
    method: string,
    path: string,
    body: BodyInit | null = null,
    type?: string,
    waitMs = ANSWER_MS_MAX,
  ): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(new URL(API + path, this.#origin), {
        method,
        credentials: 'same-origin',
        headers: type ? { 'content-type': type } : {},
        body,
        signal: AbortSignal.timeout(waitMs),
      });
      text = await response.text();
    } catch {
      throw new ManagerError('unreachable', '');
    }
    const answer = parse(text);
    if (response.ok) return answer as T;
    const error = answer as Partial<WebError> | null;
    if (typeof error?.code === 'string') throw new ManagerError(error.code, error.message ?? '');
    throw new ManagerError(response.status === 401 ? 'not_signed_in' : 'internal', '');
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
