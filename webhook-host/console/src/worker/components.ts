// Runs policies: the import `components` of the engine (engine/wit/console.wit). A fresh instance answers every question, as in a host.
//
// jco lifts and lowers: a review that the engine passes is the very object that a policy's `validate` takes, and nothing here looks at
// its fields.

import { bounded, MemoryLimit } from './bounds';

/** What jco makes of a component: a function that instantiates it. */
export type Instantiate = (
  core: (name: string) => WebAssembly.Module,
  imports: Record<string, Record<string, (...args: never[]) => unknown>>,
) => Record<string, never>;

/** A component that can be run. */
export interface Runnable {
  file: Uint8Array;
  instantiate: Instantiate;
  cores: Record<string, Uint8Array>;
}

/** A component to instantiate, with its settings and limit (engine/wit/console.wit). */
interface Instance {
  file: string;
  settings?: string;
  pages: number;
}

interface Line {
  level: string;
  message: string;
}

interface Policy {
  policy: Record<string, (review?: unknown) => unknown>;
  defaults(): unknown;
  configure(settings: unknown): void;
}

/** As the host has it: lines of one evaluation, and bytes of one line. One more error is kept, since a panic reports itself in it. */
const MAX_LINES = 16;
const MAX_LINE = 1024;
/** Compiled forms of one core module, each for a limit of memory: a few manifests of one component. */
const MAX_MODULES = 4;

/** The components that the engine may ask. `asking` is told which file is asked, before it is. */
export class Components {
  readonly #components: Map<string, Runnable>;
  readonly #modules = new Map<Uint8Array, Map<number, WebAssembly.Module>>();
  readonly #settings = new Map<string, unknown>();
  readonly #asking: (file: string) => void;

  constructor(components: Map<string, Runnable>, asking: (file: string) => void) {
    this.#components = components;
    this.#asking = asking;
  }

  /** The functions that the engine imports. */
  imports() {
    return {
      read: (file: string) => this.#components.get(file)?.file,
      describe: (of: Instance) => this.#called(of, (it) => it.policy.describe()),
      defaults: (of: Instance) => this.#called(of, (it) => it.defaults()),
      configure: (of: Instance, settings: string) =>
        this.#called(of, (it) => {
          try {
            it.configure(this.#parsed(settings));
            return [];
          } catch (error) {
            if (error instanceof Error && 'payload' in error) return error.payload;
            throw error;
          }
        }),
      evaluate: (of: Instance, entry: string, review: unknown) => {
        const began = performance.now();
        const log: Line[] = [];
        const verdict = this.#try(of, log, (it) => it.policy[entry](review));
        return { verdict, log, microseconds: Math.round((performance.now() - began) * 1000) };
      },
    };
  }

  #called(of: Instance, call: (it: Policy) => unknown) {
    const log: Line[] = [];
    const result = this.#try(of, log, call);
    const lastError = log.filter(({ level }) => level === 'error').at(-1)?.message;
    const returned = result.tag === 'ok' ? { tag: 'ok', val: JSON.stringify(result.val, plain) } : result;
    return { returned, lastError };
  }

  #try(of: Instance, log: Line[], call: (it: Policy) => unknown) {
    this.#asking(of.file);
    try {
      const instance = this.#instance(of, log);
      if (of.settings !== undefined) instance.configure(this.#parsed(of.settings));
      // A host takes its snapshot after `configure`: what that logs belongs to no evaluation.
      log.length = 0;
      return { tag: 'ok', val: call(instance) };
    } catch (error) {
      return { tag: 'err', val: failure(error) };
    }
  }

  #instance({ file, pages }: Instance, log: Line[]): Policy {
    const component = this.#components.get(file);
    if (!component) throw new Error(`${file} is not here`);
    let left = MAX_LINES + 1;
    const line = (level: string, message: string) => {
      const reserved = level === 'error' ? 0 : 1;
      if (left <= reserved) return;
      left -= 1;
      log.push({ level, message: cut(message) });
    };
    const module = (name: string) => this.#module(component.cores[name], pages);
    return component.instantiate(module, { 'sallyport:policy/log': { log: line } }) as unknown as Policy;
  }

  /** Compiles a core module, or returns it as it was compiled for the same limit. */
  #module(core: Uint8Array, pages: number): WebAssembly.Module {
    const known = this.#modules.get(core) ?? new Map<number, WebAssembly.Module>();
    const module = known.get(pages) ?? new WebAssembly.Module(bounded(core, pages));
    if (known.size >= MAX_MODULES) known.clear();
    this.#modules.set(core, known.set(pages, module));
    return module;
  }

  #parsed(settings: string): unknown {
    if (!this.#settings.has(settings)) {
      // As many as the engine keeps policies.
      if (this.#settings.size > 64) this.#settings.clear();
      this.#settings.set(settings, JSON.parse(settings, rich));
    }
    return this.#settings.get(settings);
  }
}

/** Cuts a text to so many bytes of UTF-8, between characters. */
function cut(text: string): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(MAX_LINE));
  return text.slice(0, read);
}

/** Numbers that JSON lacks are `{"$number": "…"}` (engine/src/settings.rs). */
function plain(_: string, value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return [...(value as unknown as number[])];
  if (typeof value === 'bigint') return { $number: String(value) };
  if (typeof value === 'number' && !Number.isFinite(value)) return { $number: rustFloat(value) };
  return value;
}

function rustFloat(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'inf' : '-inf';
}

function rich(_: string, value: unknown): unknown {
  if (value === null) return undefined;
  if (typeof value === 'object' && '$number' in value) {
    const text = String(value.$number);
    const special: Record<string, number> = { NaN: NaN, inf: Infinity, '-inf': -Infinity };
    return special[text] ?? BigInt(text);
  }
  return value;
}

/** wasmtime's words for the traps of V8, SpiderMonkey and JavaScriptCore. */
const TRAPS: [RegExp, string][] = [
  [/stack size exceeded|too much recursion/i, 'call stack exhausted'],
  [/unreachable/i, 'wasm `unreachable` instruction executed'],
  [/(divide|division|remainder) by zero/i, 'integer divide by zero'],
  [/unrepresentable|integer overflow/i, 'integer overflow'],
  [/float|truncat/i, 'invalid conversion to integer'],
  [/table/i, 'undefined element: out of bounds table access'],
  [/null function|signature mismatch/i, 'indirect call type mismatch'],
  [/out of bounds/i, 'out of bounds memory access'],
];

function failure(error: unknown): { tag: 'trap' | 'answer'; val: string } | { tag: 'memory' } {
  if (error instanceof MemoryLimit) return { tag: 'memory' };
  const text = error instanceof Error ? error.message : String(error);
  const isTrap = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
  const words = isTrap ? TRAPS.find(([pattern]) => pattern.test(text))?.[1] : undefined;
  return words ? { tag: 'trap', val: `wasm trap: ${words}` } : { tag: 'answer', val: text };
}
