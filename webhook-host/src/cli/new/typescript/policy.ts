// Every Service carries the labels that the settings require (X01).
//
// The host calls `configure` with the settings before it asks about a Service. No state survives from one review to the next.

import type { SettingsError, Violation } from 'sallyport:policy/verdict@{{contract}}';
import { guarded, logged, quote, verdict } from './sallyport.js';

/** The record `settings` of wit/policy.wit. Change both together. */
interface Settings {
  requiredLabels: string[];
}

/** The settings that the manifest's are laid over. */
export function defaults(): Settings {
  return { requiredLabels: ['team'] };
}

// `describe` is called before `configure`, too.
let settings = defaults();

/** Checks the settings. Those that can't be used are thrown, as the list that the contract's `result` carries. */
export const configure = guarded('configure', (given: Settings): void => {
  const errors: SettingsError[] = given.requiredLabels.flatMap((label, i) =>
    label === '' ? [{ path: `requiredLabels[${i}]`, message: 'empty; name a label, such as team' }] : [],
  );
  if (errors.length > 0) throw errors;
  settings = given;
});

export const policy = logged({
  describe() {
    return {
      name: '{{name}}',
      version: '0.1.0',
      phases: ['validating'],
      operations: ['create', 'update'],
      resources: ['services'],
      context: [],
      // No flag is set: it is asked about every Service.
      about: {},
      // The texts of strangers that the rule reads, such as `{ tag: 'label', val: 'exposed' }`: recorded reviews keep these alone.
      compares: [],
    };
  },

  validate({ service }) {
    const found = new Set(service.metadata.labels.map(([key]) => key));
    const missing = settings.requiredLabels.filter((label) => !found.has(label));
    return verdict({ violations: missing.map(violation) });
  },

  /** Patches nothing. It is called only if the description has the phase `mutating`. */
  mutate() {
    return verdict();
  },
});

function violation(label: string): Violation {
  return {
    rule: 'X01',
    // Under this key an update may keep what was missing before.
    key: label,
    field: 'metadata.labels',
    message: `the label ${quote(label)} is missing`,
    fix: 'add it',
  };
}
