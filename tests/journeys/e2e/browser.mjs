/**
 * What both journeys share: Debian's Chromium, the words of the screen, and a person's way of using it.
 * playwright-core comes with the app's own development packages; there is nothing to install here.
 */
import { createRequire } from 'node:module';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const require = createRequire(new URL('../../../ui/package.json', import.meta.url));
const { chromium } = require('playwright-core');

/** A machine that does everything at once is slow; a screen that does not change in this time is stuck. */
const PATIENCE_MS = 30_000;

export async function open(shots) {
  mkdirSync(shots, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.EVERTILL_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', timezoneId: 'Europe/London' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  page.on('console', (message) => {
    // The browser reports every refused request as an error of its own; "nobody is signed in" is an ordinary answer.
    const isRefusal = message.text().startsWith('Failed to load resource');
    if (message.type() === 'error' && !isRefusal) complaints.push(`console: ${message.text()}`);
  });
  const shot = (name) => page.screenshot({ path: join(shots, `${name}.png`) });
  return { browser, context, page, shot, complaints };
}

/** The text of an element once it satisfies `holds`. */
export async function textWhen(locator, what, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  let text = '';
  for (;;) {
    text = ((await locator.textContent()) ?? '').replace(/\s+/g, ' ').trim();
    if (holds(text)) return text;
    if (Date.now() > deadline) throw new Error(`${what}: the screen still shows “${text}”`);
    await locator.page().waitForTimeout(50);
  }
}

/**
 * A wedge scanner: keys and Enter in one burst, 5 ms apart by the clock of the keyboard, however busy the page is. Codes one after the
 * other do not wait for what the page makes of the first.
 */
export async function scan(keys, ...codes) {
  const pressed = codes.flatMap((code) => [
    ...[...code].map((key) => ({ key, text: key })),
    { key: 'Enter', code: 'Enter', text: '\r', windowsVirtualKeyCode: 13 },
  ]);
  const begun = Date.now();
  const sent = pressed.flatMap((key, n) => {
    const timestamp = (begun + n * 5) / 1000;
    return [
      keys.send('Input.dispatchKeyEvent', { type: 'keyDown', timestamp, ...key }),
      keys.send('Input.dispatchKeyEvent', { type: 'keyUp', timestamp, key: key.key }),
    ];
  });
  await Promise.all(sent);
}

export function check(isTrue, what) {
  if (!isTrue) throw new Error(what);
}

/** Runs a journey with the JSON of the first argument, prints what it found as JSON, and ends with 1 when it fails. */
export async function run(journey) {
  const asked = JSON.parse(process.argv[2] ?? '{}');
  const session = await open(asked.shots);
  try {
    const found = await journey(asked, session);
    check(session.complaints.length === 0, `the page complained:\n${session.complaints.join('\n')}`);
    console.log(JSON.stringify(found));
  } catch (error) {
    await session.shot('failed').catch(() => {});
    console.error(error);
    console.error(session.complaints.join('\n'));
    process.exitCode = 1;
  } finally {
    await session.browser.close();
  }
}

/**
 * From now on, a way to wait until everything that the page asked of its till is answered and drawn, what the drawing asks for
 * included.
 */
export function whenAnswered(page) {
  const open = new Set();
  page.on('request', (request) => new URL(request.url()).pathname.startsWith('/api/') && open.add(request));
  page.on('requestfinished', (request) => open.delete(request));
  page.on('requestfailed', (request) => open.delete(request));
  const drawn = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  return async () => {
    const deadline = Date.now() + 15_000;
    for (let quiet = 0; quiet < 2; ) {
      await drawn();
      quiet = open.size === 0 ? quiet + 1 : 0;
      check(Date.now() < deadline, `${open.size} requests are not answered`);
    }
  };
}
