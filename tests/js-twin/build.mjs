// Builds ../../target/js/service_type.wasm from service_type.js.
//
// The contract lies in policy-wasm/wit and the policy's own world in policies/service-type/policy.wit, for the Rust
// component and for this one alike; componentize-qjs wants them in one folder, so they are copied into target/js/wit.
// The host refuses a component that can reach more than the log, so nothing is checked here.

import { componentize } from 'componentize-qjs';
import { copyFile, cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const out = new URL('target/js/', root);
const wit = new URL('wit/', out);
const source = new URL('service_type.js', import.meta.url);

await collectWit();
await place(await build());

async function collectWit() {
  await rm(wit, { recursive: true, force: true });
  await mkdir(new URL('deps/', wit), { recursive: true });
  await copyFile(new URL('policies/service-type/policy.wit', root), new URL('policy.wit', wit));
  await cp(new URL('policy-wasm/wit/', root), new URL('deps/policy/', wit), { recursive: true });
}

async function build() {
  const { component } = await componentize({
    witPath: fileURLToPath(wit),
    jsSource: await readFile(source, 'utf8'),
    world: 'service-type',
    // The contract's functions are plain ones, and a policy with WASI imports is refused.
    sync: true,
    stubWasi: true,
  });
  return component;
}

/** By way of a new name: a running host never reads half a file. */
async function place(component) {
  const target = new URL('service_type.wasm', out);
  await writeFile(new URL('service_type.wasm.new', out), component);
  await rename(new URL('service_type.wasm.new', out), target);
  await copyFile(new URL('policy.yaml', import.meta.url), new URL('service-type.yaml', out));
  const megabytes = (component.length / 1e6).toFixed(1);
  console.error(`sallyport: target/js/service_type.wasm: ${megabytes} MB by componentize-qjs`);
}
