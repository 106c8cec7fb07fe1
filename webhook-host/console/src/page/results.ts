// Shows an answer: of each Service the verdict and the findings of each policy; what kubectl prints; then the patches, and the three types.

import type { Answer, Applied, Finding, LoadedPolicy, Subject } from './answer';
import { diff } from './diff';
import { el, printable } from './dom';
import { kubectl } from './kubectl';
import { typesTable } from './types-table';

/** Findings of one Service that are shown; the others are counted. */
const MAX_SHOWN = 50;
/** Services that are shown. */
const MAX_SERVICES = 50;

/** Replaces what is shown. `show` puts the cursor at a line of an editor. */
export function render(into: HTMLElement, answer: Answer, show: (input: string, line: number) => void) {
  const parts: HTMLElement[] = [];
  if (answer.problems.length) parts.push(problems(answer, show));
  const services = answer.subjects.filter(({ service }) => service !== null);
  if (!services.length) {
    const others = answer.ignored ? ` ${answer.ignored} other objects are left alone.` : '';
    parts.push(el('p', {}, `There is no Service in the manifest: a document with apiVersion: v1 and kind: Service.${others}`));
  }
  for (const subject of services.slice(0, MAX_SERVICES)) parts.push(verdicts(subject, answer, show));
  if (services.length > MAX_SERVICES) parts.push(el('p', {}, `and ${services.length - MAX_SERVICES} more Services`));
  const text = kubectl(answer);
  if (text) parts.push(el('section', {}, el('h2', {}, 'What kubectl prints'), el('pre', { id: 'kubectl' }, printable(text))));
  for (const subject of services.slice(0, MAX_SERVICES)) {
    const applied = answer.applied.find(({ line, service }) => line === subject.line && service === subject.service);
    if (applied) parts.push(detail(subject, applied, answer));
  }
  into.replaceChildren(...parts);
}

function problems(answer: Answer, show: (input: string, line: number) => void): HTMLElement {
  const names = { objects: 'Manifest', old: 'Before', policies: 'Policies', config: 'HostConfig' };
  const items = answer.problems.slice(0, MAX_SHOWN).map(({ input, line, message }) =>
    el('li', { class: 'bad' }, el('span', { class: 'level' }, 'problem'), ' ', link(`${names[input]}, line ${line}`, () => show(input, line)), ': ', el('span', {}, printable(message))),
  );
  return el('section', { id: 'problems' }, el('h2', {}, 'The input has problems'), el('ul', { class: 'findings' }, ...items));
}

function verdicts(subject: Subject, answer: Answer, show: (input: string, line: number) => void): HTMLElement {
  const [word, tone] = verdict(subject);
  return el(
    'section',
    { class: 'service' },
    el('h2', {}, printable(subject.service ?? ''), ': ', el('span', { class: `verdict ${tone}` }, word)),
    policies(subject, answer.policies, show),
  );
}

function detail(subject: Subject, applied: Applied, answer: Answer): HTMLElement {
  const hasTypes = applied.object.spec?.type !== 'ExternalName';
  return el(
    'section',
    { class: 'detail' },
    el('h2', {}, `${printable(applied.service)} in the cluster`),
    el('h3', {}, 'What the API server stores, beside what was written'),
    patch(subject, applied),
    hasTypes && el('h3', {}, 'What the types mean for this Service'),
    hasTypes && typesTable(applied, answer.config),
  );
}

function verdict({ findings }: Subject): [string, string] {
  const has = (level: Finding['level']) => findings.some((finding) => finding.level === level);
  if (has('unjudged')) return ['error: it can’t be judged', 'bad'];
  if (has('error')) return ['denied', 'bad'];
  return has('warning') ? ['allowed, with warnings', 'odd'] : ['allowed', 'good'];
}

const WORDS = { unjudged: 'error', error: 'denied', warning: 'warning', note: 'note' };
const TONES = { unjudged: 'bad', error: 'bad', warning: 'odd', note: 'muted' };

function policies(subject: Subject, loaded: LoadedPolicy[], show: (input: string, line: number) => void): HTMLElement {
  const shown = subject.findings.slice(0, MAX_SHOWN);
  const items = shown.map((finding) => {
    const tone = TONES[finding.level];
    return el(
      'li',
      { class: tone },
      el('span', { class: `level ${tone}` }, WORDS[finding.level]),
      el('span', {}, ` ${[finding.rule, printable(finding.policy || 'sallyport')].filter(Boolean).join(', ')}: `),
      link(finding.field ? printable(finding.field) : `line ${finding.line}`, () => show('objects', finding.line)),
      el('span', {}, ` ${printable(finding.message)}`),
      finding.fix ? el('div', { class: 'fix' }, `Fix: ${printable(finding.fix)}`) : undefined,
    );
  });
  if (subject.findings.length > MAX_SHOWN) items.push(el('li', { class: 'muted' }, el('span', {}, `and ${subject.findings.length - MAX_SHOWN} more findings`)));
  const rows = loaded.map((policy) => {
    const [word, tone] = opinion(subject, policy);
    const version = policy.version ? `${policy.mode}, ${policy.version}` : policy.mode;
    return el(
      'tr',
      {},
      el('th', { scope: 'row' }, link(printable(policy.name), () => show('policies', policy.line))),
      el('td', {}, version),
      el('td', { class: tone }, word),
    );
  });
  const head = el('tr', {}, ...['Policy', 'Mode, version', 'Verdict'].map((name) => el('th', { scope: 'col' }, name)));
  return el(
    'div',
    {},
    el('ul', { class: 'findings' }, ...items),
    el('details', {}, el('summary', {}, `Verdict of each policy (${subject.policies.length} of ${loaded.length} asked)`),
      el('table', {}, el('thead', {}, head), el('tbody', {}, ...rows))),
  );
}

function opinion(subject: Subject, policy: LoadedPolicy): [string, string] {
  const findings = subject.findings.filter((finding) => finding.policy === policy.name);
  const worst = (['unjudged', 'error', 'warning', 'note'] as const).find((level) => findings.some((finding) => finding.level === level));
  if (worst) return [WORDS[worst], TONES[worst]];
  return subject.policies.includes(policy.name) ? ['passes', 'good'] : ['not asked: not about this Service', 'muted'];
}

function patch(subject: Subject, applied: Applied): HTMLElement {
  const lines = diff(applied.defaulted, applied.stored);
  if (!lines) return el('p', {}, 'The object is too long to compare.');
  const changed = lines.some(({ kind }) => kind !== 'same');
  const marks = { same: [' ', 'span'], removed: ['-', 'del'], added: ['+', 'ins'] } as const;
  const text = lines.map(({ kind, text }) => {
    const [mark, tag] = marks[kind];
    return el(tag, kind === 'same' ? { class: 'same' } : {}, `${mark} ${printable(text)}`);
  });
  const operations = subject.patch.map((operation) => el('code', {}, printable(JSON.stringify(operation))));
  return el(
    'div',
    {},
    el('p', { class: 'muted' }, operations.length ? 'Policies patch it: ' : 'No policy patches it. ', ...operations,
      changed ? ' Addresses and node ports that were left out are an example of what the API server allocates.' : ''),
    changed && el('details', operations.length ? { open: '' } : {}, el('summary', {}, 'Difference to the object with defaults'), el('pre', {}, ...text)),
  );
}

function link(text: string, go: () => void): HTMLElement {
  const button = el('button', { class: 'link', type: 'button' }, text);
  button.addEventListener('click', go);
  return button;
}
