// Transpiles the engine and every shipped policy with jco, and writes what the page loads:
//
//   target/console-build/public/policies.wasm   the policies, byte for byte as a cluster runs them, nested in one component: they share
//                                               half of their code, which compresses only within one file
//   target/console-build/public/engine.wasm     the engine's core modules, optimised for size, nested in one component
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
import { optimized } from './optimized.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const out = join(root, 'target/console-build/public');
const policies = join(root, 'target/policies');
// Ids of sections of a component.
const CORE_MODULE = 1;
const COMPONENT = 4;

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
  const { text, modules } = transpiled(readFileSync(path));
  const nested = nest(CORE_MODULE, modules.map(([, module]) => optimized(module, join(root, 'target/console-build'))));
  const cores = Object.fromEntries(modules.map(([name], index) => [name, nested.places[index]]));
  components['engine.wasm'] = { within: 'engine.wasm', place: [0, nested.bytes.length], cores, runs: runs(text) };
  writeFileSync(join(out, 'engine.wasm'), nested.bytes);
}

function addPolicies(names) {
  const files = names.map((name) => readFileSync(join(policies, name)));
  const nested = nest(COMPONENT, files);
  names.forEach((name, index) => {
    const { text, modules } = transpiled(files[index]);
    const cores = Object.fromEntries(
      modules.map(([core, module]) => {
        const at = files[index].indexOf(module);
        if (at < 0) throw new Error(`${name}: jco changed the core module ${core}, so the page would not run the very file`);
        return [core, [at, module.length]];
      }),
    );
    components[name] = { within: 'policies.wasm', place: nested.places[index], cores, runs: runs(text) };
  });
  writeFileSync(join(out, 'policies.wasm'), nested.bytes);
}

function transpiled(component) {
  const { files } = generate(component, { name: 'policy', instantiation: { tag: 'sync' }, noTypescript: true, noNodejsCompat: true });
  const [, text] = files.find(([file]) => file.endsWith('.js'));
  return { text: new TextDecoder().decode(text), modules: files.filter(([file]) => file.endsWith('.wasm')) };
}

// Returns a component that has nothing but these modules or components in it, and the place of each: its offset and length.
function nest(section, contents) {
  const parts = [Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0])];
  let length = parts[0].length;
  const places = contents.map((content) => {
    const head = Buffer.from([section, ...leb(content.length)]);
    parts.push(head, content);
    length += head.length + content.length;
    return [length - content.length, content.length];
  });
  return { bytes: Buffer.concat(parts), places };
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
