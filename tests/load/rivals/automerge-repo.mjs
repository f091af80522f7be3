/**
 * The sales of the bench as documents of automerge-repo, one document a sale.
 *
 *   server FOLDER COUNT         listens on loopback, says `ready PORT`, and `stored` as soon as so many documents are in its storage
 *   client FOLDER PORT SALES    makes a document of each sale of a JSON file, keeps them in its own storage, says `begin` and connects
 *   count FOLDER                reads every document of a storage, says `count` and how many whole sales there are
 *
 * The server is what the project's own sync server is: a repository that keeps all it is told and announces nothing by itself.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ImmutableString, isValidDocumentId, Repo } from '@automerge/automerge-repo';
import { WebSocketClientAdapter, WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket';
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs';
import { WebSocketServer } from 'ws';
import { isWhole } from './whole.mjs';

const [role, folder, ...rest] = process.argv.slice(2);

function server(documents) {
  const sockets = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  const storage = new Counted(folder, Number(documents));
  new Repo({ storage, network: [new WebSocketServerAdapter(sockets)], sharePolicy: async () => false });
  sockets.on('listening', () => console.log(`ready ${sockets.address().port}`));
}

async function client(port, file) {
  const sales = JSON.parse(readFileSync(file, 'utf8'));
  const repo = new Repo({ storage: new NodeFSStorageAdapter(folder) });
  for (const sale of sales) repo.create(plain(sale));
  await repo.flush();
  console.log('begin');
  repo.networkSubsystem.addNetworkAdapter(new WebSocketClientAdapter(`ws://127.0.0.1:${port}`));
}

async function count() {
  const repo = new Repo({ storage: new NodeFSStorageAdapter(folder) });
  const receipts = new Set();
  for (const id of documents()) {
    const sale = (await repo.find(id)).doc();
    if (isWhole(sale)) receipts.add(sale.receipt_number);
  }
  console.log(`count ${receipts.size}`);
  process.exit();
}

/** Folders are named by the first two letters of an id and by the others. */
function documents() {
  const folders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const ids = folders.flatMap(({ name }) => readdirSync(join(folder, name)).map((others) => name + others));
  return ids.filter(isValidDocumentId);
}

/** Nobody edits the words of a sale together, so they are plain values and not texts. */
function plain(value) {
  if (typeof value === 'string') return new ImmutableString(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** The storage for files, which says when it has the content of so many documents. */
class Counted extends NodeFSStorageAdapter {
  #seen = new Set();
  #documents;

  constructor(folder, documents) {
    super(folder);
    this.#documents = documents;
  }

  async save(key, binary) {
    await super.save(key, binary);
    const [document, kind] = key;
    if (kind !== 'snapshot' && kind !== 'incremental') return;
    if (this.#seen.has(document)) return;
    this.#seen.add(document);
    if (this.#seen.size === this.#documents) console.log('stored');
  }
}

await { server, client, count }[role](...rest);
