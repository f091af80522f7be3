/** Serves the built app with a made-up till or sync server behind it. Only for pictures. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'";
/** Stands for a product's picture. */
const PICTURE = (hue) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" fill="hsl(${hue} 45% 82%)"/><circle cx="32" cy="36" r="16" fill="hsl(${hue} 40% 48%)"/></svg>`;

/**
 * `answer(method, path, body, url)` gives `[status, value]` for a call below /api, or null to never answer.
 * Resolves with the address and how to stop.
 */
export async function serve(dist, answer) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (!url.pathname.startsWith('/api/')) return file(dist, url.pathname, response);
    if (url.pathname.startsWith('/api/v1/pictures/')) {
      response.writeHead(200, { 'content-type': TYPES['.svg'] });
      response.end(PICTURE((Number(url.pathname.at(-1)) * 67) % 360));
      return;
    }
    let text = '';
    for await (const chunk of request) text += chunk;
    const answered = await answer(
      request.method,
      url.pathname,
      text && request.headers['content-type']?.includes('json') ? JSON.parse(text) : null,
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

/** A path without an ending is one of the app's own, as in the sync server. */
function file(dist, path, response) {
  const isOfTheApp = !path.slice(path.lastIndexOf('/')).includes('.');
  const wanted = join(dist, normalize(isOfTheApp ? '/index.html' : path));
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
