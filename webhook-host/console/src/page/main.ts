// The playground's page: editors on the left, the answer on the right, asked anew after each keystroke.

import type { Schema } from './completion';
import { byId, el, printable } from './dom';
import { Editor, type Remark } from './editor';
import { CLUSTERS, EXAMPLES } from './examples';
import { INPUTS, TITLES } from './inputs';
import type { Answer, Input, Recorded, Request } from './messages';
import { manifestOf, ownPolicy, type RequiredSetting } from './own-policy';
import { render, summary } from './results';
import { Ended, Sandbox } from './sandbox';
import { SERVICE } from './service-schema';
import { fromFragment, type State, toFragment } from './share';
import { suite } from './suite';

/** Milliseconds without a keystroke before the engine is asked. */
const PAUSE = 10;
/** Characters of one editor that are judged. A Service may have 256 KiB. */
const MAX_TEXT = 512 << 10;

interface Presets {
  presets: Record<string, string>;
  config: string;
  schemas: { 'service-policy': Schema; 'host-config': Schema };
}

const status = byId('status');
const results = byId('results');
const editors = {} as Record<Input, Editor>;
const tabs = {} as Record<Input, HTMLButtonElement>;
const settingsSchemas = new Map<string, Schema | undefined>();
let presets: Presets;
let sandbox: Sandbox;
let last: Answer | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let asked = 0;

await begin();

async function begin() {
  makeEditors();
  const file = async (name: string) => {
    const response = await fetch(name);
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    return response;
  };
  const bytes = async (name: string) => new Uint8Array(await (await file(name)).arrayBuffer());
  const said = 'Loading the policies…';
  say(said);
  try {
    const [engine, policies, worker, glue, all] = await Promise.all([
      bytes('engine.wasm'),
      bytes('policies.wasm'),
      file('worker.js').then((it) => it.text()),
      file('glue.json').then((it) => it.json()),
      file('presets.json').then((it) => it.json()),
    ]);
    presets = all;
    await chooseState();
    sandbox = new Sandbox(worker, { glue, files: { 'engine.wasm': engine, 'policies.wasm': policies }, own: {} });
  } catch (error) {
    say(`The page could not be loaded: ${words(error)}. Reload it; it needs all files of target/console.`);
    return;
  }
  if (status.textContent === said) say('');
  listen();
  await ask();
}

function makeEditors() {
  const panels = byId('panels');
  for (const input of INPUTS) {
    const host = el('div');
    const panel = el('div', { class: 'panel', role: 'tabpanel', id: `panel-${input}`, 'aria-labelledby': `tab-${input}` }, host);
    panels.append(panel);
    const tab = el('button', { type: 'button', role: 'tab', id: `tab-${input}`, 'aria-controls': panel.id }, TITLES[input]);
    tab.addEventListener('click', () => select(input));
    tab.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = INPUTS[(INPUTS.indexOf(input) + step + INPUTS.length) % INPUTS.length];
      select(next);
      tabs[next].focus();
    });
    tabs[input] = tab;
    byId('tabs').append(tab);
    editors[input] = new Editor(host, TITLES[input], (document) => schemaOf(input, document), changed);
  }
  select('objects');
}

function select(input: Input) {
  for (const other of INPUTS) {
    tabs[other].setAttribute('aria-selected', String(other === input));
    tabs[other].tabIndex = other === input ? 0 : -1;
    byId(`panel-${other}`).hidden = other !== input;
  }
}

function schemaOf(input: Input, document: string[]): Schema | undefined {
  if (!presets) return undefined;
  if (input === 'config') return presets.schemas['host-config'];
  if (input !== 'policies') return SERVICE;
  const schema = presets.schemas['service-policy'];
  const file = document.join('\n').match(/file:\s*"?([\w.-]+\.wasm)/)?.[1];
  const settings = file === undefined ? undefined : settingsOf(file);
  if (!settings) return schema;
  // The type of `spec.settings` is the component's own.
  const spec = schema.$defs?.ServicePolicySpec ?? schema.properties?.spec;
  const properties = { ...spec?.properties, settings: { properties: settings.properties, ...settings } };
  return {
    ...schema,
    $defs: { ...schema.$defs, ...settings.$defs },
    properties: { ...schema.properties, spec: { ...spec, properties } },
  };
}

/** Returns the JSON Schema of a component's settings once it is known, and asks for it until then. */
function settingsOf(file: string): Schema | undefined {
  if (!settingsSchemas.has(file) && sandbox) {
    settingsSchemas.set(file, undefined);
    sandbox.call('inspect', file).then(
      (text) => settingsSchemas.set(file, JSON.parse(text).settings ?? undefined),
      () => settingsSchemas.delete(file),
    );
  }
  return settingsSchemas.get(file);
}

async function chooseState() {
  options('example', Object.keys(EXAMPLES));
  options('preset', Object.keys(presets.presets));
  options('cluster', Object.keys(CLUSTERS));
  let shared: State | undefined;
  try {
    shared = await fromFragment(location.hash);
  } catch (error) {
    say(`The link can't be opened: ${words(error)}. The examples are shown instead.`);
  }
  write(
    shared ?? {
      objects: EXAMPLES[Object.keys(EXAMPLES)[1]],
      old: '',
      policies: presets.presets.restricted,
      config: Object.values(CLUSTERS)[0],
      user: { username: 'jane', groups: ['system:authenticated'] },
    },
  );
  if (!shared) {
    byId<HTMLSelectElement>('example').selectedIndex = 1;
    byId<HTMLSelectElement>('preset').value = 'restricted';
  } else {
    for (const id of ['example', 'preset', 'cluster']) byId<HTMLSelectElement>(id).selectedIndex = -1;
  }
  explainPreset();
}

/** Shows the purpose of the chosen preset: the comment with which its manifests begin. */
function explainPreset() {
  const { value } = byId<HTMLSelectElement>('preset');
  const purpose = presets.presets[value]?.match(/^# (.*)/)?.[1];
  byId('preset-purpose').textContent = purpose ? `${value}: ${purpose}` : '';
}

function options(id: string, names: string[]) {
  byId(id).replaceChildren(...names.map((name) => el('option', {}, name)));
}

function write(state: State) {
  for (const input of INPUTS) editors[input].text = state[input];
  byId<HTMLInputElement>('username').value = state.user.username;
  byId<HTMLInputElement>('groups').value = state.user.groups.join(', ');
}

function read(): State {
  const groups = byId<HTMLInputElement>('groups').value.split(',').map((group) => group.trim());
  return {
    ...(Object.fromEntries(INPUTS.map((input) => [input, editors[input].text])) as Record<Input, string>),
    user: { username: byId<HTMLInputElement>('username').value, groups: groups.filter(Boolean) },
  };
}

function listen() {
  const chosen = (id: string, input: Input, texts: Record<string, string>) =>
    byId<HTMLSelectElement>(id).addEventListener('change', ({ target }) => {
      editors[input].text = texts[(target as HTMLSelectElement).value];
      // A user who chooses policies or a cluster goes on with the manifest.
      if (input === 'objects') select(input);
      void ask();
    });
  chosen('example', 'objects', EXAMPLES);
  chosen('preset', 'policies', presets.presets);
  byId('preset').addEventListener('change', explainPreset);
  chosen('cluster', 'config', CLUSTERS);
  for (const id of ['username', 'groups']) byId(id).addEventListener('input', changed);
  byId('share').addEventListener('click', () => void guarded(share));
  byId('export').addEventListener('click', () => void guarded(save));
  byId('import').addEventListener('click', () => byId<HTMLDialogElement>('importing').showModal());
  byId('take').addEventListener('click', (event) => {
    event.preventDefault();
    void take();
  });
  byId<HTMLInputElement>('own').addEventListener('change', ({ target }) => {
    const field = target as HTMLInputElement;
    const [file] = field.files ?? [];
    if (file) void guarded(() => add(file));
    field.value = '';
  });
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    const [file] = event.dataTransfer?.files ?? [];
    if (!file) return;
    event.preventDefault();
    void guarded(() => add(file));
  });
  addEventListener('hashchange', () =>
    void guarded(async () => {
      const shared = await fromFragment(location.hash);
      if (shared) write(shared);
      await ask();
    }),
  );
}

/** Runs what a button does; an error is said in place. */
async function guarded(action: () => Promise<void>) {
  try {
    await action();
  } catch (error) {
    say(words(error));
  }
}

function changed() {
  clearTimeout(timer);
  timer = setTimeout(() => void ask(), PAUSE);
}

/** Asks the engine about what the editors hold, and shows the answer unless a newer question was asked meanwhile. */
async function ask() {
  const question = ++asked;
  const state = read();
  const large = INPUTS.filter((input) => state[input].length > MAX_TEXT);
  const problems = large.map((input) => ({ input, line: 1, message: tooLarge(state[input].length), policy: null }));
  const judged = { ...state, ...Object.fromEntries(large.map((input) => [input, ''])) };
  try {
    const answer: Answer = JSON.parse(await sandbox.call('check', JSON.stringify({ ...judged, now: Date.now() } satisfies Request)));
    if (question === asked) shown({ ...answer, problems: [...problems, ...answer.problems] });
  } catch (error) {
    if (question !== asked) return;
    if (error instanceof Ended && error.file !== undefined) {
      sandbox.remove(error.file);
      say(`${words(error)}. It was taken out, and the page goes on without it.`);
      return ask();
    }
    say(`No answer: ${words(error)}. Change the input to ask again.`);
  }
}

function tooLarge(length: number): string {
  const kib = (length: number) => Math.ceil(length / 1024);
  return `The text has ${kib(length)} KiB, and this page judges ${kib(MAX_TEXT)} KiB at most; use \`sallyport check\` for more`;
}

function shown(answer: Answer) {
  last = answer;
  const severity = { unjudged: 'error', error: 'error', warning: 'warning', note: 'info' } as const;
  const remarks = {} as Record<Input, Remark[]>;
  for (const input of INPUTS) remarks[input] = [];
  for (const { input, line, message } of answer.problems) remarks[input].push({ line, severity: 'error', message: printable(message) });
  for (const finding of answer.subjects.flatMap(({ findings }) => findings)) {
    const fix = finding.fix ? `; ${finding.fix}` : '';
    const text = `[${finding.policy || 'sallyport'}] ${finding.field ? `${finding.field}: ` : ''}${finding.message}${fix}`;
    remarks.objects.push({ line: finding.line, severity: severity[finding.level], message: printable(text) });
  }
  for (const input of INPUTS) {
    editors[input].remark(remarks[input].slice(0, 200));
    const count = answer.problems.filter((problem) => problem.input === input).length;
    tabs[input].textContent = count ? `${TITLES[input]} (${count} problem${count === 1 ? '' : 's'})` : TITLES[input];
  }
  render(results, answer, (input, line) => {
    select(input);
    editors[input].show(line);
  });
  const told = summary(answer);
  if (byId('summary').textContent !== told) byId('summary').textContent = told;
  results.dataset.answered = String(asked);
}

async function share() {
  const fragment = await toFragment(read());
  history.replaceState(null, '', fragment);
  try {
    await navigator.clipboard.writeText(location.href);
    say('The link is copied. It holds all that the editors hold, and no server gets it.');
  } catch {
    say('The link is in the address bar. It holds all that the editors hold, and no server gets it.');
  }
}

async function save() {
  if (!last?.applied.length) throw new Error('There is no Service to export; write one first.');
  const files = await suite(read(), last, (request) => sandbox.call('answers', request));
  for (const [name, text] of Object.entries(files)) {
    const link = el('a', { href: URL.createObjectURL(new Blob([text])), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  }
  say('Saved suite.yaml and policies.yaml. Run them with: sallyport test suite.yaml');
}

async function take() {
  const problem = byId('recorded-problem');
  try {
    const recorded: Recorded = JSON.parse(await sandbox.call('recorded', byId<HTMLTextAreaElement>('recorded').value));
    write({ ...read(), ...recorded });
    problem.textContent = '';
    byId<HTMLDialogElement>('importing').close();
    select('objects');
    await ask();
  } catch (error) {
    problem.textContent = words(error);
  }
}

/** Adds a policy of the user's own: jco transpiles it here, and the sandbox runs it. */
async function add(file: File) {
  say(`Transpiling ${printable(file.name)}…`);
  sandbox.add(file.name, await ownPolicy(file));
  settingsSchemas.delete(file.name);
  let inspection: { name: string; requiredSettings: RequiredSetting[] };
  try {
    inspection = JSON.parse(await sandbox.call('inspect', file.name));
  } catch (error) {
    sandbox.remove(file.name);
    void ask();
    throw new Error(`${file.name} can't be used: ${words(error)}`);
  }
  const { policies } = read();
  if (!policies.includes(`file: ${file.name}`)) {
    const manifest = manifestOf(file.name, inspection.requiredSettings);
    editors.policies.text = policies.trim() ? `${policies.trimEnd()}\n---\n${manifest}` : manifest;
  }
  const needs = inspection.requiredSettings.map(({ path, message }) => `${path || 'settings'}: ${message}`);
  if (needs.length) {
    say(`${file.name} was added: ${printable(inspection.name)}. It needs settings before it can judge. Write them at the end of the tab Policies: ${printable(needs.join('; '))}.`);
    await ask();
    select('policies');
    editors.policies.show(Number.POSITIVE_INFINITY);
    return;
  }
  say(`${file.name} was added: ${printable(inspection.name)}. It runs in a sandbox that can reach nothing.`);
  await ask();
}

function say(text: string) {
  status.textContent = text;
}

function words(error: unknown): string {
  return error instanceof Error ? printable(error.message) : String(error);
}
