#!/usr/bin/env node
/**
 * Puts the same 2,000 sales through peers that also replicate documents to a durable server, and through Evertill when its bench is
 * built, and prints documents per second: see --help.
 *
 * Of each rival a server and a client run as processes of their own, both on new folders. The client has the sales in its storage before
 * the clock starts, as a till has that was offline. The clock starts when the client begins to connect and stops when the storage of
 * the server has taken the last sale. At that moment the server is killed, and a fresh process reads what its folder holds: a run that
 * does not find every sale whole is a failure and gives no figure.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sales } from './sales.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const cache = join(homedir(), '.cache', 'evertill');
const samod = join(cache, 'rivals', 'release', 'evertill-rival-samod');
const bench = join(process.env.CARGO_TARGET_DIR || join(cache, 'target'), 'optimised', 'evertill-bench');
const PATIENCE_MS = 300_000;

const RIVALS = [
  { name: 'automerge-repo', goal: 100, version: npmVersion('@automerge/automerge-repo'), command: script('automerge-repo.mjs') },
  { name: 'samod', goal: 100, version: samodVersion, command: [samod], build: buildSamod },
  { name: 'pouchdb', goal: 20, version: npmVersion('pouchdb'), command: script('pouchdb.mjs') },
];

const HELP = `Puts the same sales through peers and through Evertill and prints documents per second. Takes some minutes; the machine should have
nothing else to do.

  tests/load/rivals/run.mjs [options]

  --only NAME      this rival alone (again for more): ${RIVALS.map(({ name }) => name).join(', ')}
  --runs N         how many runs of each; the median counts [default: 3]
  --quick          100 sales, one run: shows that everything works, and compares with nothing
  --folder FOLDER  where files go meanwhile; must be on a disk [default: /var/tmp]
  --help           this text

npm packages go into node_modules beside this script, the program for samod into ${cache}/rivals; both are locked.
Evertill's own figure is the backlog row of ${bench}
(CARGO_TARGET_DIR says where): \`make bench BENCH_ARGS=--list\` builds it. Without it the table has no ratios.`;

const options = { only: 'string', runs: 'string', quick: 'boolean', folder: 'string', help: 'boolean' };
const { values: asked } = parseArgs({
  options: Object.fromEntries(Object.entries(options).map(([name, type]) => [name, { type, multiple: name === 'only' }])),
});
if (asked.help) {
  console.log(HELP);
  process.exit();
}
const unknown = (asked.only ?? []).filter((name) => !RIVALS.some((rival) => rival.name === name));
const runs = Number(asked.runs ?? (asked.quick ? 1 : 3));
if (unknown.length || !Number.isInteger(runs) || runs < 1) fail(`${unknown[0] ?? '--runs'}? See --help.`);

const chosen = RIVALS.filter(({ name }) => !asked.only || asked.only.includes(name));
const count = asked.quick ? 100 : 2_000;
// It goes away as a whole at the end: ext4 makes new files more slowly just after it has lost many.
const work = mkdtempSync(join(asked.folder ?? '/var/tmp', 'evertill-rivals-'));
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(work, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
await main();

async function main() {
  install();
  for (const { build } of chosen) build?.();
  const file = join(work, 'sales.json');
  writeFileSync(file, JSON.stringify(sales(count)));
  const rows = [];
  for (const { name, version, goal, command } of chosen) {
    const rates = [];
    for (let run = 0; run < runs; run++) {
      const folder = join(work, `${name}-${run}`);
      const took_ms = await drain(name, command, folder, file);
      rates.push(count / (took_ms / 1_000));
      console.error(`${name}, run ${run + 1} of ${runs}: ${number(count)} sales in ${number(took_ms)} ms`);
    }
    rows.push({ name, goal, rates, version: typeof version === 'function' ? version() : version });
  }
  print(rows, own());
}

/** Milliseconds from the client's first step towards the server until the server has every sale in its storage. */
async function drain(name, command, folder, file) {
  const [serverFolder, clientFolder] = [join(folder, 'server'), join(folder, 'client')];
  mkdirSync(serverFolder, { recursive: true });
  mkdirSync(clientFolder);
  const server = start(`${name}, server`, [...command, 'server', serverFolder, String(count)]);
  const port = await server.says('ready');
  const client = start(`${name}, client`, [...command, 'client', clientFolder, port, file]);
  await client.says('begin');
  const begun = performance.now();
  await Promise.race([server.says('stored'), client.says('stored')]);
  const took_ms = performance.now() - begun;
  // Nothing that a server has not handed to its storage survives this.
  await Promise.all([server.kill(), client.kill()]);
  const fresh = start(`${name}, a look at the server's folder`, [...command, 'count', serverFolder]);
  const found = Number(await fresh.says('count'));
  await fresh.kill();
  if (found !== count) fail(`${name}: the server said that it had ${count} sales, and its folder holds ${found}`);
  return took_ms;
}

/** A process of which every line that it prints is a word and perhaps a value. */
function start(what, [program, ...args]) {
  const child = spawn(program, args, { cwd: here, stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const said = new Map();
  const waiting = new Map();
  const timers = new Set();
  let killed = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [word, value = ''] = line.split(' ');
    said.set(word, value);
    waiting.get(word)?.(value);
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  child.on('error', (error) => fail(`${what} does not start: ${error.message}`));
  // A client that has sent everything may end before the server has stored it.
  ended.then((code) => code !== 0 && !killed && fail(`${what} ended with ${code}`));
  const says = (word) =>
    new Promise((resolve) => {
      const late = setTimeout(() => fail(`${what} does not say «${word}» in ${PATIENCE_MS / 1_000} s`), PATIENCE_MS);
      timers.add(late);
      const heard = (value) => {
        clearTimeout(late);
        resolve(value);
      };
      if (said.has(word)) heard(said.get(word));
      else waiting.set(word, heard);
    });
  const kill = async () => {
    killed = true;
    timers.forEach(clearTimeout);
    child.kill('SIGKILL');
    await ended;
    children.delete(child);
  };
  return { says, kill };
}

function install() {
  const [locked, installed] = ['package-lock.json', 'node_modules/.package-lock.json'].map((file) => join(here, file));
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(locked).mtimeMs) return;
  // LevelDB and the CBOR decoder come built for the usual systems, so that nothing has to be compiled; of the decoder that holds for the
  // version that package.json asks for in place of a newer one.
  step('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
}

function buildSamod() {
  const manifest = join(here, 'samod', 'Cargo.toml');
  step('cargo', ['build', '--release', '--locked', '--manifest-path', manifest], { CARGO_TARGET_DIR: join(cache, 'rivals') });
}

/** Sales a second of Evertill's own row, or nothing when its bench is not built. */
function own() {
  if (!existsSync(bench)) return undefined;
  const json = join(work, 'bench.json');
  const folder = join(work, 'evertill');
  mkdirSync(folder);
  step(bench, ['--only', 'backlog', '--json', json, '--folder', folder, ...(asked.quick ? ['--quick'] : [])]);
  const rows = JSON.parse(readFileSync(json, 'utf8'));
  const row = rows.find(({ name, unit }) => name.startsWith(`backlog of ${number(count)} sales`) && unit === 'sales/s');
  if (!row) fail(`${bench} has no row for a backlog of ${number(count)} sales`);
  return row.value;
}

function step(program, args, env = {}) {
  const { status, error } = spawnSync(program, args, {
    cwd: here,
    env: { ...process.env, ...env },
    // The table is all that goes to the standard output.
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) fail(`${program} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
}

function print(rows, ours) {
  const line = (cells) => console.log(`| ${cells.join(' | ')} |`);
  const ratio = ({ goal, rates }) => (ours ? `${(ours / median(rates)).toFixed(1)} ×` : '–');
  line(['rival', 'version', `documents/s, ${runs === 1 ? 'one run' : `${runs} runs`}`, 'median', 'Evertill is', 'goal', 'reached']);
  line(['---', '---', '---', '--:', '--:', '--:', '---']);
  for (const row of rows) {
    const { name, version, rates, goal } = row;
    const reached = ours ? (ours / median(rates) >= goal ? 'yes' : '**no**') : '–';
    line([name, version, rates.map(number).join(', '), number(median(rates)), ratio(row), `≥ ${goal} ×`, reached]);
  }
  if (ours) line(['Evertill', '', '', number(ours), '', '', '']);
  else console.log(`\nEvertill's own figure is missing: there is no ${bench}. \`make bench BENCH_ARGS=--list\` builds it.`);
  if (asked.quick) console.log('\nA quick run: these figures compare with nothing.');
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
}

function number(value) {
  return Math.round(value).toLocaleString('en-GB');
}

function script(file) {
  return [process.execPath, join(here, file)];
}

function npmVersion(name) {
  return JSON.parse(readFileSync(join(here, 'package.json'), 'utf8')).dependencies[name];
}

function samodVersion() {
  const lock = readFileSync(join(here, 'samod', 'Cargo.lock'), 'utf8');
  return /name = "samod"\nversion = "(.+)"/.exec(lock)[1];
}

function fail(why) {
  console.error(`rivals: ${why}`);
  process.exit(1);
}
