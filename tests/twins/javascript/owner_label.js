// The policy owner-label (X02, X03) in JavaScript. Its Rust twin is tests/guests/owner-label.

import { log } from 'sallyport:policy/log@0.2.0';
import { add, get, logged, pointer, quote, verdict } from './sallyport.js';

/** The cases of the contract's `service-type`. */
const TYPES = ['cluster-ip', 'node-port', 'load-balancer', 'external-name'];

let settings;

export function defaults() {
  return { label: 'owner', types: TYPES, owners: [], maxLength: undefined };
}

/** An error is thrown as the list that the contract's `result` carries. */
export function configure(given) {
  const errors = [];
  const problem = (path, message) => errors.push({ path, message });
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
    const { label } = settings ?? {};
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
    if (!concerns(service) || owner === undefined || get(labels, settings.label) !== undefined) {
      return verdict();
    }
    log('debug', `adds the owner ${quote(owner)}`);
    const parent = labels.length === 0 ? [add('/metadata/labels', {})] : [];
    const path = `/metadata/labels/${pointer(settings.label)}`;
    return verdict({ patch: [...parent, add(path, owner)] });
  },
});

function concerns(service) {
  return settings.types.includes(service.spec.type ?? 'cluster-ip');
}

/** The owner of a namespace: its label counts before the settings. */
function ownerOf({ name, labels }) {
  return get(labels, settings.label) ?? get(settings.owners, name);
}

function judge({ service, namespace }, owner) {
  const { label, maxLength } = settings;
  const violation = (rule, key, message, fix) => [
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
