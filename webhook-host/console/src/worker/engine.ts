// The engine of the playground: sallyport-core as a component, with the policies behind it. Loaded in a worker by the page, and in Node
// by the test that compares it with the native host.

import { Components, type Instantiate, type Runnable } from './components';
import { cut, type GlueFile, glueText } from './glue';

/** What the worker is started with. */
export interface Parts {
  glue: GlueFile;
  /** The files that components lie in, by name. */
  files: Record<string, Uint8Array>;
  /** Policies of the user's own, as jco transpiled them in the page. */
  own: Record<string, { file: Uint8Array; text: string; cores: Record<string, Uint8Array> }>;
}

/** The engine's exports: JSON in, JSON out. An error is thrown, with its text as payload. */
export interface Engine {
  inspect(file: string): string;
  check(request: string): string;
  answers(request: string): string;
  recorded(line: string): string;
}

/** Turns the text of a module into the module. */
export type Evaluate = (text: string) => Promise<{ instantiate: Instantiate }>;

/** Starts the engine. `asking` is told which component is asked, before it is. */
export async function start(parts: Parts, evaluate: Evaluate, asking: (file: string) => void = () => {}): Promise<Engine> {
  const lines = parts.glue.lines.split('\n');
  const components = new Map<string, Runnable>();
  const stored = Object.entries(parts.glue.components).map(async ([name, component]) => {
    const file = cut(parts.files[component.within], component.place);
    const slices = Object.entries(component.cores).map(([core, place]) => [core, cut(file, place)]);
    const { instantiate } = await evaluate(synchronous(glueText(lines, component)));
    components.set(name, { file, instantiate, cores: Object.fromEntries(slices) });
  });
  const own = Object.entries(parts.own).map(async ([name, { file, text, cores }]) => {
    const { instantiate } = await evaluate(synchronous(text));
    components.set(name, { file, instantiate, cores });
  });
  await Promise.all([...stored, ...own]);
  const engine = components.get('engine.wasm');
  if (!engine) throw new Error('engine.wasm is missing');
  components.delete('engine.wasm');
  const modules = new Map<string, WebAssembly.Module>();
  for (const [name, core] of Object.entries(engine.cores)) {
    modules.set(name, await WebAssembly.compile(core.slice()));
  }
  const imports = new Components(components, asking).imports();
  const module = (name: string) => modules.get(name) as WebAssembly.Module;
  return engine.instantiate(module, { 'sallyport:console/components': imports as never }) as unknown as Engine;
}

/**
 * jco prepares the functions for asynchronous calls, too, which nothing here makes. Where the browser lacks that, each preparation fails,
 * and V8 parses the whole module to word the error: 20 ms an instance.
 */
function synchronous(text: string): string {
  return text.replaceAll('WebAssembly.promising(', '(');
}

/** Calls an export, and returns its text or the error that it threw. */
export function call(engine: Engine, name: keyof Engine, argument: string): { ok: string } | { error: string } {
  try {
    return { ok: engine[name](argument) };
  } catch (error) {
    if (error instanceof Error && 'payload' in error) return { error: String(error.payload) };
    throw error;
  }
}
