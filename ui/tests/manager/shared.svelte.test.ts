import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import '../../src/lib/messages/manager';
import { lists } from '../../src/jobs/manager/shared/asked.svelte';
import { edits } from '../../src/jobs/manager/shared/edits.svelte';
import { filtersIn } from '../../src/jobs/manager/shared/filters';
import { Office } from '../../src/jobs/manager/shared/office.svelte';
import { Sending } from '../../src/jobs/manager/shared/sending.svelte';
import { type ManagerBackend, ManagerError, type PageOf } from '../../src/lib/manager';
import { Router } from '../../src/lib/router.svelte';

const makeOffice = () =>
  new Office({} as ManagerBackend, new Router(), {
    open: () => ({}) as WebSocket,
    random: () => 0.5,
    now: () => 0,
  });

/** Questions that wait until the test answers them. */
function waiting<Question, Answer>() {
  const asked: Question[] = [];
  const answers: ((answer: Answer) => void)[] = [];
  return {
    asked,
    ask: (question: Question) => {
      asked.push(question);
      return new Promise<Answer>((answer) => answers.push(answer));
    },
    async answer(value: Answer) {
      answers.shift()!(value);
      await settle();
    },
  };
}

async function settle() {
  for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
  flushSync();
}

/** What a component would make; its effects end with the test. */
const ends: (() => void)[] = [];
function made<T>(make: () => T): T {
  let one: T;
  ends.push($effect.root(() => void (one = make())));
  flushSync();
  return one!;
}
beforeEach(() => window.history.replaceState(null, '', '/here'));
afterEach(() => {
  for (const end of ends.splice(0)) end();
  vi.useRealTimers();
});

test('an address narrows by what it says and not by what it leaves empty', () => {
  const query = new URLSearchParams('search=tea&category=&store=S01&other=x');
  expect(filtersIn(query, ['search', 'category', 'store'])).toEqual({ search: 'tea', store: 'S01' });
});

describe('what is sent', () => {
  test('is sent once at a time', async () => {
    const sending = new Sending(makeOffice());
    const { ask, asked, answer } = waiting<string, void>();
    void sending.send(() => ask('first'));
    void sending.send(() => ask('second'));
    expect(sending.isSent).toBe(true);
    await answer();
    expect(asked).toEqual(['first']);
    expect(sending.isSent).toBe(false);
  });

  test('says why it failed until it is tried again', async () => {
    const sending = new Sending(makeOffice());
    await sending.send(() => Promise.reject(new ManagerError('conflict', 'Another product has the code.')));
    expect(sending.problem).toBe('Another product has the code.');
    expect(sending.isSent).toBe(false);
    await sending.send(async () => {});
    expect(sending.problem).toBeNull();
  });
});

describe('a list in pages', () => {
  interface Answer {
    rows: { id: string }[];
    next: string | null;
  }
  const rows = (...ids: string[]) => ids.map((id) => ({ id }));

  function list() {
    const { ask, asked, answer } = waiting<[string, PageOf], Answer>();
    let search = $state('tea');
    let news = $state(0);
    const pages = made(() =>
      lists(
        makeOffice(),
        () => ({ search }),
        (question, page) => ask([question.search, page]),
        (row) => row.id,
        () => news,
      ),
    );
    return {
      pages,
      asked,
      answer,
      shown: () => pages.rows.map((row) => row.id).join(' '),
      async turn(to: { search?: string }) {
        if (to.search) search = to.search;
        else news += 1;
        flushSync();
        await settle();
      },
    };
  }

  test('goes on where it ended, and is asked anew as one when there is news', async () => {
    const { pages, asked, answer, shown, turn } = list();
    await answer({ rows: rows('a', 'b'), next: '2' });
    void pages.more();
    await answer({ rows: rows('c'), next: null });
    expect(shown()).toBe('a b c');
    expect(pages.next).toBeNull();
    await turn({});
    await answer({ rows: rows('new', 'a', 'b'), next: '3' });
    // What went over from the head into what follows stands there once.
    expect(shown()).toBe('new a b c');
    expect(asked).toEqual([
      ['tea', { limit: '50' }],
      ['tea', { after: '2', limit: '50' }],
      ['tea', { limit: '3' }],
    ]);
  });

  test('of another question begins at its top, whatever comes late', async () => {
    const { pages, answer, shown, turn } = list();
    await answer({ rows: rows('a'), next: '1' });
    void pages.more();
    await turn({ search: 'cake' });
    await answer({ rows: rows('late'), next: null });
    await answer({ rows: rows('x'), next: null });
    expect(shown()).toBe('x');
    expect(pages.isLoadingMore).toBe(false);
  });

  test('asks for no more twice at once, nor behind its end', async () => {
    const { pages, asked, answer } = list();
    await answer({ rows: rows('a'), next: '1' });
    void pages.more();
    void pages.more();
    await answer({ rows: rows('b'), next: null });
    void pages.more();
    expect(asked).toHaveLength(2);
  });
});

describe('a form over what others write as well', () => {
  interface View {
    seen: string;
    name: string;
  }

  async function form() {
    vi.useFakeTimers();
    const office = makeOffice();
    const server = { name: 'Tea', seen: 1 };
    const view = (): View => ({ name: server.name, seen: String(server.seen) });
    const written: object[] = [];
    const write = (edit: Partial<View>) => {
      written.push(edit);
      server.name = edit.name ?? server.name;
      server.seen += 1;
      return view();
    };
    const one = made(() =>
      edits(office, {
        id: () => 'one',
        ask: async () => view(),
        write: async (_, edit: Partial<View>) => write(edit),
        draftOf: (from: View | null) => from?.name ?? '',
        isChanged: (base, draft) => base !== null && draft !== base.name,
        saidOf: ({ name }) => `Saved ${name}.`,
      }),
    );
    await settle();
    return {
      form: one,
      office,
      written,
      async theirs(name: string) {
        write({ name, seen: '' });
        written.pop();
        office.live.documents += 1;
        flushSync();
        await settle();
      },
    };
  }

  test('follows what others write until one types', async () => {
    const { form: one, theirs } = await form();
    await theirs('Green tea');
    expect([one.draft, one.isOvertaken]).toEqual(['Green tea', false]);
    one.draft = 'Black tea';
    await theirs('White tea');
    expect([one.draft, one.isOvertaken, one.newest?.name]).toEqual(['Black tea', true, 'White tea']);
    one.revert();
    expect([one.draft, one.isChanged]).toEqual(['White tea', false]);
  });

  test('writes from the state that was seen, and back from the one that it made', async () => {
    const { form: one, office, written, theirs } = await form();
    one.draft = 'Black tea';
    await theirs('White tea');
    await one.save({ name: 'Black tea' }, { name: 'Tea' });
    await settle();
    expect(written).toEqual([{ name: 'Black tea', seen: '1' }]);
    office.toasts.shown[0]!.action!.run();
    await settle();
    expect(written[1]).toEqual({ name: 'Tea', seen: '3' });
    expect(one.draft).toBe('Tea');
  });

  test('keeps what is typed when an earlier edit is taken back', async () => {
    const { form: one, office } = await form();
    one.draft = 'Black tea';
    await one.save({ name: 'Black tea' }, { name: 'Tea' });
    one.draft = 'Black tea, loose';
    office.toasts.shown[0]!.action!.run();
    await settle();
    expect([one.draft, one.isOvertaken, one.newest?.name]).toEqual(['Black tea, loose', true, 'Tea']);
  });

  test('is not left by accident', async () => {
    const { form: one, office } = await form();
    const away = new URL('http://localhost/away');
    expect(office.router.mayLeave(away)).toBe(true);
    one.draft = 'Black tea';
    expect(office.router.mayLeave(away)).toBe(false);
    const event = new Event('beforeunload', { cancelable: true });
    window.dispatchEvent(event);
    expect(event.defaultPrevented).toBe(true);
    for (const end of ends.splice(0)) end();
    expect(office.router.mayLeave(away)).toBe(true);
  });
});
