/** A form over something that others may write meanwhile. */
import { untrack } from 'svelte';
import { type Asked, asks } from './asked.svelte';
import type { Office } from './office.svelte';
import { Sending } from './sending.svelte';

/** Which state of a thing one had before one's eyes. */
interface Seen {
  seen: string;
}

export interface EditSource<View extends Seen, Draft, Edit> {
  /** Which thing; null is one that is yet to be made. */
  id: () => string | null;
  ask: (id: string) => Promise<View>;
  write: (id: string, edit: Edit & Seen) => Promise<View>;
  draftOf: (view: View | null) => Draft;
  isChanged: (base: View | null, draft: Draft) => boolean;
  /** What is said when it is saved. */
  saidOf: (view: View) => string;
}

export class Edits<View extends Seen, Draft, Edit> {
  readonly asked: Asked<View>;
  readonly sending: Sending;
  /** What the draft began from; an edit says so, so that what others write meanwhile is not run over unseen. */
  base = $state.raw<View | null>(null);
  draft: Draft;
  /** Whether it was tried to send what is typed. */
  isTried = $state(false);
  #office: Office;
  #source: EditSource<View, Draft, Edit>;

  constructor(office: Office, asked: Asked<View>, source: EditSource<View, Draft, Edit>) {
    this.#office = office;
    this.#source = source;
    this.asked = asked;
    this.sending = new Sending(office);
    this.draft = $state(source.draftOf(null));
  }

  isChanged = $derived.by(() => this.#source.isChanged(this.base, this.draft));
  /** As the server has it now, whatever the form began from. */
  newest = $derived.by(() => this.asked.answer);
  /** Whether somebody else has written since the form began. */
  isOvertaken = $derived.by(
    () => !!this.base && !!this.newest && this.newest.seen !== this.base.seen && this.isChanged,
  );

  begin(view: View): void {
    this.base = view;
    this.draft = this.#source.draftOf(view);
    this.isTried = false;
    this.sending.problem = null;
  }

  /** Drops what is typed. */
  revert(): void {
    if (this.newest) this.begin(this.newest);
  }

  /** Writes an edit of what the form began from. The way back writes `undo`, and keeps what is typed by then. */
  async save(edit: Edit, undo: Edit): Promise<void> {
    const [{ write, saidOf }, from, id] = [this.#source, this.base, this.#source.id()];
    if (from === null || id === null) return;
    const view = await write(id, { ...edit, seen: from.seen });
    this.asked.know(view);
    this.begin(view);
    this.#office.live.documents += 1;
    this.#office.saved(saidOf(view), async () => {
      this.asked.know(await write(id, { ...undo, seen: view.seen }));
      this.#office.live.documents += 1;
    });
  }
}

/** The form of a component while that is there: it is not left by accident once something is typed. */
export function edits<View extends Seen, Draft, Edit>(
  office: Office,
  source: EditSource<View, Draft, Edit>,
): Edits<View, Draft, Edit> {
  const { live, router } = office;
  const asked = asks(
    office,
    source.id,
    () => source.ask(source.id()!),
    () => live.documents,
  );
  const form = new Edits(office, asked, source);
  // A form that nobody has touched follows what others write.
  $effect(() => {
    const answer = asked.answer;
    untrack(() => {
      if (answer && answer !== form.base && !form.isChanged) form.begin(answer);
    });
  });
  $effect(() => {
    router.mayLeave = (to) => !form.isChanged || form.sending.isSent || to.pathname === router.path;
    const unload = (event: BeforeUnloadEvent) => {
      if (form.isChanged) event.preventDefault();
    };
    addEventListener('beforeunload', unload);
    return () => {
      router.mayLeave = () => true;
      removeEventListener('beforeunload', unload);
    };
  });
  return form;
}
