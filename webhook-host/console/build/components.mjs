// Transpiles the engine and every shipped policy with jco, and writes what the page loads:
//
//   target/console-build/public/policies.wasm   the policies, byte for byte as a cluster runs them, nested in one component: they share
//                                               half of their code, which compresses only within one file
//   target/console-build/public/engine.wasm     the engine, a component too
//   target/console-build/public/glue.json       jco's JavaScript for all of them (src/worker/glue.ts)
//   target/console-build/public/presets.json    manifests of the presets, HostConfigs, JSON Schemas
//
// jco cuts a component's core modules out as they are, so the page cuts them out again by offset and length, and what runs is the
// very file that enforces. This script fails where a core module is not a part of the component. The JavaScript of all policies is
// almost equal, line by line: each line is stored once.

import { $init, generate } from '@bytecodealliance/jco-transpile/component';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const out = join(root, 'target/console-build/public');
const policies = join(root, 'target/policies');
// A component with nothing in it, and the id of the section that nests another one.
const EMPTY = Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]);
const NESTED = 4;

const lines = new Map();
const components = {};

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await $init;
addEngine(process.argv[2]);
addPolicies(readdirSync(policies).filter((name) => name.endsWith('.wasm')).sort());
writeFileSync(join(out, 'glue.json'), JSON.stringify({ lines: [...lines.keys()].join('\n'), components }));
writeFileSync(join(out, 'presets.json'), JSON.stringify(presets()));

function addEngine(path) {
  const engine = readFileSync(path);
  add('engine.wasm', engine, 'engine.wasm', 0);
  writeFileSync(join(out, 'engine.wasm'), engine);
}

function addPolicies(names) {
  const parts = [EMPTY];
  let length = EMPTY.length;
  for (const name of names) {
    const component = readFileSync(join(policies, name));
    const head = Buffer.from([NESTED, ...leb(component.length)]);
    add(name, component, 'policies.wasm', length + head.length);
    parts.push(head, component);
    length += head.length + component.length;
  }
  writeFileSync(join(out, 'policies.wasm'), Buffer.concat(parts));
}

// Adds what the page needs to instantiate a component that lies in a file at an offset.
function add(name, component, within, offset) {
  const { files } = generate(component, { name: 'policy', instantiation: { tag: 'sync' }, noTypescript: true, noNodejsCompat: true });
  const cores = {};
  let text;
  for (const [file, data] of files) {
    if (file.endsWith('.js')) {
      text = new TextDecoder().decode(data);
      continue;
    }
    const at = component.indexOf(data);
    if (at < 0) throw new Error(`${name}: jco changed the core module ${file}, so the page would not run the very file`);
    cores[file] = [at, data.length];
  }
  components[name] = { within, place: [offset, component.length], cores, runs: runs(text) };
}

// An unsigned LEB128 number.
function leb(value) {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
}

// Indexes of a text's lines as [first, count], …
function runs(text) {
  const found = [];
  for (const line of text.split('\n').map((line) => line.trimStart())) {
    const index = lines.get(line) ?? lines.size;
    lines.set(line, index);
    const last = found.at(-1);
    if (last && last[0] + last[1] === index) last[1] += 1;
    else found.push([index, 1]);
  }
  return found;
}

function presets() {
  const text = (path) => readFileSync(join(root, path), 'utf8');
  const names = ['baseline', 'restricted', 'bare-metal', 'cloud'];
  const all = readdirSync(policies).filter((name) => name.endsWith('.yaml')).sort();
  return {
    presets: {
      ...Object.fromEntries(names.map((name) => [name, text(`policies/presets/${name}/policies.yaml`)])),
      'all policies': '# Every shipped policy, with the manifest that stands beside it.\n---\n' + all.map((name) => readFileSync(join(policies, name), 'utf8').trim()).join('\n---\n') + '\n',
    },
    config: text('webhook-host/src/sources/default-config.yaml'),
    schemas: Object.fromEntries(['service-policy', 'host-config'].map((name) => [name, JSON.parse(text(`docs/schemas/${name}.json`))])),
  };
}
