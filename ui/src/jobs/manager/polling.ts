/** Asks again and again, one question at a time, until stopped. What fails is asked again like what succeeds. */
export function poll(
  ask: () => Promise<void>,
  everyMs: number,
  pause: (ms: number) => Promise<void>,
): () => void {
  let isStopped = false;
  void (async () => {
    while (!isStopped) {
      await ask();
      if (!isStopped) await pause(everyMs);
    }
  })();
  return () => (isStopped = true);
}
