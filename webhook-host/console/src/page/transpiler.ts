// jco's transpiler, in a worker that is loaded when a policy is dropped in. It reads the component and runs nothing of it.

import { $init, generate } from '@bytecodealliance/jco-transpile/component';

/** What the page gets. */
export type Transpiled = { text: string; cores: Record<string, Uint8Array> } | { error: string };

onmessage = async ({ data }: MessageEvent<Uint8Array>) => {
  try {
    await $init;
    const { files } = generate(data, {
      name: 'policy',
      instantiation: { tag: 'sync' },
      noTypescript: true,
      noNodejsCompat: true,
    });
    const scripts = files.filter(([name]) => name.endsWith('.js'));
    const cores = Object.fromEntries(files.filter(([name]) => name.endsWith('.wasm')));
    postMessage({ text: new TextDecoder().decode(scripts[0][1]), cores } satisfies Transpiled);
  } catch (error) {
    const words = error instanceof Error && 'payload' in error ? String(error.payload) : String(error);
    postMessage({ error: words } satisfies Transpiled);
  }
};
