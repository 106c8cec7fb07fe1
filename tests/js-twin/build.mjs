// Builds ../../target/js/service_type.wasm from service_type.js and proves that it can reach nothing.
//
// The contract lies in policy-wasm/wit and the policy's own world in policies/service-type/policy.wit, for the Rust
// component and for this one alike; componentize-js wants them in one folder, so they are copied into target/js/wit.

import { componentize, version } from '@bytecodealliance/componentize-js';
import { componentWit } from '@bytecodealliance/jco';
import { copyFile, cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const out = new URL('target/js/', root);
const wit = new URL('wit/', out);

/** The only interface with a function that a policy may import. */
const WRITE_ONLY = 'log';

await collectWit();
const component = await build();
await proveThatItReachesNothing(component);
await place(component);

async function collectWit() {
  await rm(wit, { recursive: true, force: true });
  await mkdir(new URL('deps/', wit), { recursive: true });
  await copyFile(new URL('policies/service-type/policy.wit', root), new URL('policy.wit', wit));
  await cp(new URL('policy-wasm/wit/', root), new URL('deps/policy/', wit), { recursive: true });
}

async function build() {
  const { component } = await componentize({
    sourcePath: fileURLToPath(new URL('service_type.js', import.meta.url)),
    witPath: fileURLToPath(wit),
    worldName: 'service-type',
    // What is enabled becomes an import, and a policy with imports is refused.
    disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
  });
  return component;
}

/** Every import is one of the contract's interfaces, and but for the log each of those holds types only. */
async function proveThatItReachesNothing(component) {
  const world = await componentWit(component);
  for (const [line, what] of world.matchAll(/^ *import (.*);$/gm)) {
    const [, name] = what.match(/^sallyport:policy\/([a-z-]+)@[\d.]+$/) ?? [];
    if (!name || (name !== WRITE_ONLY && (await holdsFunction(name)))) {
      throw new Error(`a policy must not have this import: ${line.trim()}\n\n${world}`);
    }
  }
}

async function holdsFunction(name) {
  const text = await readFile(new URL(`policy-wasm/wit/${name}.wit`, root), 'utf8');
  return /^ *[a-z%-]+: *(async +)?func\b/m.test(text);
}

/** By way of a new name: a running host never reads half a file. */
async function place(component) {
  const target = new URL('service_type.wasm', out);
  await writeFile(new URL('service_type.wasm.new', out), component);
  await rename(new URL('service_type.wasm.new', out), target);
  await copyFile(new URL('policy.yaml', import.meta.url), new URL('service-type.yaml', out));
  const megabytes = (component.length / 1e6).toFixed(1);
  console.error(`sallyport: target/js/service_type.wasm: ${megabytes} MB by componentize-js ${version}, imports no function but the log`);
}
