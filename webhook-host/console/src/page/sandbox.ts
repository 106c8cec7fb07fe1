// The sandboxed frame with the worker in it: asks the engine, and ends and restarts it when it takes long.

import type { FromWorker, ToWorker } from '../worker/main';
import type { Engine, Parts } from '../worker/engine';

/** A call takes milliseconds; a policy of the user's own that needs this long loops. */
const MAX_CALL = 5_000;
/** Shipped policies don't loop, but a Service with thousands of ports takes long, and so does a suite. */
const MAX_LONG_CALL = 10_000;
/** Loading compiles the engine and, at the first call, the policies. */
const MAX_START = 30_000;

/** Why a call has no result: the worker was ended. */
export class Ended extends Error {
  /** `file`: the user's own policy that was being asked. */
  constructor(readonly file: string | undefined, message: string) {
    super(message);
  }
}

interface Pending {
  resolve(result: string): void;
  reject(error: Error): void;
}

/** The engine behind the frame. Calls are answered one after the other. */
export class Sandbox {
  readonly #worker: string;
  readonly #parts: Parts;
  readonly #frame: HTMLIFrameElement;
  readonly #loaded: Promise<void>;
  #port: MessagePort | undefined;
  #ready: Promise<void> | undefined;
  #pending = new Map<number, Pending>();
  #fail: (error: Error) => void = () => {};
  #asked: string | undefined;
  #calls = 0;
  #warm = false;

  constructor(worker: string, parts: Parts) {
    this.#worker = worker;
    this.#parts = parts;
    this.#frame = document.createElement('iframe');
    this.#frame.setAttribute('sandbox', 'allow-scripts');
    this.#frame.title = 'The sandbox in which policies run';
    this.#frame.hidden = true;
    this.#frame.src = 'frame.html';
    this.#loaded = new Promise((resolve) => {
      addEventListener('message', ({ source, data }) => {
        if (source !== this.#frame.contentWindow) return;
        if (data.loaded) resolve();
        if (data.failed) this.#end(new Ended(undefined, `the worker failed: ${data.failed}`));
      });
    });
    document.body.append(this.#frame);
  }

  /** Adds a policy of the user's own, by its file name. The worker starts anew with it. */
  add(name: string, own: Parts['own'][string]) {
    this.#parts.own[name] = own;
    this.#end(new Ended(undefined, 'a policy was added'));
  }

  /** Takes a policy out. */
  remove(name: string) {
    delete this.#parts.own[name];
    this.#end(new Ended(undefined, 'a policy was removed'));
  }

  get #hasOwn(): boolean {
    return Object.keys(this.#parts.own).length > 0;
  }

  /** Calls an export of the engine. Rejects with `Ended` if the worker had to be ended, else with the engine's error. */
  async call(name: keyof Engine, argument: string): Promise<string> {
    await (this.#ready ??= this.#start());
    const id = ++this.#calls;
    const answer = new Promise<string>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#send({ kind: 'call', id, name, argument });
    const patience = !this.#warm ? MAX_START : name === 'check' && this.#hasOwn ? MAX_CALL : MAX_LONG_CALL;
    const timer = setTimeout(() => this.#cut(patience), patience);
    try {
      const result = await answer;
      this.#warm = true;
      return result;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  async #start() {
    await this.#loaded;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#asked = undefined;
    const started = new Promise<void>((resolve, reject) => {
      this.#fail = reject;
      port1.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        if (data.kind === 'ready') resolve();
        else if (data.kind === 'asking') this.#asking(data.file);
        else if (data.kind === 'failed') this.#end(new Ended(this.#asked, data.error));
        else this.#answered(data);
      };
    });
    this.#frame.contentWindow?.postMessage({ worker: this.#worker }, '*', [port2]);
    this.#send({ kind: 'start', parts: this.#parts });
    const timer = setTimeout(() => this.#cut(MAX_START), MAX_START);
    await started.finally(() => clearTimeout(timer));
  }

  /** A policy of the user's own gets less time than the first call of all, which also compiles the shipped ones. */
  #asking(file: string) {
    this.#asked = file;
    if (this.#warm) return;
    const call = this.#calls;
    setTimeout(() => {
      if (this.#pending.has(call) && this.#asked === file) this.#cut(MAX_CALL);
    }, MAX_CALL);
  }

  #answered({ id, result }: Extract<FromWorker, { kind: 'answer' }>) {
    this.#asked = undefined;
    const pending = this.#pending.get(id);
    if ('ok' in result) pending?.resolve(result.ok);
    else pending?.reject(new Error(result.error));
  }

  #cut(patience: number) {
    const file = this.#asked;
    const who = file ?? 'the engine';
    this.#end(new Ended(file, `${who} did not answer within ${patience / 1000} s, so it was ended`));
  }

  #end(error: Ended) {
    this.#frame.contentWindow?.postMessage({}, '*');
    this.#port?.close();
    this.#port = undefined;
    this.#ready = undefined;
    this.#warm = false;
    this.#fail(error);
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  #send(message: ToWorker) {
    this.#port?.postMessage(message);
  }
}
