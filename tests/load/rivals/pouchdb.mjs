/**
 * The sales of the bench as documents of PouchDB, one document a sale.
 *
 *   server FOLDER               an express-pouchdb on loopback over LevelDB; says `ready PORT`
 *   client FOLDER PORT SALES    puts the sales of a JSON file into its own LevelDB, says `begin`, replicates, and says `stored` when the
 *                               server has answered the write of the last one
 *   count FOLDER                opens a server's database anew, says `count` and how many whole sales there are
 */
import { mkdirSync, readFileSync } from 'node:fs';
import expressPouchDB from 'express-pouchdb';
import PouchDB from 'pouchdb';
import { isWhole } from './whole.mjs';

const DATABASE = 'sales';
/** Documents to a request. More than the 100 that it takes by itself: that is a little faster. */
const BATCH = 1_000;

const [role, folder, ...rest] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const Stored = PouchDB.defaults({ prefix: `${folder}/` });
await { server, client, count }[role](...rest);

async function server() {
  await new Stored(DATABASE).info();
  // What a PouchDB asks of a server, without the users, logs and pages of a whole CouchDB.
  const app = expressPouchDB(Stored, { mode: 'minimumForPouchDB', inMemoryConfig: true });
  const listening = app.listen(0, '127.0.0.1', () => console.log(`ready ${listening.address().port}`));
}

async function client(port, file) {
  const sales = JSON.parse(readFileSync(file, 'utf8'));
  const local = new Stored(DATABASE);
  const answers = await local.bulkDocs(sales.map(({ id, ...sale }) => ({ _id: id, ...sale })));
  if (answers.some((answer) => answer.error)) throw new Error('the client did not keep its own sales');
  console.log('begin');
  const replication = local.replicate.to(`http://127.0.0.1:${port}/${DATABASE}`, { batch_size: BATCH });
  replication.on('change', ({ docs_written }) => {
    if (docs_written === sales.length) console.log('stored');
  });
  await replication;
}

async function count() {
  const { rows } = await new Stored(DATABASE).allDocs({ include_docs: true });
  const receipts = new Set(
    rows
      .map(({ doc }) => doc)
      .filter(isWhole)
      .map((sale) => sale.receipt_number),
  );
  console.log(`count ${receipts.size}`);
}
