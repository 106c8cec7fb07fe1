// Shows an answer: of each Service the verdict and the findings of each policy; what kubectl prints; then the patches, and the three types.

import { diff } from './diff';
import { el, printable } from './dom';
import { TITLES } from './inputs';
import { kubectl } from './kubectl';
import type { Answer, AppliedService, Finding, Input, LoadedPolicy, Subject } from './messages';
import { typesTable } from './types-table';

/** Findings of one Service that are shown; the others are counted. */
const MAX_SHOWN = 50;
/** Services that are shown. */
const MAX_SERVICES = 50;

/** Puts the cursor at a line of an editor. */
type Show = (input: Input, line: number) => void;

/** Replaces what is shown. */
export function render(into: HTMLElement, answer: Answer, show: Show) {
  const parts: HTMLElement[] = [];
  if (answer.problems.length) parts.push(problems(answer, show));
  if (isUnjudged(answer)) {
    into.replaceChildren(...parts, el('p', {}, 'Nothing is judged until these can be read: a verdict without them could be a wrong one.'));
    return;
  }
  const services = answer.subjects.filter(({ service }) => service !== null);
  const unread = answer.problems.some(({ input }) => input === 'objects');
  if (!services.length && !unread) {
    const others = answer.ignored ? ` ${counted(answer.ignored, 'object')} of other kinds ${answer.ignored === 1 ? 'is' : 'are'} left alone.` : '';
    parts.push(el('p', {}, `There is no Service in the manifest: a document with apiVersion: v1 and kind: Service.${others}`));
  }
  for (const subject of services.slice(0, MAX_SERVICES)) parts.push(verdicts(subject, answer, show));
  if (services.length > MAX_SERVICES) parts.push(el('p', {}, `and ${counted(services.length - MAX_SERVICES, 'more Service')}`));
  const text = kubectl(answer);
  if (text) parts.push(el('section', {}, el('h2', {}, 'What kubectl prints'), el('pre', { id: 'kubectl' }, printable(text))));
  for (const subject of services.slice(0, MAX_SERVICES)) {
    const applied = answer.applied.find(({ line, service }) => line === subject.line && service === subject.service);
    if (applied) parts.push(detail(subject, applied, answer));
  }
  into.replaceChildren(...parts);
}

/** Returns whether policies, cluster or earlier object are not what the user meant, so that any verdict would mislead. */
function isUnjudged({ problems }: Answer): boolean {
  return problems.some(({ input }) => input !== 'objects');
}

/** Returns the verdicts in a sentence, for screen readers and small screens. */
export function summary(answer: Answer): string {
  const { subjects, problems } = answer;
  const services = isUnjudged(answer) ? [] : subjects.filter(({ service }) => service !== null);
  const denied = services.filter((subject) => verdict(subject)[1] === 'bad').length;
  const input = problems.length ? `The input has ${counted(problems.length, 'problem')}. ` : '';
  const [only] = services;
  if (!only) return `${input}No Service is judged.`;
  if (services.length === 1) return `${input}${printable(only.service ?? '')}: ${verdict(only)[0]}.`;
  return `${input}${services.length} Services: ${denied} denied, ${services.length - denied} allowed.`;
}

function problems(answer: Answer, show: Show): HTMLElement {
  const items = answer.problems.slice(0, MAX_SHOWN).map(({ input, line, message }) =>
    el('li', { class: 'bad' }, el('span', { class: 'level' }, 'problem'), ' ', link(`${TITLES[input]}, line ${line}`, () => show(input, line)), ': ', el('span', {}, printable(message.replace(/^line \d+: /, '')))),
  );
  return el('section', { id: 'problems' }, el('h2', {}, 'The input has problems'), el('ul', { class: 'findings' }, ...items));
}

function verdicts(subject: Subject, answer: Answer, show: Show): HTMLElement {
  const [word, tone] = verdict(subject);
  return el(
    'section',
    { class: 'service' },
    el('h2', {}, printable(subject.service ?? ''), ': ', el('span', { class: `verdict ${tone}` }, word)),
    el('p', { class: 'muted' }, consequence(subject)),
    policies(subject, answer.policies, show),
  );
}

function detail(subject: Subject, applied: AppliedService, answer: Answer): HTMLElement {
  const hasTypes = applied.object.spec?.type !== 'ExternalName';
  return el(
    'section',
    { class: 'detail' },
    el('h2', {}, `${printable(applied.service)} in the cluster`),
    el('h3', {}, applied.allowed ? 'What the API server stores' : 'What the API server would store if it were allowed'),
    patch(subject, applied),
    hasTypes && el('h3', {}, 'What each type would mean for this Service'),
    hasTypes && typesTable(applied, answer.config.cluster),
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

function policies(subject: Subject, loaded: LoadedPolicy[], show: Show): HTMLElement {
  const shown = subject.findings.slice(0, MAX_SHOWN);
  const items = shown.map((finding) => {
    const tone = TONES[finding.level];
    return el(
      'li',
      { class: tone },
      el('span', { class: `level ${tone}` }, WORDS[finding.level]),
      ' ',
      link(finding.field ? printable(finding.field) : `line ${finding.line}`, () => show('objects', finding.line)),
      el('span', {}, ` ${printable(finding.message)}`),
      finding.fix ? el('div', { class: 'fix' }, `Fix: ${printable(finding.fix)}`) : undefined,
      source(finding, loaded, show),
    );
  });
  if (subject.findings.length > MAX_SHOWN) items.push(el('li', { class: 'muted' }, el('span', {}, `and ${counted(subject.findings.length - MAX_SHOWN, 'more finding')}`)));
  const rows = loaded.map((policy) => {
    const [word, tone] = opinion(subject, policy);
    const version = policy.version ? `${policy.mode}, ${policy.version}` : policy.mode;
    return el(
      'tr',
      {},
      el('th', { scope: 'row' }, link(printable(policy.name), () => show('policies', policy.line))),
      el('td', {}, printable(policy.purpose ?? '')),
      el('td', {}, version),
      el('td', { class: tone }, word),
    );
  });
  const head = el('tr', {}, ...['Policy', 'Purpose', 'Mode, version', 'Verdict'].map((name) => el('th', { scope: 'col' }, name)));
  return el(
    'div',
    {},
    el('ul', { class: 'findings' }, ...items),
    el('details', {}, el('summary', {}, `Verdict of each policy (${subject.policies.length} of ${loaded.length} asked)`),
      el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Verdict of each policy' },
        el('table', {}, el('thead', {}, head), el('tbody', {}, ...rows)))),
  );
}

/** Says where a finding comes from: a rule of a policy, the API server, or the host. */
function source({ policy, rule }: Finding, loaded: LoadedPolicy[], show: Show): HTMLElement {
  const found = loaded.find(({ name }) => name === policy);
  if (!found) return el('div', { class: 'source' }, policy === 'kubernetes' ? 'The API server itself, before any policy is asked.' : '');
  const text = found.rules[rule];
  return el(
    'div',
    { class: 'source' },
    rule ? `Rule ${printable(rule)} of policy ` : 'Policy ',
    link(printable(policy), () => show('policies', found.line)),
    text ? `: ${printable(text)}` : '',
  );
}

/** Says what the verdict means, and what to do. */
function consequence({ findings }: Subject): string {
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  if (count('unjudged')) return 'A policy could not judge this Service. Its failurePolicy decides if the cluster refuses it.';
  const denials = count('error');
  if (denials) return `The cluster would refuse this Service, for ${counted(denials, 'reason')}. Change the manifest until none is left.`;
  return count('warning') ? 'The cluster would store this Service, and print the warnings.' : 'The cluster would store this Service.';
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function opinion(subject: Subject, policy: LoadedPolicy): [string, string] {
  const findings = subject.findings.filter((finding) => finding.policy === policy.name);
  const worst = (['unjudged', 'error', 'warning', 'note'] as const).find((level) => findings.some((finding) => finding.level === level));
  if (worst) return [WORDS[worst], TONES[worst]];
  return subject.policies.includes(policy.name) ? ['passes', 'good'] : ['not asked: it is not about such Services', 'muted'];
}

function patch(subject: Subject, applied: AppliedService): HTMLElement {
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
    el('p', { class: 'muted' }, operations.length ? 'Policies change it: ' : 'No policy changes it.', ...operations,
      changed ? ' The API server allocates the addresses and node ports that the manifest leaves out; those below are an example.' : ''),
    changed && el('details', operations.length ? { open: '' } : {}, el('summary', {}, 'The whole object, with what is added and removed'), el('pre', {}, ...text)),
  );
}

function link(text: string, go: () => void): HTMLElement {
  const button = el('button', { class: 'link', type: 'button' }, text);
  button.addEventListener('click', go);
  return button;
}
