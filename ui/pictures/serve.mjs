/** Serves the built app with a made-up till or sync server behind it. Only for pictures. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'";

/**
 * `answer(method, path, body, url)` gives `[status, value]` for a call below /api, or null to never answer.
 * Resolves with the address and how to stop.
 */
export async function serve(dist, answer) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (!url.pathname.startsWith('/api/')) return file(dist, url.pathname, response);
    let text = '';
    for await (const chunk of request) text += chunk;
    const answered = await answer(
      request.method,
      url.pathname,
      text ? JSON.parse(text) : null,
      url.searchParams,
    );
    if (!answered) return;
    response.writeHead(answered[0], { 'content-type': 'application/json' });
    response.end(JSON.stringify(answered[1]));
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function file(dist, path, response) {
  const wanted = join(dist, normalize(path === '/' ? '/index.html' : path));
  if (!wanted.startsWith(dist) || !existsSync(wanted) || !statSync(wanted).isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    'content-type': TYPES[extname(wanted)] ?? 'application/octet-stream',
    'content-security-policy': CSP,
  });
  createReadStream(wanted).pipe(response);
}
