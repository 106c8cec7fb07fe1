// Helpers for policies: verdicts, patches, texts of strangers, and exceptions that say where they come from.

import { log } from 'sallyport:policy/log@{{contract}}';
import type { Policy } from 'sallyport:policy/policy@{{contract}}';
import type { Pair } from 'sallyport:policy/service@{{contract}}';
import type { PatchOperation, Verdict } from 'sallyport:policy/verdict@{{contract}}';

/** What a verdict does not say is empty. */
export function verdict(some: Partial<Verdict> = {}): Verdict {
  return { violations: [], warnings: [], auditAnnotations: [], patch: [], ...some };
}

/** An operation of a patch that adds a value, or replaces it. */
export function add(path: string, value: unknown): PatchOperation {
  return { tag: 'add', val: { path, value: JSON.stringify(value) } };
}

/** A key as a JSON Pointer writes it (RFC 6901): `/metadata/labels/${pointer(key)}`. */
export function pointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** The value of a key in a list of pairs, such as labels. */
export function get(pairs: Pair[], key: string): string | undefined {
  return pairs.find(([found]) => found === key)?.[1];
}

/**
 * A value as a message shows it: in quotes, escaped, cut after 64 characters. The author of a Service must not be able to forge a
 * line of a log or to hide a part of a message.
 */
export function quote(text: string): string {
  const shown = 64;
  const unsafe = /[^\u{20}-\u{7e}]/u;
  const characters = [...text];
  const escaped = characters.slice(0, shown).map((c) => {
    if (c === '"' || c === '\\') return `\\${c}`;
    return unsafe.test(c) ? `\\u{${c.codePointAt(0)!.toString(16)}}` : c;
  });
  return `"${escaped.join('')}${characters.length > shown ? '…' : ''}"`;
}

/**
 * A function that logs what it throws, with file and line. Without this, an exception is a trap that says nothing. A list is passed
 * on as it is: `configure` throws the errors of the settings so.
 */
export function guarded<Argument, Result>(name: string, run: (argument: Argument) => Result): (argument: Argument) => Result {
  return (argument) => {
    try {
      return run(argument);
    } catch (error) {
      if (!Array.isArray(error)) log('error', `${name}: ${error}\n${error instanceof Error ? error.stack : ''}`);
      throw error;
    }
  };
}

/** A policy whose functions log what they throw. */
export function logged(policy: Policy): Policy {
  const describe = guarded('describe', () => policy.describe());
  return {
    describe: () => describe(undefined),
    validate: guarded('validate', (review) => policy.validate(review)),
    mutate: guarded('mutate', (review) => policy.mutate(review)),
  };
}
