// The worker in which the engine and the policies run. The sandboxed frame makes it (frame.html), so it has an opaque origin and may
// connect to nothing. It gets its parts by message, answers one question after the other, and is ended from outside when it takes long.

import type { Instantiate } from './components';
import { call, type Engine, type Evaluate, type Parts, start } from './engine';

export { call, start };

/** A message from the page. */
export type ToWorker = { kind: 'start'; parts: Parts } | { kind: 'call'; id: number; name: keyof Engine; argument: string };

/** A message to the page. */
export type FromWorker =
  | { kind: 'ready' }
  | { kind: 'asking'; file: string }
  | { kind: 'answer'; id: number; result: { ok: string } | { error: string } }
  | { kind: 'failed'; error: string };

declare const self: DedicatedWorkerGlobalScope & { evaluated: { instantiate: Instantiate } };

// A frame of opaque origin can load no modules from blobs, only scripts: jco's module becomes one.
const evaluate: Evaluate = async (text) => {
  const script = `self.evaluated = (() => {${text.replaceAll(/^export /gm, '')}\nreturn { instantiate };})();`;
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  try {
    self.importScripts(url);
    return self.evaluated;
  } finally {
    URL.revokeObjectURL(url);
  }
};

function serve(port: MessagePort) {
  const send = (message: FromWorker) => port.postMessage(message);
  let engine: Engine | undefined;
  port.onmessage = async ({ data }: MessageEvent<ToWorker>) => {
    try {
      if (data.kind === 'start') {
        const own = new Set(Object.keys(data.parts.own));
        engine = await start(data.parts, evaluate, (file) => own.has(file) && send({ kind: 'asking', file }));
        send({ kind: 'ready' });
      } else if (engine) {
        send({ kind: 'answer', id: data.id, result: call(engine, data.name, data.argument) });
      }
    } catch (error) {
      send({ kind: 'failed', error: String(error) });
    }
  };
}

if (typeof DedicatedWorkerGlobalScope !== 'undefined' && self instanceof DedicatedWorkerGlobalScope) {
  self.onmessage = ({ ports }: MessageEvent) => serve(ports[0]);
}
