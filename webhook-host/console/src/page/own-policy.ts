// A policy of the user's own: its file is read and transpiled here, and runs in the sandbox alone.

import type { Parts } from '../worker/engine';
import { printable } from './dom';
import type { Transpiled } from './transpiler';
import transpiler from './transpiler?worker&url';

/** Bytes of a component. */
const MAX_COMPONENT = 16 << 20;
/** Milliseconds to transpile it. */
const MAX_TRANSPILE = 30_000;

/** Returns what the sandbox needs to run a file. Throws an error where it can't be taken; the engine says later if it is a policy. */
export async function ownPolicy(file: File): Promise<Parts['own'][string]> {
  if (!/^[\w.-]{1,80}\.wasm$/.test(file.name)) throw new Error(`${printable(file.name)}: the name must end in .wasm, and have letters, digits, . _ - alone`);
  if (file.size > MAX_COMPONENT) throw new Error(`${file.name} has ${file.size} bytes; this page takes ${MAX_COMPONENT} at most`);
  const component = new Uint8Array(await file.arrayBuffer());
  const transpiled = await transpile(component);
  if (!('error' in transpiled)) return { file: component, ...transpiled };
  // The engine reads the file first, and mostly has better words.
  return { file: component, text: `export function instantiate() { throw new Error(${JSON.stringify(transpiled.error)}); }`, cores: {} };
}

/** A setting that a manifest must give, in the policy's own words. */
export interface RequiredSetting {
  path: string;
  message: string;
}

/** Returns a manifest for a component: with its defaults, or with a comment on each setting that it requires. */
export function manifestOf(file: string, required: RequiredSetting[]): string {
  const name = file.replace('.wasm', '').toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '') || 'own';
  const comment = ({ path, message }: RequiredSetting) => `    # ${`${path || 'settings'}: ${message}`.replaceAll(/\s+/g, ' ')}\n`;
  const settings = required.length ? `  settings:\n    # This policy has no default for these:\n${required.map(comment).join('')}    {}\n` : '';
  return `apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\nmetadata: { name: ${name} }\nspec:\n  module: { file: ${file} }\n${settings}`;
}

function transpile(component: Uint8Array): Promise<Transpiled> {
  const worker = new Worker(transpiler, { type: 'module' });
  return new Promise<Transpiled>((resolve, reject) => {
    const late = setTimeout(() => resolve({ error: `it could not be transpiled within ${MAX_TRANSPILE / 1000} s` }), MAX_TRANSPILE);
    worker.onmessage = ({ data }: MessageEvent<Transpiled>) => {
      clearTimeout(late);
      resolve(data);
    };
    worker.onerror = ({ message }) => {
      clearTimeout(late);
      void unavailable(message).then(reject);
    };
    worker.postMessage(component);
  }).finally(() => worker.terminate());
}

/** Says why the transpiler's worker failed: in the server's words, where it has no such file. */
async function unavailable(failure: string): Promise<Error> {
  const why = await fetch(transpiler).then(
    async (response) => (response.ok ? failure : response.headers.get('content-type')?.startsWith('text/plain') ? (await response.text()).trim() : `${response.status} ${response.statusText}`),
    () => 'the server does not answer',
  );
  return new Error(`The transpiler, which policies of your own need, can’t be loaded: ${why}`);
}
