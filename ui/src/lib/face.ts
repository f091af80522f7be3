/** What this build is served by, and with which key it may speak. */

export type Face = 'till' | 'manager';

const TOKEN_KEY = 'evertill.token';

/** Null when nobody answered. */
export async function askFace(origin: string): Promise<Face | null> {
  try {
    const response = await fetch(new URL('/api/face', origin));
    const answer = (await response.json()) as { face?: unknown };
    return answer.face === 'till' || answer.face === 'manager' ? answer.face : null;
  } catch {
    return null;
  }
}

/** The token from the address that the till printed; it moves into this tab's memory and out of the address bar. */
export function takeToken(location: Location, history: History, storage: Storage): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return storage.getItem(TOKEN_KEY);
  storage.setItem(TOKEN_KEY, token);
  history.replaceState(null, '', location.pathname + location.search);
  return token;
}
