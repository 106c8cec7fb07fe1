// A policy of the user's own: its file is read and transpiled here, and runs in the sandbox alone.

import type { Parts } from '../worker/engine';
import { printable } from './dom';
import type { Transpiled } from './transpiler';

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

/** Returns a manifest with defaults for a component. */
export function manifestOf(file: string): string {
  const name = file.replace('.wasm', '').toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '') || 'own';
  return `apiVersion: sallyport.dev/v1alpha1\nkind: ServicePolicy\nmetadata: { name: ${name} }\nspec:\n  module: { file: ${file} }\n`;
}

function transpile(component: Uint8Array): Promise<Transpiled> {
  const worker = new Worker(new URL('./transpiler.ts', import.meta.url), { type: 'module' });
  return new Promise<Transpiled>((resolve) => {
    const late = setTimeout(() => resolve({ error: `it could not be transpiled within ${MAX_TRANSPILE / 1000} s` }), MAX_TRANSPILE);
    worker.onmessage = ({ data }: MessageEvent<Transpiled>) => {
      clearTimeout(late);
      resolve(data);
    };
    worker.onerror = ({ message }) => resolve({ error: `the transpiler failed: ${message}` });
    worker.postMessage(component);
  }).finally(() => worker.terminate());
}
