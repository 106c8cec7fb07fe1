// Runs every case of tests/fixtures through the page's worker code and engine, in Node, and compares the answers with the host's own,
// byte for byte (target/console-build/native.json, which tests/tests/console.rs writes): responses with messages, patches and warnings,
// and the violations, kept violations, patches, logs and errors of each policy.

import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { call, start } from '../../../target/console-build/worker/module.mjs';

const root = resolve(import.meta.dirname, '../../..');
const build = join(root, 'target/console-build');

// Cases whose expectation is a limit that a browser can't keep: time and memory of one evaluation. None at present: the guests that
// break limits are tested in Rust, and in the page by test/browser.mjs.
const LIMITED = [];
const LIMITS = ['deadline', 'request-deadline', 'memory', 'busy', 'short-circuit'];

const parts = { glue: json('public/glue.json'), files: {}, own: {} };
for (const file of ['engine.wasm', 'policies.wasm']) parts.files[file] = bytes(`public/${file}`);
const began = performance.now();
const engine = await start(parts, (text) => import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`));
const started = performance.now();

const files = {};
for (const directory of ['tests', 'policies', 'docs']) collect(join(root, directory));

let compared = 0;
const different = [];
for (const { suite, cases } of json('native.json')) {
  const limited = cases.filter(isLimited).map((it) => it.case);
  const unlisted = limited.filter((name) => !LIMITED.includes(name));
  if (unlisted.length) fail(`these cases are about a limit; list them in LIMITED: ${unlisted.join(', ')}`);
  const expected = cases.filter((it) => !limited.includes(it.case));
  const result = call(engine, 'answers', JSON.stringify({ files, suite, skipped: limited }));
  if ('error' in result) fail(`${suite}: ${result.error}`);
  const found = JSON.parse(result.ok);
  if (found.length !== expected.length) fail(`${suite}: ${found.length} answers, and the host gave ${expected.length}`);
  found.forEach((answer, index) => {
    compared += 1;
    const [browser, host] = [answer, expected[index]].map((it) => JSON.stringify(it, null, 1));
    if (browser !== host) different.push({ name: answer.case, browser, host });
  });
}

for (const { name, browser, host } of different.slice(0, 3)) console.error(`${name}\n--- host\n${host}\n--- browser\n${browser}\n`);
if (different.length) fail(`${different.length} of ${compared} answers differ: ${different.slice(0, 20).map((it) => it.name).join('; ')}`);
if (compared < 1000) fail(`only ${compared} cases were compared`);
const ms = (from, to) => Math.round(to - from);
console.log(`identity: ${compared} cases, equal answers; start ${ms(began, started)} ms, cases ${ms(started, performance.now())} ms`);

function isLimited({ answer }) {
  return (answer.evaluations ?? []).some(({ error }) => error && LIMITS.includes(error[0]));
}

function collect(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory() && entry.name !== 'target' && entry.name !== 'schemas') collect(path);
    else if (/\.(ya?ml|json)$/.test(entry.name)) files[relative(root, path)] = readFileSync(path, 'utf8');
  }
}

function bytes(path) {
  return new Uint8Array(readFileSync(join(build, path)));
}

function json(path) {
  return JSON.parse(readFileSync(join(build, path), 'utf8'));
}

function fail(problem) {
  console.error(`identity: ${problem}`);
  process.exit(1);
}
