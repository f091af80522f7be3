/**
 * Takes a picture of every view, light and dark, and lets axe look at each: `npm run pictures [-- FOLDER] [-- --only=NAME] [-- --theme=dark]`.
 * Ends with failure on a serious or critical finding of axe, or on anything the browser's console calls an error.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { runnerImport } from 'vite';
import * as f from './pictures/fixtures.mjs';
import { managerScenes } from './pictures/manager-scenes.mjs';
import { tillScenes } from './pictures/scenes.mjs';
import { serve } from './pictures/serve.mjs';
import { windowProgram, windowScenes } from './pictures/window-scenes.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const given = process.argv.slice(2);
const only = given.find((arg) => arg.startsWith('--only='))?.slice('--only='.length);
const folder = resolve(given.find((arg) => !arg.startsWith('--')) ?? join(here, 'pictures-out'));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const BROWSER = {
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
};
const theme = given.find((arg) => arg.startsWith('--theme='))?.slice('--theme='.length);
const THEMES = theme ? [theme] : ['light', 'dark'];
const findings = [];

/** What the browser is right to call an error in these scenes: refusals and a till that is gone are what they show. */
const isExpected = (text) => /Failed to load resource|net::ERR|WebSocket/.test(text);

function tillAnswer(scene) {
  const refusal = scene.refuse ?? { code: 'bad_request', message: 'Only a picture.', retry_after_ms: null };
  return (method, path, body) => {
    if (path === '/api/face') return [200, { face: 'till' }];
    if (path === '/api/command') return scene.refuse ? [422, refusal] : [200, scene.view];
    const answers = {
      till: scene.view,
      search: body.text === '' ? [] : (scene.products ?? f.products),
      orders: scene.orders ?? f.orders,
      open_orders: scene.openOrders ?? f.openOrders,
      shifts: scene.shifts ?? [],
      order: scene.order ?? f.order,
    };
    return [200, answers[body.type]];
  };
}

/** The server of the tests, a new one for each picture. */
const { module: manager } = await runnerImport('./tests/manager/server.ts');
const { module: shop } = await runnerImport('./tests/manager/shop.ts');

function managerAnswer(scene) {
  const server = new manager.ShopServer();
  scene.server?.(server, shop);
  return (method, path, body, query) => {
    const reply = server.answer({ method, path, query, body });
    return reply && [reply.status, reply.value];
  };
}

async function picture(browser, scene, colorScheme, { answer, size, address, isManager = false }) {
  const served = await serve(dist, answer);
  const context = await browser.newContext({
    viewport: scene.size ?? size,
    colorScheme,
    locale: 'en-GB',
    timezoneId: 'Europe/London',
    deviceScaleFactor: scene.scale ?? 1,
  });
  const page = await context.newPage();
  if (isManager) await page.clock.setFixedTime(shop.NOW);
  const say = (text) => findings.push(`${scene.name} ${colorScheme}: ${text}`);
  page.on('pageerror', (error) => say(`page error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !isExpected(message.text())) say(`console: ${message.text()}`);
  });
  if (scene.shown) await page.addInitScript(windowProgram, { shown: scene.shown, refuse: scene.refuse });
  await page.routeWebSocket('**/api/events', () => {});
  await page.routeWebSocket('**/api/v1/live', (socket) => {
    if (scene.isNotLive) return void socket.close();
    socket.send(JSON.stringify({ type: 'hello', at_ms: shop.NOW }));
    for (const event of scene.events?.(shop) ?? []) setTimeout(() => socket.send(JSON.stringify(event)), 600);
  });
  await page.goto(served.origin + address);
  await page.locator('#app > *').first().waitFor();
  await settle(page);
  if (scene.goesSilent) served.stop();
  await scene.steps?.(page);
  if (scene.isPrinted) await page.emulateMedia({ media: 'print' });
  await settle(page);
  await page.screenshot({
    path: join(folder, `${scene.name}-${colorScheme}.png`),
    fullPage: scene.isWhole ?? false,
  });
  await judge(page, say);
  await context.close();
  served.stop();
}

/** Two frames after the last change everything is painted. */
const settle = (page) =>
  page.evaluate(
    () =>
      new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 250)),
  );

async function judge(page, say) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ['violations'] }),
  );
  for (const { id, impact, nodes, help } of violations) {
    if (impact !== 'serious' && impact !== 'critical') continue;
    say(
      `axe ${impact} ${id}: ${help}: ${nodes
        .map((node) => node.target.join(' '))
        .slice(0, 3)
        .join(' | ')}`,
    );
  }
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (overflow > 0) say(`the page is ${overflow} px too wide`);
}

if (!existsSync(join(dist, 'index.html'))) throw new Error('Build the app first: npm run build');
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch(BROWSER);
/** A manager's page is looked at on a desk and on a telephone, unless the scene is about a size. */
const sizesOf = (scene) =>
  scene.size
    ? [['', scene.size]]
    : [
        ['', { width: 1440, height: 960 }],
        ['-390', { width: 390, height: 844 }],
      ];
const wanted = (scene) => !only || scene.name.includes(only);
let taken = 0;
for (const colorScheme of THEMES) {
  for (const scene of tillScenes.filter(wanted)) {
    const address = scene.token === false ? '/' : '/#token=picture';
    await picture(browser, scene, colorScheme, {
      answer: tillAnswer(scene),
      size: { width: 1280, height: 800 },
      address,
    });
    taken += 1;
  }
  for (const scene of windowScenes.filter(wanted)) {
    await picture(browser, scene, colorScheme, {
      answer: () => null,
      size: { width: 1280, height: 800 },
      address: '/',
    });
    taken += 1;
  }
  for (const scene of managerScenes.filter(wanted)) {
    for (const [suffix, size] of sizesOf(scene)) {
      await picture(browser, { ...scene, name: scene.name + suffix }, colorScheme, {
        answer: managerAnswer(scene),
        size,
        address: scene.path ?? '/',
        isManager: true,
      });
      taken += 1;
    }
  }
}
await browser.close();
for (const finding of findings) console.error(finding);
console.log(`${taken} pictures in ${folder}, ${findings.length} findings`);
process.exitCode = findings.length > 0 ? 1 : 0;
