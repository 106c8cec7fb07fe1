// The policy owner-label (X02, X03) in TypeScript. Its Rust twin is tests/guests/owner-label.

import { log } from 'sallyport:policy/log@0.2.0';
import type { Namespace, Review } from 'sallyport:policy/review@0.2.0';
import type { Pair, Service, ServiceType } from 'sallyport:policy/service@0.2.0';
import type { SettingsError, Violation } from 'sallyport:policy/verdict@0.2.0';
import { add, get, logged, pointer, quote, verdict } from './sallyport.js';

interface Settings {
  label: string;
  types: ServiceType[];
  owners: Pair[];
  maxLength?: number;
}

/** The cases of the contract's `service-type`. */
const TYPES: ServiceType[] = ['cluster-ip', 'node-port', 'load-balancer', 'external-name'];

let settings: Settings | undefined;

export function defaults(): Settings {
  return { label: 'owner', types: TYPES, owners: [] };
}

/** An error is thrown as the list that the contract's `result` carries. */
export function configure(given: Settings): void {
  const errors: SettingsError[] = [];
  const problem = (path: string, message: string) => errors.push({ path, message });
  if (given.label === '') problem('label', 'empty; name the key of a label, such as owner');
  if (given.types.length === 0) {
    problem('types', 'an empty list leaves no Service to judge; name at least one type');
  }
  for (const [namespace, owner] of given.owners) {
    if (owner === '') problem(`owners[${quote(namespace)}]`, 'empty; name an owner');
  }
  if (given.maxLength === 0) {
    problem('maxLength', '0 allows no owner; leave it out, or use at least 1');
  }
  if (errors.length > 0) throw errors;
  settings = given;
}

export const policy = logged({
  describe() {
    const label = settings?.label;
    return {
      name: 'owner-label',
      version: '0.1.0',
      phases: ['validating', 'mutating'],
      operations: ['create', 'update'],
      resources: ['services'],
      context: ['namespace'],
      about: {},
      compares:
        label === undefined
          ? []
          : [
              { tag: 'label', val: label },
              { tag: 'namespace-label', val: label },
            ],
    };
  },

  validate(review) {
    if (!concerns(review.service)) return verdict();
    const owner = ownerOf(review.namespace);
    const { name, known } = review.namespace;
    return verdict({
      violations: judge(review, owner),
      warnings: known ? [] : [`the labels of namespace ${quote(name)} are not known`],
      auditAnnotations: owner === undefined ? [] : [['owner', owner]],
    });
  },

  mutate({ service, namespace }) {
    const owner = ownerOf(namespace);
    const { labels } = service.metadata;
    const { label } = configured();
    if (!concerns(service) || owner === undefined || get(labels, label) !== undefined) {
      return verdict();
    }
    log('debug', `adds the owner ${quote(owner)}`);
    const parent = labels.length === 0 ? [add('/metadata/labels', {})] : [];
    const path = `/metadata/labels/${pointer(label)}`;
    return verdict({ patch: [...parent, add(path, owner)] });
  },
});

/** The host configures a policy before it asks. */
function configured(): Settings {
  if (settings === undefined) throw new Error('not configured');
  return settings;
}

function concerns(service: Service): boolean {
  return configured().types.includes(service.spec.type ?? 'cluster-ip');
}

/** The owner of a namespace: its label counts before the settings. */
function ownerOf({ name, labels }: Namespace): string | undefined {
  const { label, owners } = configured();
  return get(labels, label) ?? get(owners, name);
}

function judge({ service, namespace }: Review, owner: string | undefined): Violation[] {
  const { label, maxLength } = configured();
  const violation = (rule: string, key: string, message: string, fix: string) => [
    { rule, key, field: 'metadata.labels', message, fix },
  ];
  const found = get(service.metadata.labels, label);
  if (found === undefined) {
    const fix = owner === undefined ? 'add it' : `add it with the value ${quote(owner)}`;
    return violation('X02', label, `the label ${quote(label)} is missing`, fix);
  }
  const key = `${label}=${found}`;
  if (owner !== undefined && owner !== found) {
    const message =
      `the label ${quote(label)} says ${quote(found)}, ` +
      `but namespace ${quote(namespace.name)} belongs to ${quote(owner)}`;
    return violation('X02', key, message, `use ${quote(owner)}`);
  }
  const { length } = [...found];
  if (maxLength != null && length > maxLength) {
    const message = `the label ${quote(label)} has ${length} characters, and ${maxLength} are allowed`;
    return violation('X03', key, message, 'shorten it');
  }
  return [];
}
