/**
 * Writes the licences of everything that the package is built from into one file: `third-party-licenses.mjs FILE`.
 *
 * Crates come from what cargo resolves for the two programs, build scripts and macros left out; npm packages are the ones that the app
 * imports. What a crate called `…-src` holds counts as linked. A crate without a file of its own is listed with the name of its licence.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const PROGRAMS = ['evertill', 'node'];
const NPM = ['svelte', '@tauri-apps/api', 'chart.js'];
const FILE_BYTES_MAX = 256 * 1024;

/** The crates that the programs are linked with. */
function crates() {
  const host = /^host: (.+)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))[1];
  const asked = ['metadata', '--format-version', '1', '--locked', '--filter-platform', host];
  const metadata = JSON.parse(execFileSync('cargo', asked, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 }));
  const packages = new Map(metadata.packages.map((one) => [one.id, one]));
  const links = new Map(metadata.resolve.nodes.map((node) => [node.id, node.deps]));
  const isMacro = (one) => one.targets.some((target) => target.kind.includes('proc-macro'));
  const open = metadata.workspace_members.filter((id) => PROGRAMS.includes(packages.get(id).name));
  const found = new Set(open);
  for (let id = open.pop(); id; id = open.pop()) {
    for (const { pkg, dep_kinds } of links.get(id)) {
      const { name } = packages.get(pkg);
      // A crate called so holds the C that the crate above it builds.
      const isLinked = dep_kinds.some(({ kind }) => kind === null || name.endsWith('-src')) && !isMacro(packages.get(pkg));
      if (isLinked && !found.has(pkg)) open.push(pkg);
      if (isLinked) found.add(pkg);
    }
  }
  const foreign = [...found].map((id) => packages.get(id)).filter((one) => one.source);
  return foreign.map(({ name, version, license, manifest_path }) => ({ name, version, license, folder: dirname(manifest_path) }));
}

function npm() {
  return NPM.map((name) => {
    const folder = join(root, 'ui/node_modules', name);
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return { name, version, license, folder };
  });
}

function texts(folder) {
  const names = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|copyright|notice|unlicense)/i.test(name)).sort();
  const files = names.map((name) => join(folder, name)).filter((path) => statSync(path).isFile());
  return files.filter((path) => statSync(path).size <= FILE_BYTES_MAX).map((path) => readFileSync(path, 'utf8').trim());
}

/** What was vendored into a crate has its licence further in. */
const vendored = (folder) =>
  readdirSync(folder).map((name) => join(folder, name)).filter((path) => statSync(path).isDirectory() && folder.includes('-src-'));

const [, , out] = process.argv;
if (!out) throw new Error('where to? third-party-licenses.mjs FILE');
const all = [...crates(), ...npm()].sort((a, b) => (a.name < b.name ? -1 : 1));
const sections = all.map(({ name, version, license, folder }) => {
  const said = [folder, ...vendored(folder)].flatMap(texts);
  return [`${'='.repeat(80)}\n${name} ${version}: ${license ?? 'see below'}`, ...said].join('\n\n');
});
writeFileSync(out, `What Evertill is built from, ${all.length} crates and npm packages, with their licences.\n\n${sections.join('\n\n')}\n`);
console.error(`${all.length} licences in ${out}`);
