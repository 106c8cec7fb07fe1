// Tests the live console in Chromium against a running host: the program of `make test` with the shipped policies.
//
//   node test/live.mjs [FILTER]
//
// SALLYPORT_CHROMIUM names the program. With SALLYPORT_SCREENSHOTS=1 the pictures of docs/console.md are taken anew.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';

const root = resolve(import.meta.dirname, '../../..');
const filter = process.argv[2] ?? '';
// A busy machine takes several times as long as an idle one.
const PATIENCE = 20_000;

const browser = await chromium.launch({ executablePath: process.env.SALLYPORT_CHROMIUM, args: ['--no-sandbox'] });
const tests = [];
const test = (name, run, options) => tests.push({ name, run, options });

/** A host with policies of its own, so that a test may change them. */
class Host {
  static async start(console = '127.0.0.1:0', more = []) {
    const host = new Host();
    host.files = mkdtempSync(join(tmpdir(), 'sallyport-live-'));
    host.policies = join(host.files, 'policies');
    const shipped = join(root, 'target/policies');
    cpSync(shipped, host.policies, { recursive: true, filter: (path) => path === shipped || /\.(yaml|wasm)$/.test(path) });
    const program = join(root, 'target/debug/sallyport-tested');
    const flags = ['serve', '--policies', host.policies, '--self-signed', '--ca-out', join(host.files, 'ca.crt'), '--watch-interval', '200ms'];
    const addresses = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0', '--console', console];
    host.child = spawn(program, [...flags, ...addresses, ...more], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOSTNAME: 'sallyport-5d8f7c6b9-x2x7k' } });
    let log = '';
    host.child.stderr.on('data', (data) => { log += data; });
    const logged = async (words) => {
      for (let wait = 0; wait < 600; wait++) {
        const found = new RegExp(`${words}(\\S+)`).exec(log);
        if (found) return found[1];
        assert.equal(host.child.exitCode, null, log);
        await new Promise((done) => setTimeout(done, 100));
      }
      throw new Error(`not logged: ${words}\n${log}`);
    };
    host.webhook = await logged('serving on https://');
    host.console = await logged('console on http://');
    host.url = `http://${host.console}/`;
    return host;
  }

  /** Sends a review of a Service, as an API server does. */
  review(object, user = 'jane@example.com') {
    const group = { group: '', version: 'v1' };
    const { name, namespace } = object.metadata;
    const review = {
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      request: {
        uid: '1', operation: 'CREATE', name, namespace, object, userInfo: { username: user },
        kind: { ...group, kind: 'Service' }, resource: { ...group, resource: 'services' },
      },
    };
    const [host, port] = this.webhook.split(':');
    const options = { host, port, path: '/validate', method: 'POST', rejectUnauthorized: false, headers: { 'content-type': 'application/json' } };
    return new Promise((done, failed) => {
      const sent = request(options, (response) => {
        let text = '';
        response.on('data', (data) => { text += data; });
        response.on('end', () => done(JSON.parse(text).response));
      });
      sent.on('error', failed);
      sent.end(JSON.stringify(review));
    });
  }

  async end() {
    if (this.child.exitCode === null) {
      const gone = new Promise((done) => this.child.once('exit', done));
      this.child.kill('SIGINT');
      await gone;
    }
    rmSync(this.files, { recursive: true, force: true });
  }
}

const service = (name, spec, annotations = {}) => ({
  apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop', annotations },
  spec: { selector: { app: name }, ports: [{ port: 80, ...(spec.nodePort ? { nodePort: spec.nodePort } : {}) }], type: spec.type },
});

test('the policies are seen with mode, state and counters', async (page) => {
  await has(page, '#connection', 'Live.');
  await has(page, '#host', 'sallyport-5d8f7c6b9-x2x7k');
  const row = page.locator('#policies-table tr', { hasText: 'service-type' }).first();
  await row.getByText('serves').waitFor();
  await has(page, '#certificates-table', 'localhost');
  await has(page, '#inventory-summary', '--cluster');
  await has(page, '#exposures-summary', '--audit-reports');
  await has(page, '#denials-summary', 'None since');
});

test('a denied review and its counters appear without a reload, as text', async (page, host) => {
  await has(page, '#denials-summary', 'None since');
  const named = service('web', { type: 'NodePort', nodePort: 29999 }, { note: '<img src=x onerror=alert(1)>' });
  assert.equal((await host.review(named)).allowed, false);
  await has(page, '#denials-table', 'shop/web');
  await has(page, '#denials-table', 'spec.ports[0].nodePort');
  await has(page, '#denials-table', 'hashed-');
  await has(page, '#denials-summary', '1 denial since');
  const counted = page.locator('#policies-table tr', { hasText: 'nodeport-range' }).first().locator('td.number').first();
  await page.waitForFunction((cell) => cell.textContent === '1', await counted.elementHandle());
  assert.equal(await page.locator('img').count(), 0);
  // Rows that stay are not made anew: what a user has marked stays marked.
  await page.evaluate(() => { document.querySelector('#denials-table tbody tr').dataset.mark = 'kept'; });
  await host.review(service('second', { type: 'NodePort', nodePort: 29998 }));
  await has(page, '#denials-table', 'shop/second');
  assert.equal(await page.locator('#denials-table tr[data-mark=kept]').count(), 1);
  await page.fill('#denials-filter', 'second');
  assert.equal(await page.locator('#denials-table tbody tr').count(), 1);
});

test('a reload, a broken policy and a candidate are shown when they happen', async (page, host) => {
  await has(page, '#connection', 'Live.');
  const range = (spec) => JSON.stringify({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'ServicePolicy', metadata: { name: 'second-range' }, spec });
  const module = { file: 'nodeport_range.wasm' };
  const added = join(host.policies, 'zz.yaml');
  writeFileSync(added, range({ module, mode: 'Audit', candidate: { settings: { ranges: [{ from: 30100, to: 30199 }] } } }));
  await has(page, '#policies-table', 'second-range');
  await has(page, '#candidates-table', 'changes settings');
  await has(page, '#reloads-table', 'serves');
  await host.review(service('web', { type: 'NodePort', nodePort: 30080 }));
  const stricter = page.locator('#candidates-table tbody tr td').nth(2);
  await page.waitForFunction((cell) => cell.textContent === '1', await stricter.elementHandle());
  await has(page, '#divergences-table', 'shop/web');
  await has(page, '#divergences-table', 'stricter');
  writeFileSync(added, range({ module, mode: 'Enforced' }));
  await has(page, '#reloads-table', 'failed:');
  await has(page, '#host', 'generation 2');
});

test('when the host goes away the page says so, keeps what it knew, and comes back', async (page, host) => {
  await has(page, '#connection', 'Live.');
  await host.review(service('web', { type: 'NodePort', nodePort: 29999 }));
  await has(page, '#denials-table', 'shop/web');
  await host.end();
  await has(page, '#connection', 'No connection to the host, trying again');
  await has(page, '#denials-table', 'shop/web');
  const next = await Host.start(host.console);
  try {
    await has(page, '#connection', 'Live.');
    await has(page, '#denials-summary', 'None since');
    assert.equal(await page.locator('#denials-table tr').count(), 0);
  } finally {
    await next.end();
  }
}, { violations: true });

test('exposures can be filtered, and hostile names stay text', async (page) => {
  // The map comes from a cluster's audit (tests/tests/cluster): here it is of that form, so that the page can be tried without one.
  const door = (service, opens, kind, policy) => ({ service, opens, kind, ports: ['TCP 80'], address: '', reason: 'r', field: 'spec.type', policy });
  const many = Array.from({ length: 500 }, (_, index) => door(`many/w${index}`, 'nodes', 'nodePort', { allowedBy: ['service-type'] }));
  const exposures = [
    door('shop/<b>web</b>', 'perhapsPublic', 'loadBalancer', { refusedBy: [{ policy: 'service-type', rule: 'S01', keptOnUpdate: true }], allowedBy: [] }),
    door('shop/ip', 'externalIp', 'externalIp', { exempt: 'namespace', allowedBy: [] }),
    ...many,
  ];
  const doors = { time: '2026-01-01T00:00:00Z', services: 600, complete: true, leftOut: 0, exposures };
  await page.route('**/console/exposures', (route) => route.fulfill({ json: doors }));
  await page.route('**/console/events', async (route) => {
    const state = await (await fetch(new URL('console/state', page.url()))).json();
    state.exposures = { revision: 1, at: doors.time };
    await route.fulfill({ contentType: 'text/event-stream', body: `event: state\ndata: ${JSON.stringify(state)}\n\n` });
  });
  await page.reload();
  await has(page, '#exposures-summary', '502 of 502 ways in are shown, those of 600 Services');
  assert.equal(await page.locator('#exposures-table tbody tr').count(), 200);
  await has(page, '#exposures-table', '<b>web</b>');
  await page.selectOption('#exposures-namespace', 'shop');
  assert.equal(await page.locator('#exposures-table tbody tr').count(), 2);
  await page.selectOption('#exposures-ruling', 'refused');
  await has(page, '#exposures-table', 'refused by service-type S01 (an update may keep it)');
  assert.equal(await page.locator('#exposures-table tbody tr').count(), 1);
  await page.selectOption('#exposures-namespace', '');
  await page.selectOption('#exposures-ruling', '');
  await page.fill('#exposures-filter', 'many w49');
  assert.equal(await page.locator('#exposures-table tbody tr').count(), 11);
  await page.fill('#exposures-filter', '');
  await page.click('#exposures-more');
  assert.equal(await page.locator('#exposures-table tbody tr').count(), 502);
});

test('the playground that is part of the program judges a Service', async (page, host) => {
  await page.getByRole('link', { name: 'Playground' }).click();
  await judged(page);
  // The second time the browser has all files, and asks if they are the newest.
  const answers = [];
  page.on('response', (response) => answers.push(response));
  await page.goto(`${host.url}playground/`);
  await judged(page);
  const statuses = answers.filter((it) => it.url().startsWith(`${host.url}playground/`)).map((it) => it.status());
  assert.ok(statuses.length > 5 && statuses.every((status) => status === 200 || status === 304), statuses.join());
  const fetched = await page.evaluate(async () => {
    const response = await fetch('engine.wasm', { cache: 'no-store' });
    return { coding: response.headers.get('content-encoding'), policy: response.headers.get('content-security-policy'), bytes: (await response.arrayBuffer()).byteLength };
  });
  assert.equal(fetched.coding, 'br');
  assert.match(fetched.policy, /default-src 'none'/);
  assert.equal(fetched.bytes, statSync(join(root, 'target/console/engine.wasm')).size);
});

test('the playground of the program says where policies of one’s own can be tried', async (page, host) => {
  await page.goto(`${host.url}playground/`);
  await judged(page);
  await page.setInputFiles('#own', join(root, 'target/guests/owner_label.wasm'));
  await has(page, '#status', 'start the host with --console-files target/console');
  await judged(page);
}, { violations: true });

test('a folder of the playground is served in its place, with the transpiler', async (page) => {
  const host = await Host.start('127.0.0.1:0', ['--console-files', join(root, 'target/console')]);
  try {
    await page.goto(`${host.url}playground/`);
    await judged(page);
    await page.setInputFiles('#own', join(root, 'target/guests/owner_label.wasm'));
    await has(page, '#status', 'owner_label.wasm was added');
  } finally {
    await host.end();
  }
}, { elsewhere: true });

// Waits for the verdict on the playground's first example.
async function judged(page) {
  await has(page, '.service h2', 'shop/web: denied');
  await has(page, '.findings', 'NodePort is not allowed in namespace "shop"');
}

test('without a token that counts, the page asks for one', async (page) => {
  await page.route('**/console/*', async (route) => {
    const given = await route.request().headerValue('authorization');
    if (given === 'Bearer good') return route.continue();
    await route.fulfill({ status: given ? 403 : 401, body: given ? 'user "jane" may not get it' : 'a bearer token is needed' });
  });
  await page.reload();
  await has(page, '#connection', 'needs a bearer token');
  await page.fill('#token', 'bad');
  await page.keyboard.press('Enter');
  await has(page, '#connection', 'user "jane" may not get it');
  await page.fill('#token', 'good');
  await page.keyboard.press('Enter');
  await has(page, '#connection', 'Live.');
  assert.equal(await page.locator('#login').isVisible(), false);
  assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, '']);
}, { violations: true });

test('axe finds nothing, in light and dark, on a desk and on a phone', async (page, host) => {
  await host.review(service('web', { type: 'NodePort', nodePort: 29999 }));
  await has(page, '#denials-table', 'shop/web');
  const axe = readFileSync(join(root, 'target/console-npm/node_modules/axe-core/axe.min.js'), 'utf8');
  for (const scheme of ['light', 'dark']) {
    for (const width of [1280, 390]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height: 844 });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => axe.run(document));
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), [], `${scheme}, ${width} px`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${wide} px wider than a screen of ${width} px`);
    }
  }
}, { bypassCSP: true });

test('the keyboard reaches everything', async (page, host) => {
  await host.review(service('web', { type: 'NodePort', nodePort: 29999 }));
  await has(page, '#denials-table', 'shop/web');
  const reached = new Set();
  for (let step = 0; step < 30; step++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent));
  }
  for (const name of ['Policies', 'Recent denials', 'denials-filter', 'Certificates and registration']) {
    assert.ok(reached.has(name), `Tab does not reach ${name}: ${[...reached].join(', ')}`);
  }
});

test('another page can neither read nor embed the console', async (page, host) => {
  const context = page.context();
  const other = await context.newPage();
  await other.route('http://evil.example.com/', (route) => route.fulfill({ contentType: 'text/html', body: '<p>evil</p>' }));
  await other.goto('http://evil.example.com/');
  const tried = await other.evaluate(async (url) => {
    const out = [];
    for (const mode of ['cors', 'no-cors']) {
      out.push(await fetch(`${url}console/state`, { mode }).then(() => 'read', () => 'refused'));
    }
    const frame = document.createElement('iframe');
    frame.src = url;
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; });
    out.push(frame.contentDocument === null ? 'no access' : 'access');
    return out;
  }, host.url);
  assert.deepEqual(tried, ['refused', 'refused', 'no access']);
}, { violations: true });

if (process.env.SALLYPORT_SCREENSHOTS) {
  test('pictures for the documentation', async (page, host) => {
    await host.review(service('web', { type: 'ClusterIP' }));
    await host.review(service('web', { type: 'NodePort', nodePort: 29999 }));
    await has(page, '#denials-table', 'shop/web');
    const counted = page.locator('#policies-table tr', { hasText: 'nodeport-range' }).first().locator('td.number').first();
    await page.waitForFunction((cell) => cell.textContent === '1', await counted.elementHandle());
    for (const [name, width, height, scheme] of [['desk', 1200, 1060, 'light'], ['phone', 390, 844, 'dark']]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height });
      await page.screenshot({ path: join(root, `docs/console-${name}.png`) });
    }
  });
}

let failed = 0;
for (const { name, run, options } of tests.filter(({ name }) => name.includes(filter))) {
  const began = Date.now();
  const host = await Host.start();
  const context = await browser.newContext({ bypassCSP: options?.bypassCSP ?? false });
  const page = await context.newPage();
  const faults = [];
  page.setDefaultTimeout(PATIENCE);
  page.on('pageerror', (error) => faults.push(`an error: ${error.message}`));
  page.on('console', (message) => message.type() === 'error' && !options?.violations && faults.push(`on the console: ${message.text()}`));
  const isOwn = (url) => url.startsWith(options?.elsewhere ? 'http://127.0.0.1:' : host.url) || /^(blob|data):/.test(url);
  page.on('request', (request) => !isOwn(request.url()) && faults.push(`a request to ${request.url()}`));
  try {
    await page.goto(host.url);
    await Promise.race([run(page, host), late()]);
    assert.deepEqual(faults, []);
    console.log(`ok      ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack ?? error}\n  faults: ${faults.join('; ')}\n  status: ${await page.locator('#connection').textContent().catch(() => '')}`);
  }
  await context.close();
  await host.end();
}
await browser.close();
if (failed) {
  console.error(`live console: ${failed} tests failed`);
  process.exit(1);
}

function late() {
  return new Promise((_, reject) => setTimeout(() => reject(new Error('not done within 2 minutes')), 120_000).unref());
}

// Waits until some element has the text.
async function has(page, selector, text) {
  await page.waitForFunction(
    ([selector, text]) => [...document.querySelectorAll(selector)].some((it) => it.textContent.includes(text)),
    [selector, text],
  ).catch(async () => {
    const found = await page.locator(selector).allTextContents();
    throw new Error(`${selector} has not ${JSON.stringify(text)}, but: ${found.join(' | ').slice(0, 1500)}`);
  });
}
