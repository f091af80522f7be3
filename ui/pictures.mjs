/**
 * Takes a picture of every view, light and dark, and lets axe look at each: `npm run pictures [-- FOLDER] [-- --only=NAME]`.
 * Ends with failure on a serious or critical finding of axe, or on anything the browser's console calls an error.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import * as f from './pictures/fixtures.mjs';
import { managerScenes, tillScenes } from './pictures/scenes.mjs';
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
const THEMES = ['light', 'dark'];
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
      order: f.order,
    };
    return [200, answers[body.type]];
  };
}

function managerAnswer(scene) {
  return (method, path, body, asked) => {
    const wrong = (code) => [401, { code, message: 'In words.' }];
    if (path === '/api/face') return [200, { face: 'manager' }];
    if (path === '/api/v1/session' && method === 'POST') return wrong('wrong_password');
    if (path === '/api/v1/session') return scene.session ? [200, scene.session] : wrong('not_signed_in');
    if (path === '/api/v1/devices') return [200, scene.devices ?? f.devices];
    if (path === '/api/v1/enrolment-codes') return [200, f.enrolment];
    if (scene.never) return null;
    if (scene.fails) return [503, { code: 'central_away', message: 'In words.' }];
    const question = Object.fromEntries(asked);
    const report = f.reports[scene.report ?? question.group_by](question);
    return [200, scene.complete ? { ...report, coverage: f.completeCoverage } : report];
  };
}

async function picture(browser, scene, colorScheme, { answer, size, address }) {
  const served = await serve(dist, answer);
  const context = await browser.newContext({ viewport: scene.size ?? size, colorScheme, locale: 'en-GB' });
  const page = await context.newPage();
  const say = (text) => findings.push(`${scene.name} ${colorScheme}: ${text}`);
  page.on('pageerror', (error) => say(`page error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !isExpected(message.text())) say(`console: ${message.text()}`);
  });
  if (scene.shown) await page.addInitScript(windowProgram, { shown: scene.shown, refuse: scene.refuse });
  await page.routeWebSocket('**/api/events', () => {});
  await page.goto(served.origin + address);
  await page.locator('#app > *').first().waitFor();
  await settle(page);
  if (scene.goesSilent) served.stop();
  await scene.steps?.(page);
  await settle(page);
  await page.screenshot({ path: join(folder, `${scene.name}-${colorScheme}.png`), fullPage: false });
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
    await picture(browser, scene, colorScheme, {
      answer: managerAnswer(scene),
      size: { width: 1280, height: 900 },
      address: `/${scene.hash ?? ''}`,
    });
    taken += 1;
  }
}
await browser.close();
for (const finding of findings) console.error(finding);
console.log(`${taken} pictures in ${folder}, ${findings.length} findings`);
process.exitCode = findings.length > 0 ? 1 : 0;
