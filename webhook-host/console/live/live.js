// @ts-check
// The live console: shows the host's state as its events bring it. Text is always text, and rows that stay the same stay in place, so that
// an update moves neither focus nor selection.

import { ask, follow } from './feed.js';

/**
 * @typedef {{ text: string, class?: string, title?: string }} Cell
 * @typedef {{ key: string, cells: (Cell | string)[] }} Row
 * @typedef {{ evaluations: number, violating: number, failed: number, shortCircuited: boolean }} Counts
 * @typedef {{ changes: string[], module: string, digest?: string, version?: string, error?: string, reviews: Record<string, number> }} Candidate
 * @typedef {{ name: string, mode: string, failurePolicy: string, module: string, digest?: string, component?: string, version?: string,
 *   error?: string, candidate?: Candidate }} Policy
 * @typedef {{ at: string, error?: string }} Reload
 * @typedef {{ names: string[], notBefore?: string, notAfter?: string, trouble?: string, clientsUntil?: string, lastReload?: Reload,
 *   selfManaged?: { leader: boolean, authorityUntil?: string, state: string, troubles: { reason: string, message: string }[] } }} Certificate
 * @typedef {{ kind: string, state: string, objects: number, since?: string, contact?: string, error?: string }} Feed
 * @typedef {{ version: string, generation: number, since: string, digest: string, replica: string, policies: Policy[],
 *   counts: Record<string, Counts>, reloads: (Reload & { generation: number })[], denials: { total: number, notShown: number },
 *   certificate?: Certificate, registration?: { troubles: string[], since: string }, inventory?: Feed[],
 *   exposures?: { holder?: string, revision: number, at?: string }, playground: boolean }} State
 * @typedef {{ time: string, operation: string, namespace: string, name: string, user: string, dryRun: boolean, generation: number }} Wish
 * @typedef {Wish & { causes: { reason: string, message: string, field?: string }[], moreCauses: number }} Denial
 * @typedef {Wish & { policy: string, result: string, live: string, candidate: string }} Divergence
 * @typedef {{ service: string, created?: string, kind: string, opens: string, ports: string[], address: string, reason: string, field: string,
 *   allocated?: boolean, writtenBy?: { manager: string, time?: string },
 *   policy: { refusedBy?: { policy: string, rule: string, keptOnUpdate: boolean }[], allowedBy: string[], exempt?: string, unjudged?: boolean } }} Exposure
 * @typedef {{ time: string, services: number, complete: boolean, leftOut: number, exposures: Exposure[] }} Doors
 */

/** Rows of exposures that are shown before "Show all". */
const FEW_ROWS = 200;

/** Denials that are kept, and divergences; the host keeps no more. */
const MAX_KEPT = 100;

/** The words of `sallyport exposures`. */
const OPENS = {
  public: 'anyone',
  perhapsPublic: 'perhaps anyone',
  exported: 'exported',
  externalIp: 'external IP',
  nodes: 'nodes',
  internal: 'internal',
  shared: 'shared',
  alias: 'alias',
};
const DOORS = {
  loadBalancer: 'load balancer',
  exported: 'annotation',
  externalIp: 'external IP',
  nodePort: 'node port',
  shared: 'shared address',
  alias: 'alias',
};
const RULINGS = { refused: 'refused', allowed: 'allowed', exempt: 'exempt', unasked: 'no policy applies', unjudged: 'no verdict' };
const DIVERGING = ['stricter', 'looser', 'different', 'error'];
const RESULTS = ['same', ...DIVERGING, 'skipped'];

/** Characters that make a text look like another one: shown by their number. */
const DECEPTIVE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

let token = '';
/** @type {Doors | undefined} */
let doors;
/** The revision of `doors`; 0 without any. */
let revision = 0;
let showsAll = false;
/** @type {(() => void) | undefined} */
let loggedIn;

/**
 * The host's last reviews of a kind, the newest first.
 *
 * @template T
 */
class Reviews {
  /** @type {{ number: number, review: T }[]} */
  items = [];
  /** True until the present stream has brought some: it begins with all that the host keeps, and the host may have started anew. */
  isNew = true;

  /** @param {{ number: number, review: T }[]} more the newest at the end */
  add(more) {
    if (this.isNew) this.items = [];
    this.isNew = false;
    this.items = [...more.reverse(), ...this.items].slice(0, MAX_KEPT);
  }

  /** Forgets the reviews of a host that has started anew, if it has none yet. */
  forget() {
    if (this.isNew) this.items = [];
  }
}

/** @type {Reviews<Denial>} */
const denials = new Reviews();
/** @type {Reviews<Divergence>} */
const divergences = new Reviews();

/** @template {HTMLElement} T @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

/** @param {string} text */
const printable = (text) => text.replace(DECEPTIVE, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`);

/** @param {string | undefined} time RFC 3339 @returns {string} to the second */
const moment = (time) => (time ? time.replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC') : '');

/** @param {string | undefined} digest */
const short = (digest) => (digest ? digest.replace(/^(sha256:[0-9a-f]{12}).*/, '$1…') : '');

/** @param {number} count @param {string} noun */
const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** @param {number} count @returns {Cell} */
const number = (count) => ({ text: String(count), class: 'number' });

/** @param {string} id @param {string} text */
function say(id, text) {
  const element = byId(id);
  const shown = printable(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/**
 * Shows rows as a table. Rows and cells that have not changed are left alone. The first cell of a row is its header.
 *
 * @param {string} id of the place
 * @param {string} label
 * @param {string[]} columns
 * @param {Row[]} rows
 */
function table(id, label, columns, rows) {
  const place = byId(id);
  if (rows.length === 0) return place.replaceChildren();
  let body = place.querySelector('tbody');
  if (!body) {
    const head = document.createElement('tr');
    for (const column of columns) {
      const cell = document.createElement('th');
      cell.scope = 'col';
      cell.textContent = column;
      head.append(cell);
    }
    const made = document.createElement('table');
    made.createTHead().append(head);
    body = made.createTBody();
    const scroll = document.createElement('div');
    scroll.className = columns.length < 4 ? 'scroll narrow' : 'scroll';
    // What scrolls must be reachable by the keyboard.
    scroll.tabIndex = 0;
    scroll.setAttribute('role', 'group');
    scroll.setAttribute('aria-label', label);
    scroll.append(made);
    place.replaceChildren(scroll);
  }
  /** @type {Map<string, HTMLTableRowElement>} */
  const known = new Map();
  for (const row of body.rows) known.set(row.dataset.key ?? '', row);
  rows.forEach(({ key, cells }, index) => {
    const row = known.get(key) ?? document.createElement('tr');
    known.delete(key);
    row.dataset.key = key;
    cells.forEach((given, column) => {
      const { text, class: name = '', title = '' } = typeof given === 'string' ? { text: given } : given;
      let cell = row.cells[column];
      if (!cell) {
        cell = document.createElement(column === 0 ? 'th' : 'td');
        if (column === 0) cell.scope = 'row';
        row.append(cell);
      }
      const shown = printable(text);
      if (cell.textContent !== shown) cell.textContent = shown;
      if (cell.className !== name) cell.className = name;
      if (cell.title !== title) cell.title = printable(title);
    });
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  for (const gone of known.values()) gone.remove();
}

/** @param {State} now */
function showState(now) {
  byId('content').hidden = false;
  byId('playground').hidden = !now.playground;
  const replica = now.replica ? `${now.replica}: ` : '';
  say('host', `${replica}version ${now.version}; policies loaded ${moment(now.since)} (generation ${now.generation}, digest ${short(now.digest)})`);
  showPolicies(now);
  showCandidates(now);
  showDenialCounts(now);
  showReloads(now);
  showCertificates(now);
  showInventory(now);
  void showExposureSummary(now);
}

/** @param {State} now */
function showPolicies(now) {
  const broken = now.policies.filter(({ error }) => error).length;
  say('policies-summary', `${now.policies.length === 1 ? '1 policy' : `${now.policies.length} policies`}${broken ? `, ${broken} broken` : ''}. Counters since the start of this host.`);
  const rows = now.policies.map((policy) => {
    const counts = now.counts[policy.name] ?? { evaluations: 0, violating: 0, failed: 0, shortCircuited: false };
    const component = policy.component === policy.name ? '' : `${policy.component ?? policy.module} `;
    return {
      key: policy.name,
      cells: [
        policy.name,
        { text: policy.mode, class: policy.mode === 'Enforce' ? '' : 'odd' },
        policy.failurePolicy,
        policyState(policy, counts),
        number(counts.evaluations),
        number(counts.violating),
        { ...number(counts.failed), class: counts.failed ? 'number bad' : 'number' },
        { text: `${component}${policy.version ?? ''} ${short(policy.digest)}`, class: 'mono', title: `${policy.module} ${policy.digest ?? ''}` },
      ],
    };
  });
  table('policies-table', 'Policies', ['Policy', 'Mode', 'failurePolicy', 'State', 'Evaluations', 'With violations', 'Errors', 'Component'], rows);
}

/** @param {Policy} policy @param {Counts} counts @returns {Cell} */
function policyState(policy, counts) {
  if (policy.error) return { text: `broken: ${policy.error}`, class: 'bad' };
  if (counts.shortCircuited) return { text: 'not asked: it missed its deadline again and again', class: 'bad' };
  return { text: 'serves', class: 'good' };
}

/** @param {State} now */
function showCandidates(now) {
  const policies = now.policies.filter(({ candidate }) => candidate);
  say('candidates-summary', policies.length ? 'Reviews by what the candidate would have answered, since it became one.' : 'No policy has a candidate (spec.candidate).');
  const rows = policies.map(({ name, candidate }) => {
    const { changes, reviews, error, version, digest } = /** @type {Candidate} */ (candidate);
    const counts = RESULTS.map((result) => {
      const count = reviews[result] ?? 0;
      return { ...number(count), class: count && DIVERGING.includes(result) ? 'number odd' : 'number' };
    });
    const changed = error ? `broken: ${error}` : `${version ?? ''} ${short(digest)}\nchanges ${changes.join(' and ') || 'nothing'}`;
    return { key: name, cells: [name, { text: changed, class: error ? 'bad' : '', title: digest ?? '' }, ...counts] };
  });
  const columns = ['Policy', 'Candidate', 'Same', 'Stricter', 'Looser', 'Different', 'Errors', 'Skipped'];
  table('candidates-table', 'Candidates', columns, rows);
  const diverge = policies.some(({ candidate }) => DIVERGING.some((result) => candidate?.reviews[result]));
  if (!diverge) divergences.forget();
  showDivergences();
}

function showDivergences() {
  const rows = divergences.items.map(({ number, review }) => {
    const { policy, result, live, candidate } = review;
    const cells = [...wishCells(review), policy, { text: result, class: 'odd' }, live, candidate];
    return { key: String(number), cells };
  });
  const columns = ['Time', 'Service', 'Operation', 'User', 'Policy', 'Result', 'Live', 'Candidate'];
  table('divergences-table', 'Reviews on which a candidate diverges', columns, rows);
}

/** @param {State} now */
function showDenialCounts(now) {
  const { total, notShown } = now.denials;
  if (total === 0) {
    denials.forget();
    showDenials();
  }
  const missed = notShown ? `, of which ${notShown} came too fast to be shown` : '';
  say('denials-summary', total ? `${counted(total, 'denial')} since the start of this host${missed}. Annotations, labels and the names of users are hashed.` : 'None since the start of this host.');
}

/** @param {Wish} wish @returns {(Cell | string)[]} */
function wishCells({ time, namespace, name, operation, dryRun, user }) {
  return [{ text: moment(time), class: 'short' }, `${namespace ? `${namespace}/` : ''}${name}`, `${operation}${dryRun ? ' (dry run)' : ''}`, user];
}

function showDenials() {
  const words = filter('denials-filter');
  const rows = denials.items.map(({ number, review }) => {
    const { causes, moreCauses } = review;
    const why = causes.map(({ reason, field, message }) => `${reason}${!field || message.includes(field) ? '' : ` ${field}`}: ${message}`);
    if (moreCauses) why.push(`and ${moreCauses} more`);
    return { key: String(number), cells: [...wishCells(review), why.join('\n')] };
  });
  table('denials-table', 'Recent denials', ['Time', 'Service', 'Operation', 'User', 'Why'], rows.filter((row) => matches(row, words)));
}

/** @param {State} now */
function showReloads(now) {
  say('reloads-summary', now.reloads.length ? '' : 'None since the start of this host.');
  const rows = now.reloads.map((reload, index) => ({
    key: `${reload.at} ${index}`,
    cells: [
      { text: moment(reload.at), class: 'short' },
      number(reload.generation),
      reload.error ? { text: `failed: ${reload.error}`, class: 'bad' } : { text: 'serves', class: 'good' },
    ],
  }));
  table('reloads-table', 'Reloads', ['Time', 'Generation', 'Result'], rows.reverse());
}

/** @param {State} now */
function showCertificates({ certificate, registration }) {
  /** @type {[string, string, string?][]} */
  const lines = [];
  if (!certificate) {
    lines.push(['Certificate', 'none yet', 'bad']);
  } else {
    const { names, notBefore, notAfter, trouble, clientsUntil, lastReload, selfManaged } = certificate;
    lines.push(['Names', names.join(', ') || 'none yet', names.length ? '' : 'bad']);
    if (notAfter) lines.push(['Valid', `from ${moment(notBefore)} until ${moment(notAfter)}`, trouble ? '' : 'good']);
    if (trouble) lines.push(['Trouble', trouble, 'bad']);
    if (clientsUntil) lines.push(['Authority of clients', `until ${moment(clientsUntil)}`]);
    if (lastReload) {
      const { at, error } = lastReload;
      lines.push(['Last reload', `${moment(at)}${error ? `: failed, the one from before serves on: ${error}` : ''}`, error ? 'bad' : '']);
    }
    if (selfManaged) {
      lines.push(['Self-managed', `${selfManaged.leader ? 'leader' : 'follower'}: ${selfManaged.state}`]);
      if (selfManaged.authorityUntil) lines.push(['Own authority', `until ${moment(selfManaged.authorityUntil)}`]);
      for (const { reason, message } of selfManaged.troubles) lines.push(['Trouble', `${reason}: ${message}`, 'bad']);
    }
  }
  if (registration) {
    const { troubles, since } = registration;
    if (troubles.length === 0) lines.push(['Webhook configurations', `correct since ${moment(since)}`, 'good']);
    for (const trouble of troubles) lines.push(['Webhook configurations', `since ${moment(since)}: ${trouble}`, 'bad']);
  }
  const rows = lines.map(([name, text, mark], index) => ({ key: `${index} ${name}`, cells: [name, { text, class: mark ?? '' }] }));
  table('certificates-table', 'Certificates and registration', ['About', 'State'], rows);
}

/** @param {State} now */
function showInventory({ inventory = [] }) {
  say('inventory-summary', inventory.length ? '' : 'Nothing is watched: this host runs without --cluster, or no policy asks about the cluster.');
  const rows = inventory.map(({ kind, state, objects, since, contact, error }) => ({
    key: kind,
    cells: [
      kind,
      { text: `${state}${since ? ` since ${moment(since)}` : ''}${error ? `: ${error}` : ''}`, class: state === 'synced' ? 'good' : 'bad' },
      number(objects),
      { text: moment(contact), class: 'short' },
    ],
  }));
  table('inventory-table', 'Inventory', ['Kind', 'State', 'Objects', 'Last contact'], rows);
}

/** @param {State} now */
async function showExposureSummary({ exposures }) {
  if (exposures && exposures.revision !== revision && exposures.revision > 0) {
    revision = exposures.revision;
    try {
      const response = await ask('console/exposures', token);
      if (!response.ok) throw new Error(`status ${response.status}`);
      doors = (await response.json()) ?? undefined;
      choices();
    } catch {
      // The next state asks again.
      revision = 0;
    }
  }
  if (!exposures || exposures.revision === 0) [doors, revision] = [undefined, 0];
  byId('exposures-bar').hidden = !doors;
  if (!exposures) say('exposures-summary', 'This host does not look for exposures; start it with --audit-reports.');
  else if (exposures.holder) say('exposures-summary', `Another replica has these: ${exposures.holder}. Forward a port to that Pod.`);
  else if (!doors) say('exposures-summary', 'The host is looking for them for the first time.');
  showExposures();
}

/** Fills the lists of the filters with what there is. */
function choices() {
  const all = doors?.exposures ?? [];
  const sorted = (/** @type {string[]} */ values) => [...new Set(values)].sort();
  offer('exposures-namespace', sorted(all.map(({ service }) => service.split('/')[0])), {});
  offer('exposures-opens', Object.keys(OPENS).filter((word) => all.some(({ opens }) => opens === word)), OPENS);
  offer('exposures-kind', Object.keys(DOORS).filter((word) => all.some(({ kind }) => kind === word)), DOORS);
  offer('exposures-ruling', Object.keys(RULINGS).filter((word) => all.some((exposure) => ruling(exposure) === word)), RULINGS);
}

/** @param {string} id @param {string[]} values @param {Record<string, string>} words */
function offer(id, values, words) {
  /** @type {HTMLSelectElement} */
  const select = byId(id);
  const chosen = select.value;
  const option = (/** @type {string} */ value, /** @type {string} */ text) => new Option(printable(text), value, false, value === chosen);
  select.replaceChildren(option('', 'all'), ...values.map((value) => option(value, words[value] ?? value)));
}

/** @param {Exposure} exposure @returns {keyof typeof RULINGS} */
function ruling({ policy }) {
  if (policy.exempt) return 'exempt';
  if (policy.refusedBy?.length) return 'refused';
  if (policy.unjudged) return 'unjudged';
  return policy.allowedBy.length ? 'allowed' : 'unasked';
}

/** @param {Exposure} exposure @returns {Cell} */
function rulingCell(exposure) {
  const { policy } = exposure;
  const kind = ruling(exposure);
  if (kind === 'exempt') return { text: `exempt: ${policy.exempt}`, class: 'odd' };
  if (kind === 'refused') {
    const refusals = policy.refusedBy ?? [];
    const by = new Set(refusals.map(({ policy, rule }) => `${policy || 'sallyport'} ${rule}`.trim()));
    const isKept = refusals.every(({ keptOnUpdate }) => keptOnUpdate);
    return { text: `refused by ${[...by].sort().join(', ')}${isKept ? ' (an update may keep it)' : ''}`, class: 'bad' };
  }
  return { text: kind === 'allowed' ? `allowed by ${policy.allowedBy.join(', ')}` : RULINGS[kind] };
}

function showExposures() {
  const all = doors?.exposures ?? [];
  const words = filter('exposures-filter');
  const chosen = (/** @type {string} */ name) => /** @type {HTMLSelectElement} */ (byId(`exposures-${name}`)).value;
  const [namespace, opens, kind, policies] = ['namespace', 'opens', 'kind', 'ruling'].map(chosen);
  const rows = all
    .filter(
      (exposure) =>
        (!namespace || exposure.service.startsWith(`${namespace}/`)) &&
        (!opens || exposure.opens === opens) &&
        (!kind || exposure.kind === kind) &&
        (!policies || ruling(exposure) === policies),
    )
    .map((exposure, index) => {
      const { service, ports, address, writtenBy, allocated, field, reason } = exposure;
      const isWide = exposure.opens === 'public' || exposure.opens === 'perhapsPublic';
      const writer = writtenBy ? `${writtenBy.manager}\n${moment(writtenBy.time)}${allocated ? '\nport allocated' : ''}` : '';
      return {
        key: `${service} ${exposure.kind} ${address} ${ports.join()} ${index}`,
        cells: [
          service,
          { text: word(OPENS, exposure.opens), class: isWide ? 'bad' : '' },
          word(DOORS, exposure.kind),
          ports.join(', '),
          address,
          rulingCell(exposure),
          writer,
          `${field}: ${reason}`,
        ],
      };
    })
    .filter((row) => matches(row, words));
  if (doors) {
    const { services, time, complete, leftOut } = doors;
    const gaps = `${complete ? '' : ' Some Services could not be read or judged.'}${leftOut ? ` ${leftOut} more, which let fewer clients in, are not listed.` : ''}`;
    say('exposures-summary', `${rows.length} of ${all.length} ways in are shown, those of ${counted(services, 'Service')}, as of ${moment(time)}.${gaps}`);
  }
  const shown = showsAll ? rows : rows.slice(0, FEW_ROWS);
  byId('exposures-more').hidden = shown.length === rows.length;
  const columns = ['Service', 'Opens to', 'By', 'Ports', 'Address', 'Policies', 'Written by', 'Why'];
  table('exposures-table', 'Exposures', columns, shown);
}

/** @param {Record<string, string>} words @param {string} name */
const word = (words, name) => words[name] ?? name;

/** @param {string} id @returns {string[]} the words that a row must have */
const filter = (id) => /** @type {HTMLInputElement} */ (byId(id)).value.toLowerCase().split(/\s+/).filter(Boolean);

/** @param {Row} row @param {string[]} words */
function matches({ cells }, words) {
  if (words.length === 0) return true;
  const text = cells.map((cell) => (typeof cell === 'string' ? cell : cell.text)).join('\n').toLowerCase();
  return words.every((word) => text.includes(word));
}

for (const name of ['filter', 'namespace', 'opens', 'kind', 'ruling']) byId(`exposures-${name}`).addEventListener('input', showExposures);
byId('denials-filter').addEventListener('input', showDenials);
byId('exposures-more').addEventListener('click', () => {
  showsAll = true;
  showExposures();
});
byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  /** @type {HTMLInputElement} */
  const field = byId('token');
  token = field.value.trim();
  field.value = '';
  byId('login').hidden = true;
  say('connection', 'Connecting.');
  loggedIn?.();
});

void follow(
  () => token,
  ({ event, data }) => {
    if (event === 'state') showState(JSON.parse(data));
    if (event === 'denials') {
      denials.add(JSON.parse(data));
      showDenials();
    }
    if (event === 'divergences') {
      divergences.add(JSON.parse(data));
      showDivergences();
    }
  },
  (connection) => {
    byId('login').hidden = connection.kind !== 'token';
    const element = byId('connection');
    element.className = connection.kind === 'open' ? 'good' : 'bad';
    if (connection.kind === 'open') {
      denials.isNew = true;
      divergences.isNew = true;
      say('connection', 'Live.');
    }
    if (connection.kind === 'lost') say('connection', `No connection to the host, trying again; this is what was known last. (${connection.why})`);
    if (connection.kind === 'token') say('connection', token ? `The token is refused: ${connection.why}` : 'This console needs a bearer token.');
  },
  () => new Promise((done) => { loggedIn = () => done(undefined); }),
);
