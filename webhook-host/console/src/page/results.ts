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
  const broken = brokenPolicies(answer);
  if (isUnjudged(answer)) {
    into.replaceChildren(...parts, el('p', {}, 'Nothing is judged until these can be read: a verdict without them could be a wrong one.'));
    return;
  }
  if (broken.length) parts.unshift(unknown(broken));
  const services = answer.subjects.filter(({ service }) => service !== null);
  const unread = answer.problems.some(({ input }) => input === 'objects');
  if (!services.length && !unread) {
    const others = answer.ignored ? ` ${counted(answer.ignored, 'object')} of other kinds ${answer.ignored === 1 ? 'is' : 'are'} left alone.` : '';
    parts.push(el('p', {}, `There is no Service in the manifest: a document with apiVersion: v1 and kind: Service.${others}`));
  }
  for (const subject of services.slice(0, MAX_SERVICES)) parts.push(verdicts(subject, answer, show));
  if (services.length > MAX_SERVICES) parts.push(el('p', {}, `and ${counted(services.length - MAX_SERVICES, 'more Service')}`));
  // What follows depends on all policies.
  if (!broken.length) {
    const { text, verbatim } = kubectl(answer);
    if (text) parts.push(printed(text, verbatim));
    for (const subject of services.slice(0, MAX_SERVICES)) {
      const applied = appliedOf(subject, answer);
      if (applied) parts.push(detail(subject, applied, answer));
    }
  }
  into.replaceChildren(...parts);
}

/** Returns whether policies as a whole, cluster or earlier object are not what the user meant, so that any verdict would mislead. */
function isUnjudged({ problems }: Answer): boolean {
  return problems.some(({ input, policy }) => input !== 'objects' && policy === null);
}

/** Returns the policies that can't be used, and that might refuse what the others allow. */
function brokenPolicies({ problems }: Answer): string[] {
  return [...new Set(problems.flatMap(({ policy }) => policy ?? []))];
}

function unknown(broken: string[]): HTMLElement {
  const names = broken.map(printable).join(', ');
  const text =
    broken.length === 1
      ? `The verdict is unknown: policy ${names} can’t be used until its problems are solved, and it might refuse what the other policies allow.`
      : `The verdict is unknown: the policies ${names} can’t be used until their problems are solved, and they might refuse what the others allow.`;
  return el('p', { id: 'unknown', class: 'bad', role: 'alert' }, `${text} Below is what the others say.`);
}

function appliedOf(subject: Subject, answer: Answer): AppliedService | undefined {
  return answer.applied.find(({ line, service }) => line === subject.line && service === subject.service);
}

function printed(text: string, verbatim: boolean): HTMLElement {
  return el(
    'section',
    {},
    el('h2', {}, 'What kubectl prints'),
    !verbatim && el('p', { class: 'muted' }, 'The API server may word this another way.'),
    el('pre', { id: 'kubectl' }, printable(text)),
  );
}

/** Returns the verdicts in a sentence, for screen readers and small screens. */
export function summary(answer: Answer): string {
  const { subjects, problems } = answer;
  const services = isUnjudged(answer) ? [] : subjects.filter(({ service }) => service !== null);
  const toned = (tone: string) => services.filter((subject) => verdict(subject, answer)[1] === tone).length;
  const input = problems.length ? `The input has ${counted(problems.length, 'problem')}. ` : '';
  const [only] = services;
  if (!only) return `${input}No Service is judged.`;
  if (services.length === 1) return `${input}${printable(only.service ?? '')}: ${verdict(only, answer)[0]}.`;
  const [refused, unknown] = [toned('bad'), toned('unknown')];
  const rest = services.length - refused - unknown;
  return `${input}${services.length} Services: ${refused} refused, ${unknown ? `${unknown} unknown` : `${rest} allowed`}.`;
}

function problems(answer: Answer, show: Show): HTMLElement {
  const items = answer.problems.slice(0, MAX_SHOWN).map(({ input, line, message }) =>
    el('li', { class: 'bad' }, el('span', { class: 'level' }, 'problem'), ' ', link(`${TITLES[input]}, line ${line}`, () => show(input, line)), ': ', el('span', {}, printable(message.replace(/^line \d+: /, '')))),
  );
  return el('section', { id: 'problems' }, el('h2', {}, 'The input has problems'), el('ul', { class: 'findings' }, ...items));
}

function verdicts(subject: Subject, answer: Answer, show: Show): HTMLElement {
  const [word, tone] = verdict(subject, answer);
  return el(
    'section',
    { class: 'service' },
    el('h2', {}, printable(subject.service ?? ''), ': ', el('span', { class: `verdict ${tone}` }, word)),
    el('p', { class: 'muted' }, consequence(subject, answer)),
    policies(subject, answer, show),
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

/** Returns the verdict in words, and the class that colours it. */
function verdict(subject: Subject, answer: Answer): [string, string] {
  const applied = appliedOf(subject, answer);
  const has = (level: Finding['level']) => subject.findings.some((finding) => finding.level === level);
  if (applied?.rejected) return ['refused by the API server itself', 'bad'];
  if (has('error')) return ['denied', 'bad'];
  if (brokenPolicies(answer).length) return ['unknown', 'unknown'];
  if (subject.findings.some(isMalformed)) return applied?.allowed ? ['allowed, with warnings', 'odd'] : ['denied', 'bad'];
  if (has('unjudged')) return applied?.allowed ? ['allowed, though a policy failed', 'odd'] : ['denied, because a policy failed', 'bad'];
  return has('warning') ? ['allowed, with warnings', 'odd'] : ['allowed', 'good'];
}

/** Returns whether it says that the object is no Service that the API server or Sallyport reads. */
function isMalformed({ policy, rule }: Finding): boolean {
  return policy === '' && rule === 'S16';
}

const WORDS = { unjudged: 'failed', error: 'denied', warning: 'warning', note: 'note' };
const TONES = { unjudged: 'bad', error: 'bad', warning: 'odd', note: 'muted' };

/** Returns the word before a finding: a refusal by the API server is no denial of a policy. */
function wordOf(finding: Finding, applied: AppliedService | undefined): string {
  if (finding.policy === 'kubernetes' && finding.level === 'error') return 'refused';
  if (isMalformed(finding)) return applied?.rejected ? 'refused' : 'denied';
  return WORDS[finding.level];
}

function policies(subject: Subject, answer: Answer, show: Show): HTMLElement {
  const { policies: loaded } = answer;
  const applied = appliedOf(subject, answer);
  const shown = subject.findings.slice(0, MAX_SHOWN);
  const items = shown.map((finding) => {
    const tone = TONES[finding.level];
    return el(
      'li',
      { class: tone },
      el('span', { class: `level ${tone}` }, wordOf(finding, applied)),
      ' ',
      link(finding.field ? printable(finding.field) : `line ${finding.line}`, () => show('objects', finding.line)),
      el('span', {}, ` ${printable(finding.message)}`),
      finding.fix ? el('div', { class: 'fix' }, `Fix: ${printable(finding.fix)}`) : undefined,
      source(finding, answer, applied, show),
    );
  });
  if (subject.findings.length > MAX_SHOWN) items.push(el('li', { class: 'muted' }, el('span', {}, `and ${counted(subject.findings.length - MAX_SHOWN, 'more finding')}`)));
  const rows = loaded.map((policy) => {
    const [word, tone] = opinion(subject, policy, applied);
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
    el('details', {}, el('summary', {}, `What each policy says (${subject.policies.length} of ${loaded.length} apply to this Service)`),
      el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Verdict of each policy' },
        el('table', {}, el('thead', {}, head), el('tbody', {}, ...rows)))),
  );
}

/** Says where a finding comes from: a rule of a policy, the API server, or the host. */
function source(finding: Finding, answer: Answer, applied: AppliedService | undefined, show: Show): HTMLElement {
  const { policy, rule } = finding;
  const found = answer.policies.find(({ name }) => name === policy);
  if (!found) {
    const own = policy === 'kubernetes' || (isMalformed(finding) && applied?.rejected);
    const text = own ? 'From the API server itself, before any policy is asked.' : isMalformed(finding) ? 'From Sallyport itself, before any policy is asked (rule S16).' : '';
    return el('div', { class: 'source' }, text);
  }
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
function consequence(subject: Subject, answer: Answer): string {
  const applied = appliedOf(subject, answer);
  const count = (level: Finding['level']) => subject.findings.filter((finding) => finding.level === level && finding.policy !== 'kubernetes').length;
  const denials = count('error');
  if (applied?.rejected) {
    const more = denials ? ` Once it is corrected, policies would deny it as well, for ${counted(denials, 'reason')}.` : '';
    return `This is no Service that the API server accepts, whatever the policies say.${more} Change the manifest until no reason is left.`;
  }
  if (denials) return `The cluster would refuse this Service, for ${counted(denials, 'reason')}. Change the manifest until none is left.`;
  if (brokenPolicies(answer).length) return 'No other policy refuses this Service.';
  const isMisfit = subject.findings.some(isMalformed);
  if (isMisfit && !applied?.allowed) return 'The cluster would refuse this Service. Change the manifest until no reason is left.';
  if (count('unjudged') && !isMisfit) {
    return applied?.allowed
      ? 'The cluster would store this Service: the manifest of the policy that failed says failurePolicy: Ignore, or its mode refuses nothing.'
      : 'The cluster would refuse this Service, because the manifest of the policy that failed says failurePolicy: Fail, which is the default.';
  }
  const none = subject.policies.length ? '' : ' None of the policies applies to it.';
  return `The cluster would store this Service${count('warning') ? ', and print the warnings' : ''}.${none}`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function opinion(subject: Subject, policy: LoadedPolicy, applied: AppliedService | undefined): [string, string] {
  if (policy.problem !== null) return ['unknown: it can’t be used', 'bad'];
  const findings = subject.findings.filter((finding) => finding.policy === policy.name);
  const worst = (['unjudged', 'error', 'warning', 'note'] as const).find((level) => findings.some((finding) => finding.level === level));
  if (worst) return [WORDS[worst], TONES[worst]];
  if (subject.policies.includes(policy.name)) return ['passes', 'good'];
  return [applied?.rejected && !subject.policies.length ? 'not asked: the API server refuses the Service first' : 'does not apply to this Service', 'muted'];
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
