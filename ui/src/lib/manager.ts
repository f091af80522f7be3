/** The one seam to the sync server's manager API. */
import type {
  DeviceView,
  EnrolmentCode,
  EnrolmentCodeRequest,
  GroupBy,
  SalesReport,
  SessionView,
  SignInRequest,
  WebError,
} from './api/server.gen';

export interface ManagerBackend {
  /** Null when nobody is signed in. */
  session(): Promise<SessionView | null>;
  signIn(request: SignInRequest): Promise<SessionView>;
  signOut(): Promise<void>;
  /** Both days included, `YYYY-MM-DD`. */
  sales(from: string, to: string, groupBy: GroupBy): Promise<SalesReport>;
  devices(): Promise<DeviceView[]>;
  enrolmentCode(request: EnrolmentCodeRequest): Promise<EnrolmentCode>;
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

const ANSWER_MS_MAX = 30_000;

export class HttpManagerBackend implements ManagerBackend {
  #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  async session(): Promise<SessionView | null> {
    try {
      return await this.#call<SessionView>('GET', '/api/v1/session');
    } catch (error) {
      if (error instanceof ManagerError && error.code === 'not_signed_in') return null;
      throw error;
    }
  }

  signIn(request: SignInRequest): Promise<SessionView> {
    return this.#call('POST', '/api/v1/session', request);
  }

  async signOut(): Promise<void> {
    await this.#call('DELETE', '/api/v1/session');
  }

  sales(from: string, to: string, groupBy: GroupBy): Promise<SalesReport> {
    const asked = new URLSearchParams({ from, to, group_by: groupBy });
    return this.#call('GET', `/api/v1/reports/sales?${asked}`);
  }

  devices(): Promise<DeviceView[]> {
    return this.#call('GET', '/api/v1/devices');
  }

  enrolmentCode(request: EnrolmentCodeRequest): Promise<EnrolmentCode> {
    return this.#call('POST', '/api/v1/enrolment-codes', request);
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(new URL(path, this.#origin), {
        method,
        credentials: 'same-origin',
        headers: body === undefined ? {} : { 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
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
