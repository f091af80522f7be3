/**
 * What only the app in its window shows. `shown` is what the program behind the window says, `refuse` its answer to an enrolment.
 */
const data = '/home/harbour-street/.local/share/evertill';
const stuck = (code, message) => ({ stage: 'stuck', data, code, message });

export const windowScenes = [
  { name: 'window-first-run', shown: { stage: 'first_run', data } },
  {
    name: 'window-first-run-refused',
    shown: { stage: 'first_run', data },
    refuse: { code: 'unreachable', message: 'In words.' },
    async steps(page) {
      await page
        .getByTestId('enrolment-link')
        .fill(`evertill://sync.example.com:4433/0123456789#${'5e'.repeat(32)}`);
      await page.getByTestId('enrol').click();
      await page.getByRole('alert').waitFor();
    },
  },
  { name: 'window-in-use', shown: stuck('in_use', `${data} is in use by another evertill-node or window`) },
  {
    name: 'window-config',
    shown: stuck('config', `the configuration file ${data}/node.toml is wrong: unknown field \`lisen\``),
    size: { width: 360, height: 640 },
  },
];

/** Runs in the page before the app does: a program that says what the scene says. */
export function windowProgram({ shown, refuse }) {
  globalThis.isTauri = true;
  globalThis.__TAURI_INTERNALS__ = {
    invoke: (command) => (command === 'enrol' ? Promise.reject(refuse) : Promise.resolve(shown)),
  };
}
